"""From proposed numbers to boxes that hold: inside the canvas, on the 8-px grid, within the size rule."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..method.box import CELL, Box
from ..outside.text import one_line
from .errors import UnusableAnswer
from .schema import Frame, RelatedRegion

MOST_REGIONS = 4
FARTHEST = 32
"""Px on a 512-px canvas between a condition and a related region."""

LARGEST_REGION = 0.9
"""Share of the canvas; a larger related region says nothing."""


SMALLEST = 1e-3
"""Px of a side of a proposed box; a quotient with less of them would overflow."""

ROUNDING = 1e-6
"""Of a cell: what floating point may add to an edge on the grid without making it one cell larger."""


class RawBox(NamedTuple):
    """A proposed box in px, whatever its numbers."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @classmethod
    def of(cls, box: Box) -> RawBox:
        return cls(box.x, box.y, box.width, box.height)

    def scaled(self, horizontal: float, vertical: float) -> RawBox:
        return RawBox(self.x * horizontal, self.y * vertical, self.width * horizontal, self.height * vertical)


_SIZE_KEYS = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"))
_EDGE_KEYS = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("left", "top", "right", "bottom"))


def read_box(value: Any, key: str, frame: Frame, name: str) -> RawBox:
    """A box from one of the forms that language models use; px on the frame's canvas.

    `{x, y, width, height}` and `[x, y, width, height]` in px, corner keys in px, `box_2d` as
    `[ymin, xmin, ymax, xmax]` and `bbox_2d` as `[xmin, ymin, xmax, ymax]` in thousandths of the canvas; numbers
    of which none exceeds 1 are fractions of the canvas. Raises UnusableAnswer for anything else and for a box
    without size or far outside the canvas: which unit was meant is not guessed.
    """
    box = _numbers(value, key, frame, name)
    limit = 2 * max(frame.width, frame.height)
    if box.width < SMALLEST or box.height < SMALLEST:
        raise UnusableAnswer(f"{name} has no size: {one_line(value, 60)}.")
    on_canvas = box.x < frame.width and box.y < frame.height and box.right > 0 and box.bottom > 0
    if not on_canvas or max(box.width, box.height, -box.x, -box.y) > limit:
        raise UnusableAnswer(
            f"{name} is outside of the {frame.width}x{frame.height} canvas: {one_line(value, 60)}."
        )
    return box


def _numbers(value: Any, key: str, frame: Frame, name: str) -> RawBox:
    if isinstance(value, Mapping):
        for inner in ("box_2d", "bbox_2d", "bbox", "box"):
            if inner in value:
                return _numbers(value[inner], inner, frame, name)
        lowered = {str(k).lower(): v for k, v in value.items()}
        for keys in _SIZE_KEYS + _EDGE_KEYS:
            if all(k in lowered for k in keys):
                a, b, c, d = (_number(lowered[k], name) for k in keys)
                box = RawBox(a, b, c - a, d - b) if keys in _EDGE_KEYS else RawBox(a, b, c, d)
                return _in_pixels(box, (a, b, c, d), frame)
        raise UnusableAnswer(f"{name} needs the keys x, y, width, height: {one_line(value, 60)}.")
    if isinstance(value, str):
        value = re.split(r"[,;\s]+", value.strip(" []()\n\t"))
    if not isinstance(value, Sequence) or len(value) != 4:
        raise UnusableAnswer(f"{name} is not four numbers: {one_line(value, 60)}.")
    a, b, c, d = (_number(part, name) for part in value)
    across, down = frame.width / 1000, frame.height / 1000
    if key == "box_2d":
        return RawBox(b, a, d - b, c - a).scaled(across, down)
    if key == "bbox_2d":
        return RawBox(a, b, c - a, d - b).scaled(across, down)
    return _in_pixels(RawBox(a, b, c, d), (a, b, c, d), frame)


def _in_pixels(box: RawBox, numbers: Sequence[float], frame: Frame) -> RawBox:
    return box.scaled(frame.width, frame.height) if max(numbers) <= 1 and min(numbers) >= 0 else box


