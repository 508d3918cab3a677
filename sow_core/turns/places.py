"""Where a new thing goes: arithmetic on boxes, from the words of an instruction. No model, no picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from ..errors import SowError
from ..method.box import Box

GROUND = (0.44, 0.8)
"""Of the canvas's height: where the middles of things on a floor, a table or the ground lie."""
AIR = (0.1, 0.9)
PERSPECTIVE = 0.85
"""How much larger a thing on the ground is per canvas height that it stands nearer."""
SHARE = 0.25
"""Of the canvas's sides: the size of a new thing in a picture without known ones."""
EDGE = 2
"""px between a new thing and the canvas's edge."""
ROOM = 0.35
"""Of its size: a new thing is glad of that much room to its neighbours."""
ATTEMPTS = ((1.0, 0.0, 64), (0.85, 0.03, 64), (0.7, 0.06, 96), (0.6, 0.1, 128))
"""Tried in turn until a place obeys the wishes and is free: size of the new thing, how far the band of its middle
widens, and how many places a side of the canvas has."""
FREE = 0.08
"""Share of a thing that may lie under another before a smaller one is tried."""
CLEAR = 0.16
"""Of a thing's size: how far beyond an anchor's middle "left of" begins, so that nobody doubts it."""


@dataclass(frozen=True)
class Wish:
    """One relation with the boxes of its anchors (two for "between")."""

    kind: str
    anchors: tuple[Box, ...]


def find_place(
    frame: tuple[int, int],
    size: tuple[float, float],
    wishes: Sequence[Wish] = (),
    places: Sequence[str] = (),
    taken: Sequence[Box] = (),
    band: tuple[float, float] = AIR,
    standing: bool = False,
) -> Box:
    """The box of a new thing of `size` (width, height, px): the nearest free place that obeys every wish.

    standing: on a ground that is seen from above: `size` is that of the middle of the band, nearer things are larger.
    places: words of the canvas (left, right, top, bottom, middle). taken: boxes to keep clear of; where there is no
    free place, the least covered one. band: smallest and largest height of its middle, as shares of the canvas.
    Raises SowError if no place obeys the wishes.
    """
    tried: list[tuple[float, Box]] = []
    for scale, wider, fine in ATTEMPTS:
        found = _best(
            frame,
            (min(scale * size[0], frame[0] - 2 * EDGE), min(scale * size[1], frame[1] - 2 * EDGE)),
            wishes,
            places,
            taken,
            (max(band[0] - wider, 0.0), min(band[1] + wider, 1.0)),
            standing,
            fine,
        )
        if found is not None:
            covered = max((_covered(found, other) for other in taken), default=0.0)
            if covered <= FREE:
                return found
            tried.append((covered, found))
    if not tried:
        raise SowError(
            "There is no place in the picture that is all of that at once; ask for fewer relations, or give --region."
        )
    return min(tried, key=lambda t: t[0])[1]


def _best(
    frame: tuple[int, int],
    size: tuple[float, float],
    wishes: Sequence[Wish],
    places: Sequence[str],
    taken: Sequence[Box],
    band: tuple[float, float],
    standing: bool,
    fine: int,
) -> Box | None:
    """The place of least cost for a thing of exactly this size, None if none obeys the wishes."""
    fitting: list[tuple[Box, float]] = []
    for x, y in _centres(frame, size, band, fine):
        by = scale_at(y / frame[1]) if standing else 1.0
        w, h = by * size[0], by * size[1]
        box = Box(round(x - w / 2), round(y - h / 2), round(w), round(h))
        if _margin(frame, box) < EDGE:
            continue
        doubt = _doubt(frame, box, wishes, places)
        if doubt is not None:
            fitting.append((box, doubt))
    if not fitting:
        return None
    # Of one wish: right beside its anchor. Of several: the middle of where they all hold, so that what comes
    # between them later has room.
    if len(wishes) == 1:
        wanted = _beside(wishes[0], size)
    elif wishes:
        middles = [box.center for box, _ in fitting]
        wanted = (sum(m[0] for m in middles) / len(middles), sum(m[1] for m in middles) / len(middles))
    else:
        wanted = _spot(frame, places, band)

    def cost(item: tuple[Box, float]) -> float:
        box, doubt = item
        far = abs(box.center[0] - wanted[0]) / frame[0] + abs(box.center[1] - wanted[1]) / frame[1]
        covered = max((_covered(box, other) for other in taken), default=0.0)
        crowded = max((1.0 - _gap(box, other) / ROOM / max(size) for other in taken), default=0.0)
        edge = 1.0 - _margin(frame, box) / ROOM / max(size)
        return 12.0 * covered + 0.8 * doubt + far + 1.5 * max(crowded, 0.0) + 0.3 * max(edge, 0.0)

    return min(fitting, key=cost)[0]


