"""The settings that a PNG carries, and the way back from them: `generate --from FILE.png`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from .. import __version__
from ..assets import EMBEDDED
from ..errors import SowError
from ..method.config import SowConfig
from ..settings import digest
from .finding import bare_name, find_file, find_model
from .job import Job
from .options import Options
from .saved import SETTINGS_VERSION, SavedSettings, read_saved

if TYPE_CHECKING:
    from ..planning.schema import LayoutPlan

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
MODEL = ("model", "model_config", "dtype", "device")
"""How the model was loaded."""


def settings_of(job: Job, size: tuple[int, int], plan: LayoutPlan | None, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What repeats the pictures: enough for `--from`, and of the machine no more than bare names and hashes of files.

    A picture that was in memory has no name, and cannot be found again.
    """
    record = plan.as_dict() if plan is not None else job.plan if isinstance(job.plan, dict) else None
    conditions = []
    for image, mask, box, related in zip(job.conditions, job.masks, job.boxes, job.related, strict=True):
        (file, sha), (mask_file, mask_sha) = _file(image, job), _file(mask, job)
        conditions.append({"image": file, "sha256": sha, "mask": mask_file, "mask_sha256": mask_sha,
                           "box": str(box), "related": [str(r) for r in related]})  # fmt: skip
    background = job.options.background
    name: str | None
    if isinstance(background, str) and not isinstance(job.background, Image.Image):
        name, background_digest = background, None  # a colour
    else:
        name, background_digest = _file(background, job)
    return {
        "settings": SETTINGS_VERSION,
        "version": __version__,
        "model": _model(asked["model"]),
        "model_config": None if asked["model_config"] is None else _model(asked["model_config"]),
        "dtype": asked["dtype"],
        "device": asked["device"],
        "conditions": conditions,
        "prompt": job.prompt,
        "negative": job.negative,
        "extra_prompts": job.extra,
        "separate": list(job.concepts),
        "patch": None if job.patch is None else {"file": bare_name(job.patch[0]), "sha256": job.hashes[job.patch[0]],
                                                 "strength": job.patch[1]},
        "size": list(size),
        "background": name,
        "background_sha256": background_digest,
        "seeds": job.seeds,
        "picture": job.only or 0,
        "paste_back": job.options.paste_back,
        "preset": job.preset,
        "config": job.config.as_dict(),
        "plan": record,
    }


def _file(picture: Any, job: Job) -> tuple[str | None, str | None]:
    """Name and sha256 of a picture's file; nothing for one in memory, or none."""
    return (bare_name(picture), job.hashes[Path(picture)]) if isinstance(picture, (str, Path)) else (None, None)


def _model(name: str) -> str:
    """A model's name without the folders it lies in; embedded ones and hub ids (owner/name) as they are."""
    path = Path(name).expanduser() if name.startswith("~") else Path(name)
    return bare_name(path.resolve()) if name not in EMBEDDED and path.exists() else name


class Saved:
    """What a picture was made with. `config` is None where the user starts from another preset."""

    def __init__(self, source: str, options: Options, model: dict[str, Any]) -> None:
        """Read a PNG and give every option (and every word on the model) that the user left out the value it had.

        Both are filled in place. Raises SowError.
        """
        self.config: SowConfig | None = None
        self.plan: dict[str, Any] | None = None
        self.only: int | None = None
        """Which picture of the batch it was, from 0, if it is repeated in a batch."""
        self._beside = Path(source).parent
        saved, config, plan = read_saved(source)
        _complete(options, self._scene(options, saved))
        if self._same_conditions(options, saved):
            _complete(options, self._places(options, saved))
            self.plan = plan
        if options.preset is None:
            options.preset = saved.preset
            self.config = config
        if options.seed is None and options.count is None and options.seeds is None:
            options.seeds = list(saved.seeds)
            self.only = saved.picture if len(saved.seeds) > 1 else None
        for name in MODEL:
            if model.get(name) is None:
                model[name] = getattr(saved, name) if name in ("dtype", "device") else self._model(getattr(saved, name))

    def _scene(self, options: Options, saved: SavedSettings) -> dict[str, Any]:
        background = saved.background
        if background is not None and saved.background_sha256 is not None and options.background is None:
            background = find_file(bare_name(background), saved.background_sha256, self._beside, "--background")
        patch = None
        if saved.patch is not None and options.patch is None:
            file = find_file(bare_name(saved.patch.file), saved.patch.sha256, self._beside, "--patch")
            patch = f"{file}:{saved.patch.strength}"
        return {
            "prompt": saved.prompt,
            "negative": saved.negative,
            "suppress": saved.extra_prompts.suppress,
            "diverse": saved.extra_prompts.diverse,
            "separate": list(saved.separate) or None,
            "patch": patch,
            "size": "x".join(str(n) for n in saved.size),
            "background": background,
            "paste_back": saved.paste_back,
        }

    def _same_conditions(self, options: Options, saved: SavedSettings) -> bool:
        """Whether the picture's own conditions go to their own places: the user named none, or only their files."""
        if options.box or options.plan or options.planner:
            return False
        given = list(options.condition or [])
        if not given:
            return True
        known = [c.sha256 for c in saved.conditions]
        return [digest(p) if isinstance(p, (str, Path)) else None for p in given] == known

    def _places(self, options: Options, saved: SavedSettings) -> dict[str, Any]:
        """Conditions, masks and boxes. Raises SowError where a file is not found."""
        images, masks = [], []
        for item in saved.conditions:
            if not options.condition:
                if item.image is None or item.sha256 is None:
                    raise SowError("The picture was made from one that was in memory; give --condition.")
                images.append(find_file(bare_name(item.image), item.sha256, self._beside, "--condition"))
            if options.mask is None and item.mask is not None:
                if item.mask_sha256 is None:
                    raise SowError("The picture was made with a mask that was in memory; give --mask.")
                masks.append(find_file(bare_name(item.mask), item.mask_sha256, self._beside, "--mask"))
            else:  # after one with a mask file, "" stands for a condition's own alpha
                masks.append("")
        return {
            "condition": images or None,
            "mask": masks if any(masks) else None,
            "box": [c.box for c in saved.conditions],
            "related": [f"{n}:{r}" for n, c in enumerate(saved.conditions, 1) for r in c.related],
            "planner": "none",
        }

    def _model(self, name: str | None) -> str | None:
        """The model of that name: beside the picture, in the working directory, embedded, or in the hub's cache."""
        if name is None or name in EMBEDDED or HUB_ID.fullmatch(name):
            return name
        found = find_model(bare_name(name), self._beside)
        if found is None:
            raise SowError(f"The picture was made with the model {bare_name(name)}, which lies neither beside it nor "
                           "in the working directory; give --model.")  # fmt: skip
        return found


def _complete(options: Options, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
