"""The settings that a PNG carries, and the way back from them: `generate --from FILE.png`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import SowError
from ..method.config import SowConfig
from ..settings import digest, read_settings
from .job import Job
from .options import Options

if TYPE_CHECKING:
    from ..planning.schema import LayoutPlan

SETTINGS_VERSION = 1
MODEL = ("model", "model_config", "dtype", "device")
"""How the model was loaded."""


def settings_of(job: Job, size: tuple[int, int], plan: LayoutPlan | None, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What repeats the pictures: enough for `--from`, nothing about the machine beyond names given to it.

    A picture that was in memory has no name, and cannot be found again.
    """
    record = plan.as_dict() if plan is not None else job.plan if isinstance(job.plan, dict) else None
    background = job.options.background
    name, background_digest = _file(background) if not isinstance(background, str) else (background, None)
    if isinstance(background, str) and Path(background).is_file():
        background_digest = digest(background)
    conditions = []
    for image, mask, box, related in zip(job.conditions, job.masks, job.boxes, job.related, strict=True):
        (file, sha), (mask_file, mask_sha) = _file(image), _file(mask)
        conditions.append({"image": file, "sha256": sha, "mask": mask_file, "mask_sha256": mask_sha,
                           "box": str(box), "related": [str(r) for r in related]})  # fmt: skip
    return {
        "settings": SETTINGS_VERSION,
        "version": __version__,
        **{key: asked[key] for key in MODEL},
        "conditions": conditions,
        "prompt": job.prompt,
        "negative": job.negative,
        "extra_prompts": job.extra,
        "separate": list(job.concepts),
        "patch": None if job.patch is None else {"file": str(job.patch[0]), "sha256": digest(job.patch[0]),
                                                 "strength": job.patch[1]},
        "size": list(size),
        "background": name,
        "background_sha256": background_digest,
        "seeds": job.seeds,
        "paste_back": job.options.paste_back,
        "preset": job.preset,
        "config": job.config.as_dict(),
        "plan": record,
    }


def _file(picture: Any) -> tuple[str | None, str | None]:
    """Name and sha256 of a picture's file; nothing for one in memory, or none."""
    return (str(picture), digest(picture)) if isinstance(picture, (str, Path)) else (None, None)


class Saved:
    """What a picture was made with. `config` is None where the user starts from another preset."""

    def __init__(self, source: str, options: Options, model: dict[str, Any]) -> None:
        """Read a PNG and give every option (and every word on the model) that the user left out the value it had.

        Both are filled in place. Raises SowError.
        """
        self.config: SowConfig | None = None
        self.plan: dict[str, Any] | None = None
        saved = read_settings(source)
        try:
            self._fill(options, model, saved)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            text = f"The settings in {source} are from another version ({error}); give the options by hand."
            raise SowError(text) from error

    def _fill(self, options: Options, model: dict[str, Any], saved: dict[str, Any]) -> None:
        conditions = saved["conditions"]
        defaults: dict[str, Any] = {
            "prompt": _text(saved["prompt"]),
            "negative": _text(saved["negative"]),
            "suppress": saved["extra_prompts"].get("suppress"),
            "diverse": saved["extra_prompts"].get("diverse"),
            "separate": saved.get("separate") or None,
            "size": "x".join(str(n) for n in saved["size"]),
            "background": saved["background"],
            "seed": int(saved["seeds"][0]),
            "count": len(saved["seeds"]),
            "paste_back": saved["paste_back"],
        }
        patch = saved.get("patch")
        if options.patch is None and patch:
            _same_file(patch["file"], patch["sha256"], "--patch")
            defaults["patch"] = f"{patch['file']}:{patch['strength']}"
        if options.background is None and saved.get("background_sha256"):
            _same_file(saved["background"], saved["background_sha256"], "--background")
        if not (options.condition or options.box or options.plan or options.planner):
            for item in conditions:
                if item["image"] is None:
                    raise SowError("The picture was made from one that was in memory; give --condition.")
                _same_file(item["image"], item["sha256"], "--condition")
                if item["mask"] is not None:
                    _same_file(item["mask"], item["mask_sha256"], "--mask")
            defaults["condition"] = [c["image"] for c in conditions]
            # A condition without a mask file after one with: "" stands for its own alpha.
            defaults["mask"] = [c["mask"] or "" for c in conditions] if any(c["mask"] for c in conditions) else None
            defaults["box"] = [c["box"] for c in conditions]
            defaults["related"] = [f"{n}:{r}" for n, c in enumerate(conditions, 1) for r in c["related"]]
            defaults["planner"] = "none"
            self.plan = saved["plan"]
        if options.preset is None:
            options.preset = _text(saved["preset"])
            self.config = SowConfig.from_dict(saved["config"])
        for name, value in defaults.items():
            if getattr(options, name) is None:
                setattr(options, name, value)
        for name in MODEL:
            if model.get(name) is None:
                model[name] = saved[name] if name != "model" else _text(saved[name])


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    return value


def _same_file(path: str, expected: str, option: str) -> None:
    if not Path(path).is_file():
        raise SowError(f"The picture was made from {path}, which is not here; give {option}.")
    if digest(path) != expected:
        raise SowError(f"{path} has changed since the picture was made; give {option} to use it anyway.")
