"""The questions to a language model: text files of one version, filled in, and the JSON schema of the answer.

The texts live in `prompts/<version>/` so that a reader can study them and a change makes a new version.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from string import Template
from typing import Any

from ..assets import asset_folder
from ..method.box import Box
from .request import PlanRequest
from .text import plain

VERSION = "v1"

PARTS = ("prompt", "position", "context")
"""The paper's three parts: prompt intensification, adaptive position, contextual refinement."""


@functools.cache
def _template(name: str) -> Template:
    file = asset_folder("prompts") / VERSION / f"{name}.txt"
    if not file.is_file():
        raise FileNotFoundError(f"The prompt file {VERSION}/{name}.txt is missing; install the pack again.")
    return Template(file.read_text(encoding="utf-8").strip())


@dataclass(frozen=True)
class Question:
    """One call: what to say, which pictures to show, what the answer must look like."""

    system: str
    user: str
    pictures: tuple[bytes, ...]
    schema: dict[str, Any]


def wanted_parts(request: PlanRequest) -> tuple[str, ...]:
    """The parts that are switched on and not yet answered by the user's own boxes."""
    all_placed = all(condition.box for condition in request.conditions)
    switches = {
        "prompt": request.use_prompt,
        "position": request.use_position and not all_placed,
        "context": request.use_context,
    }
    return tuple(part for part in PARTS if switches[part])


def ask(
    request: PlanRequest,
    parts: Iterable[str],
    boxes: tuple[Box, ...] = (),
    fault: str = "",
    pictures: tuple[bytes, ...] = (),
) -> Question:
    """The question for these parts. `boxes`: settled condition boxes for the context part to build on.
    `fault`: what was wrong with the previous answer.
    """
    wanted = tuple(parts)
    return Question(_system(request, wanted, boxes), _user(request, fault), pictures, schema(request, wanted))


def as_text(request: PlanRequest) -> str:
    """The whole question as one text, for a language model that is asked elsewhere and has no schema option."""
    parts = wanted_parts(request) or ("context",)
    question = ask(request, parts, tuple(c.box for c in request.conditions if c.box))
    shape = json.dumps(_example(question.schema), indent=1)
    return "\n\n".join((question.system, _template("shape").substitute(shape=shape), question.user))


def _system(request: PlanRequest, parts: tuple[str, ...], boxes: tuple[Box, ...]) -> str:
    count, frame = len(request.conditions), request.frame
    low, high = frame.sides
    aspects = ", ".join(f"{c.aspect:.2f} : 1" for c in request.conditions)
    where = " and ".join(str(box.as_dict()).replace("'", "") for box in boxes)
    words = {
        "subject": "a VISUAL CONDITION (a picture)"
        if count == 1
        else f"{count} VISUAL CONDITIONS (pictures)",
        "width": frame.width,
        "height": frame.height,
        "count": count,
        "low": low,
        "high": high,
        "aspect": aspects,
        "where": f" at {where}" if where else "",
    }
    files = ["system"] + (["several"] if count > 1 else [])
    steps = (["recognition", "intensification"] if "prompt" in parts else []) + [
        part for part in ("position", "context") if part in parts
    ]
    head = [_template(name).substitute(words) for name in files]
    numbered = [f"{i}. {_template(name).substitute(words)}" for i, name in enumerate(steps, 1)]
    return "\n\n".join(head + numbered)


def _user(request: PlanRequest, fault: str) -> str:
    lines = [f"<scene>{plain(request.prompt)}</scene>"]
    for number, condition in enumerate(request.conditions, 1):
        said = ", ".join(filter(None, (plain(condition.name, 80), plain(condition.description))))
        if said:
            lines.append(f"<note>visual condition {number}: {said}</note>")
    if fault:
        lines.append(_template("again").substitute(fault=fault))
    return "\n\n".join(lines)


# Upper-case types without limits: the subset that both Google packages accept. The order of `required` is the
# order in which the model writes: what it sees first, what it concludes after.
_BOX = {
    "type": "OBJECT",
    "required": ["x", "y", "width", "height"],
    "properties": {key: {"type": "INTEGER"} for key in ("x", "y", "width", "height")},
}
_REGION = {
    "type": "OBJECT",
    "required": ["label", "box"],
    "properties": {"label": {"type": "STRING"}, "box": _BOX},
}


def schema(request: PlanRequest, parts: tuple[str, ...]) -> dict[str, Any]:
    """The answer's schema: flat for one condition, a list `conditions` for several."""
    each: dict[str, Any] = {}
    if "prompt" in parts:
        each["condition_description"] = {"type": "STRING"}
    if len(request.conditions) == 1 and "prompt" in parts:
        each["intensified_prompt"] = {"type": "STRING"}
    if "position" in parts:
        each["condition_box"] = _BOX
    if "context" in parts:
        each["related_regions"] = {"type": "ARRAY", "items": _REGION}
    if len(request.conditions) == 1:
        return _object(each)
    both: dict[str, Any] = {"conditions": {"type": "ARRAY", "items": _object(each)}}
    if "prompt" in parts:
        both["intensified_prompt"] = {"type": "STRING"}
    return _object(both)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "OBJECT", "required": list(properties), "properties": properties}


def json_schema(upper: dict[str, Any]) -> dict[str, Any]:
    """The same schema as standard JSON Schema: lower-case types, nothing beyond the named properties."""
    result: dict[str, Any] = {}
    for key, value in upper.items():
        if key == "type":
            result[key] = value.lower()
        elif key == "properties":
            result[key] = {name: json_schema(inner) for name, inner in value.items()}
        else:
            result[key] = json_schema(value) if isinstance(value, dict) else value
    if result.get("type") == "object":
        result["additionalProperties"] = False
    return result


def _example(upper: dict[str, Any]) -> Any:
    kind = upper["type"]
    if kind == "OBJECT":
        return {name: _example(inner) for name, inner in upper["properties"].items()}
    return [_example(upper["items"])] if kind == "ARRAY" else {"INTEGER": 0, "STRING": "..."}[kind]