def _number(value: Any, name: str) -> float:
    if isinstance(value, str) and re.fullmatch(r"\s*[-+]?\d{1,9}(\.\d{0,9})?\s*(px)?\s*", value):
        value = float(value.strip().removesuffix("px"))
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e9:
        raise UnusableAnswer(f"{name} has a value that is not a number: {one_line(value, 60)}.")
    return float(value)


def _near(value: float) -> int:
    """The nearest multiple of 8; halves go up."""
    return math.floor(value / CELL + 0.5) * CELL


def settle(raw: RawBox, aspect: float | None, frame: Frame) -> Box:
    """The box nearest to `raw` that holds: its centre is kept, its longer side follows the size rule, its other
    side the `aspect` (width / height of the condition, None for the box's own). A box that holds is unchanged.
    """
    aspect = min(max(aspect or raw.width / raw.height, 1 / 64), 64.0)
    low, high = frame.sides
    longer = min(max(_near(max(raw.width, raw.height)), low), high)
    shorter = max(_near(longer * min(aspect, 1 / aspect)), CELL)
    width, height = (longer, shorter) if aspect >= 1 else (shorter, longer)
    return shift_inside(raw, width, height, frame)


def settle_fixed(raw: RawBox, frame: Frame) -> Box:
    """The box nearest to `raw` inside the canvas and on the grid, of its own size: for boxes that a user drew."""
    width = min(max(_near(raw.width), CELL), frame.width)
    height = min(max(_near(raw.height), CELL), frame.height)
    return shift_inside(raw, width, height, frame)


def shift_inside(raw: RawBox, width: int, height: int, frame: Frame) -> Box:
    """A box of `width` x `height` about the centre of `raw`, on the grid, moved as little as needed to fit."""
    x = min(max(_near(raw.x + (raw.width - width) / 2), 0), frame.width - width)
    y = min(max(_near(raw.y + (raw.height - height) / 2), 0), frame.height - height)
    return Box(x, y, width, height)


def follow(region: RawBox, old: RawBox, new: Box) -> RawBox:
    """`region` moved along when its condition went from `old` to `new`, so that what touched still touches.

    Edges outside of the old box keep their distance to its nearest side, edges inside it their proportion.
    """

    def along(value: float, a: float, b: float, c: float, d: float) -> float:
        if value <= a:
            return value + c - a
        if value >= b:
            return value + d - b
        return c + (value - a) / (b - a) * (d - c)

    left, right = (along(v, old.x, old.right, new.x, new.right) for v in (region.x, region.right))
    top, bottom = (along(v, old.y, old.bottom, new.y, new.bottom) for v in (region.y, region.bottom))
    return RawBox(left, top, right - left, bottom - top)


def settle_regions(
    regions: Iterable[tuple[str, RawBox]], box: Box, frame: Frame, others: Sequence[Box] = ()
) -> tuple[tuple[RelatedRegion, ...], list[str]]:
    """The related regions of `box` that hold, largest first, and notes on the ones that were dropped.

    Outwards to the grid, clipped to the canvas, cut back where another condition (`others`) lies; dropped if
    nothing is left, wholly inside the box, farther than 32 px (at 512) from it, nearly the whole canvas, a
    repetition, or beyond the fourth.
    """
    kept: dict[Box, RelatedRegion] = {}
    notes = []
    for label, raw in regions:
        x, y = (math.floor(value / CELL + ROUNDING) * CELL for value in (raw.x, raw.y))
        right, bottom = (math.ceil(value / CELL - ROUNDING) * CELL for value in (raw.right, raw.bottom))
        region = Box(x, y, right - x, bottom - y).clip(frame.width, frame.height)
        for other in others:
            region = _beside(region, other)
        fault = ""
        if region.area == 0:
            fault = "it has no room on the canvas"
        elif region.intersect(box) == region:
            fault = "it lies inside the condition"
        elif gap(region, box) > FARTHEST * frame.scale:
            fault = "it does not touch the condition"
        elif region.area > LARGEST_REGION * frame.width * frame.height:
            fault = "it covers nearly the whole canvas"
        if fault:
            notes.append(f"related region {label!r} dropped: {fault}")
        else:
            kept.setdefault(region, RelatedRegion(label, region))
    ordered = sorted(kept.values(), key=lambda r: (-r.box.area, r.box))
    notes += [f"related region {r.label!r} dropped: more than {MOST_REGIONS}" for r in ordered[MOST_REGIONS:]]
    return tuple(ordered[:MOST_REGIONS]), notes


