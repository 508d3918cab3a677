"""The settings that a PNG carries, and the way back from them: `generate --from FILE.png`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import SowError
from ..method.plan import SowConfig
from ..settings import digest, read_settings
from .job import Job

if TYPE_CHECKING:
    from ..planning.schema import LayoutPlan

SETTINGS_VERSION = 1


def settings_of(
    args: argparse.Namespace, job: Job, size: tuple[int, int], plan: LayoutPlan | dict[str, Any] | None
) -> dict[str, Any]:
    """What repeats the pictures: enough for `--from`, nothing about the machine beyond names given to it."""
    return {
        "settings": SETTINGS_VERSION,
        "version": __version__,
        "model": args.model or "demo",
        "model_config": args.config,
        "conditions": [
            {
                "image": str(image),
                "sha256": digest(image),
                "mask": None if mask is None else str(mask),
                "mask_sha256": None if mask is None else digest(mask),
                "box": str(box),
                "related": [str(r) for r in related],
            }
            for image, mask, box, related in zip(job.conditions, job.masks, job.boxes, job.related, strict=True)
        ],
        "prompt": job.prompt,
        "negative": job.negative,
        "extra_prompts": job.extra,
        "size": list(size),
        "background": args.background,
        "background_sha256": digest(args.background) if args.background and Path(args.background).is_file() else None,
        "seeds": job.seeds,
        "paste_back": args.paste_back,
        "preset": args.preset or "normal",
        "config": job.config.as_dict(),
        "dtype": args.dtype,
        "device": args.device,
        "plan": plan if plan is None or isinstance(plan, dict) else plan.as_dict(),
    }


class Saved:
    """What a picture was made with. `config` is None where the user starts from another preset."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Read `--from` and give every option that the user left out the value it had. Raises SowError."""
        self.config: SowConfig | None = None
        self.plan: dict[str, Any] | None = None
        saved = read_settings(args.source)
        try:
            self._fill(args, saved)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            text = f"The settings in {args.source} are from another version ({error}); give the options by hand."
            raise SowError(text) from error

    def _fill(self, args: argparse.Namespace, saved: dict[str, Any]) -> None:
        conditions = saved["conditions"]
        defaults: dict[str, Any] = {
            "prompt": _text(saved["prompt"]),
            "negative": _text(saved["negative"]),
            "suppress": saved["extra_prompts"].get("suppress"),
            "diverse": saved["extra_prompts"].get("diverse"),
            "model": _text(saved["model"]),
            "config": saved["model_config"],
            "size": "x".join(str(n) for n in saved["size"]),
            "background": saved["background"],
            "seed": int(saved["seeds"][0]),
            "count": len(saved["seeds"]),
            "paste_back": saved["paste_back"],
            "dtype": saved["dtype"],
            "device": saved["device"],
        }
        if args.background is None and saved.get("background_sha256"):
            _same_file(saved["background"], saved["background_sha256"], "--background")
        if not (args.condition or args.box or args.plan or args.planner):
            for item in conditions:
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
        if args.preset is None:
            args.preset = _text(saved["preset"])
            self.config = SowConfig.from_dict(saved["config"])
        for name, value in defaults.items():
            if getattr(args, name) is None:
                setattr(args, name, value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    return value


def _same_file(path: str, expected: str, option: str) -> None:
    if not Path(path).is_file():
        raise SowError(f"The picture was made from {path}, which is not here; give {option}.")
    if digest(path) != expected:
        raise SowError(f"{path} has changed since the picture was made; give {option} to use it anyway.")
