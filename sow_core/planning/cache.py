"""Plans on disk, found by what was asked: the same question costs nothing twice and survives without a network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..errors import SowError
from ..files import atomic_write
from ..outside.reading import read_json_file
from ..outside.records import read_record
from . import instructions
from .reading import Target, read_plan
from .request import PlanRequest
from .schema import VERSION, LayoutPlan


@dataclass(frozen=True)
class _Entry:
    """What is read of a file of the cache."""

    plan: dict[str, Any]


def cache_key(request: PlanRequest, how: Mapping[str, Any]) -> str:
    """SHA-256 of everything the answer depends on. `how`: the planner's own settings. No key goes in."""
    frame = request.frame
    conditions = []
    for condition in request.conditions:
        shown = condition.shareable()
        pixels = hashlib.sha256(shown.tobytes()).hexdigest()
        box = condition.box.as_dict() if condition.box else None
        conditions.append(
            [pixels, shown.size, condition.aspect, condition.name, condition.description, condition.kind, box]
        )
    asked = {
        "schema": VERSION,
        "prompts": instructions.VERSION,
        "scene": [request.prompt, request.negative],
        "canvas": [frame.width, frame.height, frame.rule.low, frame.rule.high],
        "parts": request.parts,
        "conditions": conditions,
        "how": dict(how),
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def load(folder: Path, key: str, request: PlanRequest) -> LayoutPlan | None:
    """The cached plan, validated as if it came from a stranger; None without one or if it no longer reads."""
    targets = [Target(condition.aspect, condition.box) for condition in request.conditions]
    try:
        entry = read_record(_Entry, read_json_file(folder / f"{key}.json", "the cached plan"))
        return read_plan(entry.plan, targets=targets)
    except SowError:
        return None


def store(folder: Path, key: str, plan: LayoutPlan, raw: list[str]) -> str:
    """Keep a plan with the model's own words. Returns what to tell the user if that is not possible, else ""."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    words = [text.replace("\0", " ").encode(errors="replace").decode() for text in raw]  # what can be read again
    entry = {"plan": plan.as_dict(), "raw": words, "created": now}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(folder / f"{key}.json", json.dumps(entry, indent=1, ensure_ascii=False))
    except (OSError, SowError) as error:
        return f"the plan could not be cached in {folder}: {error}"
    return ""