def _beside(region: Box, other: Box) -> Box:
    """The largest rectangle of `region` that leaves `other` free."""
    if not region.intersect(other).area:
        return region
    return max(
        (
            Box(region.x, region.y, max(other.x - region.x, 0), region.height),
            Box(other.right, region.y, max(region.right - other.right, 0), region.height),
            Box(region.x, region.y, region.width, max(other.y - region.y, 0)),
            Box(region.x, other.bottom, region.width, max(region.bottom - other.bottom, 0)),
        ),
        key=lambda part: part.area,
    )


def gap(a: Box, b: Box) -> int:
    """Px between two boxes, the larger of both axes; 0 where they touch or overlap."""
    return max(a.x - b.right, b.x - a.right, a.y - b.bottom, b.y - a.bottom, 0)


def separate(boxes: Sequence[Box], movable: Sequence[bool], frame: Frame) -> list[Box]:
    """`boxes` moved as little as needed so that none overlaps another: each to the nearest free place, else shrunk
    to the rule's smallest size for that, else to the nearest free cell of a lattice. Unmovable ones stay. Where
    the canvas is too full, the overlap stays.
    """
    low = frame.sides[0]
    small = [_resized(box, low, frame) if free else box for box, free in zip(boxes, movable, strict=True)]
    for sizes, lattice in ((boxes, None), (small, None), (small, low)):
        placed: dict[int, Box] = {i: box for i, box in enumerate(boxes) if not movable[i]}
        for i, box in enumerate(sizes):
            if i not in placed:
                found = _free_place(box, placed.values(), frame, lattice)
                if found is None:
                    break
                placed[i] = found
        if len(placed) == len(boxes):
            return [placed[i] for i in range(len(boxes))]
    return list(boxes)


def _resized(box: Box, longer: int, frame: Frame) -> Box:
    x, y = box.center
    return settle(RawBox(x - longer / 2, y - longer / 2, longer, longer), box.width / box.height, frame)


def _free_place(box: Box, taken: Iterable[Box], frame: Frame, lattice: int | None) -> Box | None:
    """`box` at the free grid position nearest to where it is; with a `lattice`, in one of its cells of that side."""
    import numpy as np

    if lattice is None:
        columns = np.arange(0, frame.width - box.width + 1, CELL)
        rows = np.arange(0, frame.height - box.height + 1, CELL)
    else:
        columns = _cells(frame.width, lattice, box.width)
        rows = _cells(frame.height, lattice, box.height)
    xs, ys = np.meshgrid(columns, rows)
    free = np.ones(xs.shape, bool)
    for other in taken:
        free &= (
            (xs >= other.right)
            | (xs + box.width <= other.x)
            | (ys >= other.bottom)
            | (ys + box.height <= other.y)
        )
    if not free.any():
        return None
    distance = np.where(free, (xs - box.x) ** 2 + (ys - box.y) ** 2, np.iinfo(np.int64).max)
    row, column = np.unravel_index(int(distance.argmin()), distance.shape)
    return Box(int(xs[row, column]), int(ys[row, column]), box.width, box.height)


def _cells(side: int, cell: int, length: int) -> Any:
    """Where something of `length` starts, in the middle of each of the cells that fit next to each other."""
    import numpy as np

    count = max(side // cell, 1)
    middles = (np.arange(count) + 0.5) * side / count
    return np.array([min(max(_near(m - length / 2), 0), side - length) for m in middles])
