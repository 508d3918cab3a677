"""Boxes in every form in which they reach a node, as plain `Box`es."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..sow_core.errors import SowError
from ..sow_core.method.box import Box, check_inside
from ..sow_core.outside.reading import parse_json

FORMS = "a box {x, y, width, height}, a list of them, one of both as JSON, or lines of x,y,width,height"
NUMBERS = ("expected four numbers x,y,width,height in pixels, or as shares of the canvas like 0.25,0.2,0.5,0.5; "
           "several boxes: one a line")
FARTHEST = 1e9
"""A number of a box beyond it is none."""
RELATED = ("related", "\u76f8\u5173")
"""A box whose description begins with one of these is a related region, wherever it stands in the list."""
_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)"
_LINE = re.compile(r"\s*" + r"\s*[,; \t]\s*".join([_NUMBER] * 4) + r"(?:[\s:]+(\D.*))?\s*$", re.IGNORECASE)
_SOURCE = re.compile(r"(\d+)/(\d+) (-?\d+),(-?\d+),(\d+),(\d+)\|(.*)$", re.DOTALL)

Described = tuple[Box, str]
"""A box in px and its description, "" without one."""


class Placement(NamedTuple):
    """box: where the condition goes; related: where it continues."""

    box: Box
    related: tuple[Box, ...]


def parse_boxes(value: Any, width: int, height: int, name: str = "boxes") -> list[Described]:
    """All boxes of `value` in order, each with its description ("" without one).

    Accepts nothing (None, "", []); {x, y, width, height} with or without `metadata.desc`; lists and lists of
    lists of them (a batch of frames, of which the first counts); [x, y, width, height]; core's elements
    {"bbox": [ymin, xmin, ymax, xmax]} in thousandths of the canvas, which is width x height px; all of these as
    JSON text; and lines of text, each "x,y,width,height description". Four numbers of which none is above 1 are
    shares of the canvas. Raises SowError for anything else.
    """
    if value is None:
        return []
    if isinstance(value, str):
        return _parse_text(value.strip(), width, height, name)
    if isinstance(value, Mapping):
        return [_parse_mapping(value, width, height, name)]
    if not isinstance(value, Sequence):
        raise SowError(f"Bad {name}: expected {FORMS}, got {type(value).__name__}.")
    if _is_numbers(value):
        return [(_sized(value, width, height, name), "")]
    if value and all(isinstance(v, Sequence) and not isinstance(v, str) and not _is_numbers(v) for v in value):
        return parse_boxes(value[0], width, height, name)  # frames of a batch: one picture, so the first
    return [box for item in value for box in parse_boxes(item, width, height, name)]


def _is_numbers(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 4 \
        and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)


def _sized(numbers: Sequence[float], width: int, height: int, name: str) -> Box:
    """A box of four numbers: px, or shares of the canvas where none is above 1 (a box of one pixel has no use)."""
    if all(0 <= n <= 1 for n in numbers):
        x, y, w, h = numbers
        left, right, top, bottom = (round(v) for v in (x * width, (x + w) * width, y * height, (y + h) * height))
        return Box.parse((left, top, right - left, bottom - top), name)
    return Box.parse(numbers, name)


def _parse_text(text: str, width: int, height: int, name: str) -> list[Described]:
    if not text:
        return []
    if text[0] not in "[{":
        return [_parse_line(line, width, height, name) for line in lines_of(text)]
    try:
        value = parse_json(text, f"Bad {name}: the text")
    except SowError as error:
        raise SowError(f"{str(error).rstrip('.')}; expected {FORMS}.") from None
    return parse_boxes(value, width, height, name)


def lines_of(text: str) -> list[str]:
    """The boxes of a text that is not JSON: one a line, or with semicolons between them."""
    parts = [part.strip() for line in text.splitlines() for part in _split(line)]
    return [part for part in parts if part]


def _split(line: str) -> list[str]:
    """A line at its semicolons, where these part boxes and not numbers."""
    parts = [part for part in line.split(";") if part.strip()]
    return parts if len(parts) > 1 and all(_LINE.match(part) for part in parts) else [line]


def _parse_line(line: str, width: int, height: int, name: str) -> Described:
    found = _LINE.match(line)
    if found is None:
        raise SowError(f"Bad {name} {line[:60]!r}: {NUMBERS}.")
    *numbers, description = found.groups()
    return _sized([float(n) for n in numbers], width, height, name), (description or "").strip()


def _parse_mapping(value: Mapping[str, Any], width: int, height: int, name: str) -> Described:
    metadata = value.get("metadata")
    description = value.get("desc") or (metadata.get("desc") if isinstance(metadata, Mapping) else "") or ""
    if "bbox" in value and "x" not in value:
        corners = value["bbox"]
        if not _is_numbers(corners) or not all(abs(v) < FARTHEST for v in corners):  # NaN compares as false
            raise SowError(f"Bad {name}: a bbox needs [ymin, xmin, ymax, xmax] in thousandths of the canvas.")
        top, left, bottom, right = corners
        edges = (left * width, top * height, right * width, bottom * height)
        x, y, x2, y2 = (round(edge / 1000) for edge in edges)
        return Box.parse((x, y, x2 - x, y2 - y), name), str(description)
    return Box.parse(value, name), str(description)


# -- boxes that are drawn and written at once


class Chosen(NamedTuple):
    """Which boxes count, and a line for the user where that is not plain to see ("" where it is)."""

    boxes: list[Described]
    remark: str


def with_source(index: int, count: int, box: Box, line: str) -> str:
    """What a drawn box remembers of the line of `bboxes` that it shows: for its `metadata.text`.

    The drawing canvas keeps that text while the box is moved, so that a later run can tell which of the two was
    changed. index: 1 to count.
    """
    return f"{index}/{count} {box}|{line}"


def choose(bboxes: Any, drawn: Any, width: int, height: int) -> Chosen:
    """The boxes of a node that has them twice: typed or connected as `bboxes`, and drawn.

    Each canvas of the host edits one of the two, so the one that was changed counts: that is seen by what the
    drawn boxes remember (`with_source`). Where they remember nothing, or both were changed, `bboxes` counts.
    """
    typed = parse_boxes(bboxes, width, height, "bboxes")
    hand = parse_boxes(drawn, width, height, "boxes")
    if not typed or not hand or [box for box, _ in typed] == [box for box, _ in hand]:
        return Chosen(typed or hand, "")
    sources = [_source_of(item) for item in drawn] if isinstance(drawn, Sequence) else []
    known = [source for source in sources if source is not None]
    lines = lines_of(bboxes) if isinstance(bboxes, str) else None
    kept_text = bool(known) and lines is not None and all(
        count == len(lines) and index <= count and lines[index - 1] == line for index, count, _, line in known)
    kept_drawing = len(known) == len(sources) and [index for index, *_ in known] == [
        *range(1, (known[0][1] if known else 0) + 1)] and all(
        box == place for (box, _), (_, _, place, _) in zip(hand, known, strict=True))
    if kept_text and not kept_drawing:
        return Chosen(hand, "The drawn boxes are used: they were changed, the text in bboxes was not.")
    if kept_drawing:
        return Chosen(typed, "")
    return Chosen(typed, "The text in bboxes is used, not the drawn boxes; empty it to use those.")


def _source_of(item: Any) -> tuple[int, int, Box, str] | None:
    metadata = item.get("metadata") if isinstance(item, Mapping) else None
    text = metadata.get("text") if isinstance(metadata, Mapping) else None
    found = _SOURCE.match(text) if isinstance(text, str) else None
    if found is None:
        return None
    index, count, x, y, width, height = (int(n) for n in found.groups()[:6])
    return (index, count, Box(x, y, width, height), found.group(7)) if index else None


def placement_of(boxes: Sequence[Described]) -> Placement | None:
    """The first box is the condition's place, the others its related regions; None if there is no box.

    A box described as "related ..." is never the place, so that redrawing the place keeps the others.
    """
    marked = [description.strip().lower().startswith(RELATED) for _, description in boxes]
    place = next((i for i, related in enumerate(marked) if not related), None)
    if place is None:
        return None
    return Placement(boxes[place][0], tuple(box for i, (box, _) in enumerate(boxes) if i != place))


def check_placement(placement: Placement, width: int, height: int) -> list[str]:
    """Lines about related regions that lie partly outside the canvas of width x height px.

    Raises SowError if the place does not fit the canvas, or a related region lies outside altogether.
    """
    check_inside(width, height, [placement.box], [placement.related])
    beyond = [box for box in placement.related if not box.inside(width, height)]
    return [f"The related region {box} reaches beyond the canvas; only {box.clip(width, height)} counts."
            for box in beyond]
