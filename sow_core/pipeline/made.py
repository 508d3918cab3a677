"""Finished pictures with everything that is known about them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import atomic_write_all, check_outputs
from ..method.plan import build_plan
from ..settings import png_bytes
from .job import Job
from .repeat import settings_of

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from ..backends.base import ModelBackend
    from ..method.condition import Layout
    from ..method.trace import Result
    from ..planning.schema import LayoutPlan


class Made:
    """What a run has made: `images`, `report`, `sheet()`, `save()`; and what it was made from.

    pixels: [N, 3, H, W] in 0..1, one per seed, after any paste-back; result: the engine's latents and trace.
    """

    def __init__(
        self,
        job: Job,
        size: tuple[int, int],
        plan: LayoutPlan | None,
        layout: Layout,
        result: Result,
        pixels: Tensor,
        backend: ModelBackend,
        asked: Mapping[str, Any],
    ) -> None:
        self.job = job
        self.plan = plan
        self.layout = layout
        self.result = result
        self.pixels = pixels
        self.settings = settings_of(job, size, plan, asked)
        """What a PNG carries, so that `generate --from` repeats it."""
        self._backend = backend

    @cached_property
    def images(self) -> list[Image.Image]:
        """One PIL picture per seed that was wanted."""
        from ..method.condition import to_picture

        return [to_picture(image) for image in self.pixels]

    def save(self, path: str | Path) -> list[Path]:
        """PNGs with their settings inside: `path`, or path_1, path_2, ... for several seeds. Raises SowError."""
        inputs = [p for p in (*self.job.conditions, *self.job.masks) if isinstance(p, (str, Path))]
        return atomic_write_all(list(zip(check_outputs(self.names(path), inputs), self.pngs(), strict=True)))

    def names(self, path: str | Path) -> list[Path]:
        """The file of each picture, if `path` is what the user called them."""
        return numbered(Path(path), len(self.job.wanted))

    def pngs(self, settings: bool = True) -> list[bytes]:
        """Each picture as a PNG file that repeats itself, or, without settings, that tells nothing of itself."""
        first = self.job.only or 0
        return [png_bytes(image, self.settings | {"picture": number} if settings else None)
                for number, image in enumerate(self.images, first)]  # fmt: skip

    def sheet(self) -> Image.Image:
        """Conditions, canvas, the first picture at the end of each cycle, results."""
        from ..method.condition import to_picture
        from ..pictures.sheet import contact_sheet

        tiles = [(f"condition {n}", to_picture(c.image)) for n, c in enumerate(self.layout.conditions, 1)]
        tiles.append(("canvas", to_picture(self.layout.canvas)))
        for cycle, preview in enumerate(self.result.trace.previews, 1):
            tiles.append((f"cycle {cycle}", to_picture(self._backend.decode(preview[:1])[0])))
        several = len(self.images) > 1
        tiles += [(f"result {n}" if several else "result", image) for n, image in enumerate(self.images, 1)]
        return contact_sheet(tiles)

    @cached_property
    def report(self) -> dict[str, Any]:
        """JSON values: each picture's fidelity of its kept region, cost, ops, settings, calls and seconds."""
        from ..method.fidelity import psnr, region_error, seam_contrast

        plan = build_plan(self.job.config, len(self.job.conditions))
        pictures = []
        for seed, image in zip(self.job.wanted, self.pixels, strict=True):
            error = region_error(image, self.layout)
            fidelity = {"region_rms": round(error, 5), "region_psnr_db": round(psnr(max(error, 1e-6)), 2)}
            fidelity["seam_contrast"] = round(seam_contrast(image, self.layout), 4)
            pictures.append({"seed": seed, "fidelity": fidelity})
        return {
            "pictures": pictures,
            "cost": {"calls": plan.cost.calls, "rows": plan.cost.rows, "crop_rows": plan.cost.crop_rows},
            "plan": list(plan.describe()),
            "settings": self.settings,
            "run": self.result.trace.as_dict(),
        }


def numbered(path: Path, count: int) -> list[Path]:
    """`path`, or path_1, path_2, ... for several pictures."""
    return [path] if count == 1 else [path.with_stem(f"{path.stem}_{n}") for n in range(1, count + 1)]
