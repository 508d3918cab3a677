"""From a language model's answer, or a saved plan, to a LayoutPlan that holds. The source is never trusted."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import SowError
from ..method.box import Box
from ..outside.text import one_line
from .errors import UnusableAnswer
from .geometry import RawBox, follow, read_box, separate, settle, settle_fixed, settle_regions
from .request import MOST_CONDITIONS
from .salvage import find_object
from .schema import VERSION, ConditionPlan, Frame, LayoutPlan, SizeRule
from .text import LONGEST, plain

PROMPT_KEYS = ("intensified_prompt", "prompt")
DESCRIPTION_KEYS = ("condition_description", "description")
BOX_KEYS = ("condition_box", "box", "bbox", "box_2d", "bbox_2d")
REGION_KEYS = ("related_regions", "related")
KNOWN = frozenset((*PROMPT_KEYS, *DESCRIPTION_KEYS, *BOX_KEYS, *REGION_KEYS, "conditions"))

MOST_READ = 16
"""Related regions that are looked at in one answer."""


LONGEST_OWN = 20_000
"""Characters of a prompt in a saved plan: it may be the user's own."""


class RawCondition(NamedTuple):
    """What an answer says about one condition."""

    description: str
    box: RawBox | None
    regions: tuple[tuple[str, RawBox], ...]
    notes: tuple[str, ...]


def find_answer(text: str) -> dict[str, Any]:
    """The answer object in a model's text. Raises UnusableAnswer."""
    return find_object(text, KNOWN)


def first_of(answer: Mapping[str, Any], keys: Iterable[str]) -> tuple[str, Any]:
    """The first of `keys` that `answer` has, and its value; ("", None) without one."""
    return next(((key, answer[key]) for key in keys if answer.get(key) is not None), ("", None))


def read_conditions(answer: Mapping[str, Any], count: int, frame: Frame) -> list[RawCondition]:
    """What `answer` says about each of `count` conditions. Raises UnusableAnswer if one is missing or its box is
    no box; a faulty related region is only left out.
    """
    listed = answer.get("conditions")
    if isinstance(listed, Mapping):
        listed = list(listed.values())
    entries = listed if isinstance(listed, list) and listed else [answer]
    if len(entries) < count:
        raise UnusableAnswer(f"it has {len(entries)} of {count} conditions.")
    found = []
    for number, entry in enumerate(entries[:count], 1):
        if not isinstance(entry, Mapping):
            raise UnusableAnswer(f"condition {number} is not an object: {one_line(type(entry).__name__)}.")
        found.append(_read_condition(entry, frame, _name(number, count)))
    return found


def _name(number: int, count: int) -> str:
    return "the condition box" if count == 1 else f"the box of condition {number}"


def _read_condition(entry: Mapping[str, Any], frame: Frame, name: str) -> RawCondition:
    key, value = first_of(entry, BOX_KEYS)
    box = read_box(value, key, frame, name) if key else None
    _, listed = first_of(entry, REGION_KEYS)
    if isinstance(listed, Mapping):
        listed = [{"label": label, "box": box} for label, box in listed.items()]
    regions, notes = [], []
    for region in (listed if isinstance(listed, list) else [])[:MOST_READ]:
        try:
            regions.append(_read_region(region, frame))
        except UnusableAnswer as fault:
            notes.append(f"related region left out: {fault}".rstrip("."))
    description = first_of(entry, DESCRIPTION_KEYS)[1]
    text = plain(description, LONGEST) if isinstance(description, str) else ""
    return RawCondition(text, box, tuple(regions), tuple(notes))


def _read_region(region: Any, frame: Frame) -> tuple[str, RawBox]:
    if isinstance(region, Mapping):
        key, value = first_of(region, BOX_KEYS)
        label = region.get("label")
        return plain(label if isinstance(label, str) else "", 40) or "related", read_box(
            value if key else region, key, frame, "its box"
        )
    return "related", read_box(region, "box", frame, "its box")


class Target(NamedTuple):
    """What is known of a condition before an answer is read: its own proportions and the user's box."""

    aspect: float | None = None
    fixed: Box | None = None


