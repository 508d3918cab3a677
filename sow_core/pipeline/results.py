"""What `generate` leaves behind: pictures with their settings, a contact sheet, a report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import atomic_write
from ..method.plan import build_plan
from ..settings import png_bytes
from .job import Job

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from ..method.condition import Layout
    from ..method.trace import Result


def write_results(
    job: Job,
    decode: Callable[[Tensor], Tensor],
    layout: Layout,
    result: Result,
    images: Tensor,
    settings: dict[str, Any],
) -> list[Path]:
    """Write everything that the job asks for; all of it is made before the first file is touched."""
    from ..method.condition import to_picture

    files: list[tuple[Path, bytes | str]] = []
    for path, seed, image in zip(job.out, job.seeds, images, strict=True):
        files.append((path, png_bytes(to_picture(image), settings | {"seeds": [seed]})))
    if job.sheet is not None:
        files.append((job.sheet, png_bytes(_sheet(decode, layout, result, images))))
    if job.report is not None:
        report = make_report(job, layout, result, images, settings)
        files.append((job.report, json.dumps(report, indent=2, ensure_ascii=False) + "\n"))
    return [atomic_write(path, content) for path, content in files]


def _sheet(decode: Callable[[Tensor], Tensor], layout: Layout, result: Result, images: Tensor) -> Image.Image:
    """Conditions, canvas, the first picture at the end of each cycle, results."""
    from ..method.condition import to_picture
    from ..pictures.sheet import contact_sheet

    tiles = [(f"condition {n}", to_picture(c.image)) for n, c in enumerate(layout.conditions, 1)]
    tiles.append(("canvas", to_picture(layout.canvas)))
    for cycle, preview in enumerate(result.trace.previews, 1):
        tiles.append((f"cycle {cycle}", to_picture(decode(preview[:1])[0])))
    tiles += [(f"result {n}" if len(images) > 1 else "result", to_picture(x)) for n, x in enumerate(images, 1)]
    return contact_sheet(tiles)


def make_report(job: Job, layout: Layout, result: Result, images: Tensor, settings: dict[str, Any]) -> dict[str, Any]:
    """JSON values: files with the fidelity of their kept region, cost, ops, settings, calls and seconds."""
    from ..method.fidelity import psnr, region_error, seam_contrast

    plan = build_plan(job.config, len(job.conditions))
    pictures = []
    for seed, path, image in zip(job.seeds, job.out, images, strict=True):
        error = region_error(image, layout)
        fidelity = {"region_rms": round(error, 5), "region_psnr_db": round(psnr(max(error, 1e-6)), 2)}
        fidelity["seam_contrast"] = round(seam_contrast(image, layout), 4)
        pictures.append({"file": str(path), "seed": seed, "fidelity": fidelity})
    return {
        "pictures": pictures,
        "cost": {"calls": plan.cost.calls, "rows": plan.cost.rows, "crop_rows": plan.cost.crop_rows},
        "plan": list(plan.describe()),
        "settings": settings,
        "run": result.trace.as_dict(),
    }