def _centres(
    frame: tuple[int, int], size: tuple[float, float], band: tuple[float, float], fine: int
) -> Iterator[tuple[float, float]]:
    """Possible middles, on a grid of 1/fine of the canvas."""
    width, height = frame
    low_x, high_x = size[0] / 3 + EDGE, width - size[0] / 3 - EDGE
    low_y = max(size[1] / 3 + EDGE, band[0] * height)
    high_y = min(height - size[1] / 3 - EDGE, band[1] * height)
    yield from product(_grid(low_x, high_x, width / fine), _grid(min(low_y, high_y), high_y, height / fine))


def _grid(low: float, high: float, step: float) -> list[float]:
    count = max(int((high - low) / step), 0)
    return [low + n * step for n in range(count + 1)] if high >= low else [(low + high) / 2]


def scale_at(height: float) -> float:
    """Size of a thing whose middle is at this share of the canvas's height, over that in the middle of the ground."""
    return min(max(1.0 + PERSPECTIVE * (height - (GROUND[0] + GROUND[1]) / 2), 0.5), 1.5)


def _spot(frame: tuple[int, int], places: Sequence[str], band: tuple[float, float]) -> tuple[float, float]:
    """The middle of the part of the canvas that the words name."""
    xs = {"left": 0.25, "right": 0.75}
    ys = {"top": 0.75 * band[0] + 0.25 * band[1], "bottom": 0.25 * band[0] + 0.75 * band[1]}
    x = next((xs[p] for p in places if p in xs), 0.5)
    y = next((ys[p] for p in places if p in ys), (band[0] + band[1]) / 2)
    return x * frame[0], y * frame[1]


def _beside(wish: Wish, size: tuple[float, float]) -> tuple[float, float]:
    anchor = wish.anchors[0]
    (x, y), (w, h) = anchor.center, size
    aside, down = (anchor.width + w) / 2, (anchor.height + h) / 2
    if wish.kind == "between":
        other = wish.anchors[1].center
        return (x + other[0]) / 2, (y + other[1]) / 2
    steps = {
        "left": (-1.15 * aside, 0.0),
        "right": (1.15 * aside, 0.0),
        "next": (1.15 * aside, 0.0),
        "behind": (0.0, -0.8 * down),
        "front": (0.0, 0.8 * down),
        "above": (0.0, -1.1 * down),
        "below": (0.0, 1.1 * down),
        "on": (0.0, -0.9 * down),
    }
    dx, dy = steps[wish.kind]
    return x + dx, y + dy


def _doubt(frame: tuple[int, int], box: Box, wishes: Sequence[Wish], places: Sequence[str]) -> float | None:
    """0 where every wish is plainly obeyed, up to 1 where one barely is, None where one is not."""
    margins = []
    (x, y), clear_x, clear_y = box.center, CLEAR * box.width, CLEAR * box.height
    for wish in wishes:
        ax, ay = wish.anchors[0].center
        if wish.kind in ("left", "right"):
            margins.append((ax - x if wish.kind == "left" else x - ax) / clear_x)
        elif wish.kind in ("behind", "above", "on"):
            margins.append((ay - y) / clear_y)
        elif wish.kind in ("front", "below"):
            margins.append((y - ay) / clear_y)
        elif wish.kind == "between":
            bx, by = wish.anchors[1].center
            along = (x - ax) * (bx - ax) + (y - ay) * (by - ay)
            length = max((bx - ax) ** 2 + (by - ay) ** 2, 1.0)
            share = along / length
            margins.append(5 * min(share, 1 - share))
        else:  # next to
            margins.append(1.0)
    width, height = frame
    sides = {
        "left": (width / 2 - x) / clear_x,
        "right": (x - width / 2) / clear_x,
        "top": (height / 2 - y) / clear_y,
        "bottom": (y - height / 2) / clear_y,
    }
    margins += [sides[p] for p in places if p in sides]
    worst = min(margins, default=1.0)
    return None if worst <= 0 else 1.0 - min(worst, 1.0)


def _covered(box: Box, other: Box) -> float:
    """The share of the smaller one that lies under the other."""
    return box.intersect(other).area / max(min(box.area, other.area), 1)


def _gap(box: Box, other: Box) -> float:
    """px between two boxes on the axis that parts them more; 0 where they overlap."""
    across = max(other.x - box.right, box.x - other.right)
    down = max(other.y - box.bottom, box.y - other.bottom)
    return max(across, down, 0)


def _margin(frame: tuple[int, int], box: Box) -> int:
    """px to the nearest edge of the canvas, below 0 beyond it."""
    return min(box.x, box.y, frame[0] - box.right, frame[1] - box.bottom)


def grown(box: Box, px: int, frame: tuple[int, int]) -> Box:
    """The box with a border of `px` around it, on the canvas."""
    return Box(box.x - px, box.y - px, box.width + 2 * px, box.height + 2 * px).clip(*frame)