def place_boxes(
    proposed: Sequence[RawBox], targets: Sequence[Target], frame: Frame
) -> tuple[tuple[Box, ...], list[str]]:
    """The settled boxes of all conditions, apart from each other, and notes on every change."""
    settled = [t.fixed or settle(raw, t.aspect, frame) for raw, t in zip(proposed, targets, strict=True)]
    boxes = separate(settled, [t.fixed is None for t in targets], frame)
    low, high = frame.sides
    notes = []
    for number, (raw, box, target) in enumerate(zip(proposed, boxes, targets, strict=True), 1):
        shown = ",".join(f"{value:.0f}" for value in raw)
        if target.fixed is None and shown != str(box):
            notes.append(
                f"condition {number}: box {shown} became {box} (longer side {low}..{high} px, the picture's "
                f"proportions, 8-px grid, inside {frame.width}x{frame.height}, apart from others)"
            )
    for i, first in enumerate(boxes):
        for j in range(i + 1, len(boxes)):
            if first.intersect(boxes[j]).area:
                notes.append(f"conditions {i + 1} and {j + 1} overlap: the canvas has no room for both")
    return tuple(boxes), notes


def read_plan(
    source: str | Mapping[str, Any],
    *,
    width: int | None = None,
    height: int | None = None,
    rule: SizeRule | None = None,
    prompt: str = "",
    negative: str = "",
    targets: Sequence[Target] = (),
) -> LayoutPlan:
    """A LayoutPlan from our own JSON or from any language model's answer in the schema of the planner prompt.

    width, height: the canvas to plan for; None takes the plan's own (512 without one); a plan for another
    canvas is scaled. prompt, negative: used where the plan has none. targets: what is known of the conditions.
    A plan that holds comes back unchanged. Raises SowError with the fault in one line.
    """
    try:
        answer = find_object(source, KNOWN) if isinstance(source, str) else source
        return _read_plan(answer, width, height, rule, prompt, negative, targets)
    except UnusableAnswer as fault:
        raise SowError(
            f"Bad plan: {fault} Expected the JSON of a SOW plan or of the planner prompt."
        ) from None


def _read_plan(
    answer: Mapping[str, Any],
    width: int | None,
    height: int | None,
    rule: SizeRule | None,
    prompt: str,
    negative: str,
    targets: Sequence[Target],
) -> LayoutPlan:
    saved = "sow_plan" in answer
    version = answer.get("sow_plan")
    if saved and (not isinstance(version, int) or not 1 <= version <= VERSION):
        raise UnusableAnswer(
            f"its version {one_line(version, 20)} is not one that this release reads (1..{VERSION})."
        )
    own = Frame(*_canvas(answer, width, height), rule or _rule(answer))
    frame = Frame(width or own.width, height or own.height, own.rule)
    count = len(targets) or min(_listed(answer), MOST_CONDITIONS)
    raws = read_conditions(answer, count, own)
    known = tuple(targets) or (Target(),) * count
    notes = list(_strings(answer.get("adjustments"))) if saved else []
    if (own.width, own.height) != (frame.width, frame.height):
        notes.append(f"scaled from {own.width}x{own.height} to {frame.width}x{frame.height}")
    if _listed(answer) > count:
        notes.append(f"only the first {count} of {_listed(answer)} conditions are used")
    return _assemble(answer, raws, known, own, frame, prompt, negative, notes)


