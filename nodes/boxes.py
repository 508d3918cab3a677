"""Boxes in every form in which they reach a node, as plain `Box`es."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..sow_core.errors import SowError
from ..sow_core.method.box import Box, check_inside

FORMS = "a box {x, y, width, height}, a list of them, or one of both as JSON"
RELATED = "related"
"""A drawn box whose description begins with this is a related region, wherever it stands in the list."""


class Placement(NamedTuple):
    """box: where the condition goes; related: where it continues."""

    box: Box
    related: tuple[Box, ...]


def parse_boxes(value: Any, width: int, height: int, name: str = "boxes") -> list[tuple[Box, str]]:
    """All boxes of `value` in order, each with its description ("" without one).

    Accepts nothing (None, "", []); {x, y, width, height} with or without `metadata.desc`; lists and lists of
    lists of them (a batch of frames, of which the first counts); [x, y, width, height]; "x,y,w,h"; core's
    elements {"bbox": [ymin, xmin, ymax, xmax]} in thousandths of the canvas, which is width x height px; and
    all of these as JSON text. Raises SowError for anything else.
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
        return [(Box.parse(value, name), "")]
    if value and all(isinstance(v, Sequence) and not isinstance(v, str) and not _is_numbers(v) for v in value):
        return parse_boxes(value[0], width, height, name)  # frames of a batch: one picture, so the first
    return [box for item in value for box in parse_boxes(item, width, height, name)]


def _is_numbers(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 4 \
        and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)


def _parse_text(text: str, width: int, height: int, name: str) -> list[tuple[Box, str]]:
    if not text:
        return []
    if text[0] not in "[{":
        return [(Box.parse(text, name), "")]
    try:
        value = json.loads(text)
    except ValueError as error:
        raise SowError(f"Bad {name}: the text is not JSON ({error}); expected {FORMS}.") from error
    return parse_boxes(value, width, height, name)


def _parse_mapping(value: Mapping[str, Any], width: int, height: int, name: str) -> tuple[Box, str]:
    metadata = value.get("metadata")
    description = value.get("desc") or (metadata.get("desc") if isinstance(metadata, Mapping) else "") or ""
    if "bbox" in value and "x" not in value:
        corners = value["bbox"]
        if not _is_numbers(corners):
            raise SowError(f"Bad {name}: a bbox needs [ymin, xmin, ymax, xmax] in thousandths of the canvas.")
        top, left, bottom, right = corners
        edges = (left * width, top * height, right * width, bottom * height)
        x, y, x2, y2 = (round(edge / 1000) for edge in edges)
        return Box.parse((x, y, x2 - x, y2 - y), name), str(description)
    return Box.parse(value, name), str(description)


def placement_of(boxes: Sequence[tuple[Box, str]]) -> Placement | None:
    """The first box is the condition's place, the others its related regions; None if there is no box.

    A box described as "related ..." is never the place, so that redrawing the place keeps the others.
    """
    marked = [description.strip().lower().startswith(RELATED) for _, description in boxes]
    place = next((i for i, related in enumerate(marked) if not related), None)
    if place is None:
        return None
    return Placement(boxes[place][0], tuple(box for i, (box, _) in enumerate(boxes) if i != place))


def check_placement(placement: Placement, width: int, height: int) -> None:
    """Raise SowError if a box does not fit the canvas of width x height px."""
    check_inside(width, height, [placement.box], [placement.related])