def _assemble(
    answer: Mapping[str, Any],
    raws: Sequence[RawCondition],
    targets: Sequence[Target],
    own: Frame,
    frame: Frame,
    prompt: str,
    negative: str,
    notes: list[str],
) -> LayoutPlan:
    across, down = frame.width / own.width, frame.height / own.height
    scale = frame.scale / own.scale
    proposed, known = [], []
    fixed_ones = _fixed(answer, len(raws))
    for number, (raw, target, fixed) in enumerate(zip(raws, targets, fixed_ones, strict=True), 1):
        if raw.box is None:
            raise UnusableAnswer(f"condition {number} has no box.")
        # Scaled about its centre by one factor, so that a picture keeps its proportions on any canvas.
        edges = raw.box.scaled(across, down)
        wide, high = raw.box.width * scale, raw.box.height * scale
        scaled = RawBox(edges.x + (edges.width - wide) / 2, edges.y + (edges.height - high) / 2, wide, high)
        if fixed and target.fixed is None:
            held = settle_fixed(scaled, frame)
            target = target._replace(fixed=held)
            if scaled != RawBox.of(held):
                notes.append(
                    f"condition {number}: the fixed box became {held} (8-px grid, inside the canvas)"
                )
        proposed.append(scaled)
        known.append(target)
    boxes, changes = place_boxes(proposed, known, frame)
    conditions = []
    for number, (raw, old, box, target) in enumerate(zip(raws, proposed, boxes, known, strict=True), 1):
        edges = (raw.box or old).scaled(across, down)
        moved = [(label, follow(region.scaled(across, down), edges, box)) for label, region in raw.regions]
        related, dropped = settle_regions(moved, box, frame, [b for b in boxes if b is not box])
        changes += [f"condition {number}: {note}" for note in (*raw.notes, *dropped)]
        conditions.append(ConditionPlan(box, related, raw.description, target.fixed is not None))
    text = first_of(answer, PROMPT_KEYS)[1]
    words = _prompt(text, prompt, saved="sow_plan" in answer)
    denied = answer.get("negative")
    return LayoutPlan(
        frame,
        words,
        tuple(conditions),
        _bounded(denied, LONGEST_OWN) if isinstance(denied, str) and denied else negative,
        _source(answer),
        tuple(dict.fromkeys(notes + changes)),
    )


def _prompt(text: Any, given: str, saved: bool) -> str:
    """A saved plan's prompt may be the user's own, with weights; another model's is made plain."""
    words = ""
    if isinstance(text, str):
        words = _bounded(text, LONGEST_OWN) if saved else plain(text)
    if not words.strip() and not given.strip():
        raise UnusableAnswer("it has no prompt.")
    return words if words.strip() else given


TURNING = frozenset("\u200e\u200f\u061c\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that turn the direction of writing, and line breaks that only some programs see."""


def _bounded(text: str, longest: int) -> str:
    """Without control characters, what hides or turns text, and halves of surrogates, which no file could hold."""
    kept = (c for c in text[:longest] if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))
    return "".join(c for c in kept if c not in TURNING)


def _strings(value: Any, most: int = 40) -> Iterable[str]:
    return (
        [_bounded(item, 600) for item in value[:most] if isinstance(item, str)]
        if isinstance(value, list)
        else []
    )


def _listed(answer: Mapping[str, Any]) -> int:
    listed = answer.get("conditions")
    return len(listed) if isinstance(listed, (list, Mapping)) and listed else 1


def _canvas(answer: Mapping[str, Any], width: int | None, height: int | None) -> tuple[int, int]:
    canvas = answer.get("canvas")
    if isinstance(canvas, Mapping):
        sides = [canvas.get("width"), canvas.get("height")]
        if all(isinstance(side, int) and not isinstance(side, bool) for side in sides):
            return sides[0], sides[1]  # type: ignore[return-value]
        raise UnusableAnswer("its canvas needs whole numbers width and height.")
    return width or Frame().width, height or Frame().height


def _rule(answer: Mapping[str, Any]) -> SizeRule:
    rule = answer.get("size_rule")
    if rule is None:
        return SizeRule()
    low, high = (rule.get("low"), rule.get("high")) if isinstance(rule, Mapping) else (None, None)
    if type(low) is not int or type(high) is not int:
        raise UnusableAnswer("its size_rule needs whole numbers low and high.")
    return SizeRule(low, high)


def _fixed(answer: Mapping[str, Any], count: int) -> list[bool]:
    """Only a saved plan may say that a box is the user's own."""
    listed = answer.get("conditions")
    if "sow_plan" not in answer or not isinstance(listed, list) or not listed:
        return [False] * count
    return [isinstance(entry, Mapping) and entry.get("fixed") is True for entry in listed[:count]]


SOURCE_KEYS = ("planner", "package", "profile", "model", "model_version", "mode", "parts", "prompts")


def _source(answer: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    source = answer.get("source")
    if not isinstance(source, Mapping):
        return {"planner": "json"}
    kept = {
        key: source[key]
        for key in (*SOURCE_KEYS, "input_tokens", "output_tokens", "requests")
        if key in source
    }
    return {
        k: _bounded(v, 80) if isinstance(v, str) else v
        for k, v in kept.items()
        if type(v) in (str, int, bool)
    }
