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
ROOM = 0.25
"""Of its size: a new thing is glad of that much room to its neighbours."""
SCALES = (1.0, 0.92, 0.84, 0.76, 0.68, 0.6)
"""Sizes at which a new thing is tried, of the one it should have."""
SMALL, COVERED, CROWDED, DOUBT, FAR, NEAR = 3.0, 25.0, 2.5, 0.4, 4.0, 0.3
"""Costs of a place: of the share of its size that is given up, of the share that lies under other things, of touching
one, of a wish that is barely obeyed, of one canvas between it and the best spot, of touching the edge. A thing that is
too small is drawn badly, one that is covered often not at all."""
FINE, WIDER = 64, 0.08
"""Places that a side of the canvas has; how far the band of a thing's middle widens where it holds none."""
POOR, MISSED = 3.0, 10.0
"""Cost from which on a place that obeys several wishes is too crowded, so that one beside it is looked for too; how far
beside, in units of CLEAR: a thing in a free place at the wrong side of a neighbour's middle is there, at least."""
AGAIN = 6.0
"""Cost of a place that was tried in vain, less by the share of it that a place lies beside it."""
CLEAR = 0.1
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
    avoid: Sequence[Box] = (),
) -> Box:
    """The box of a new thing of `size` (width, height, px): the nearest free place that obeys every wish.

    standing: on a ground that is seen from above: `size` is that of the middle of the band, nearer things are larger.
    places: words of the canvas (left, right, top, bottom, middle). taken: boxes to keep clear of. band: smallest and
    largest height of its middle, as shares of the canvas. avoid: places that were tried in vain. Where several wishes
    leave no room, a place that misses one a little may be taken (see `obeyed`), or a crowded one. Raises SowError if no
    place comes near the wishes.
    """
    found: list[tuple[float, Box]] = []
    for wider, slack in ((0.0, 0.0), (0.0, MISSED), (WIDER, 0.0), (WIDER, MISSED)):
        # Where a good place was tried in vain, all that come near are compared.
        if found and not avoid and (wider or min(place[0] for place in found) < POOR):
            break
        if slack and len(wishes) < 2:
            continue
        limits = (max(band[0] - wider, 0.0), min(band[1] + wider, 1.0))
        found += [
            place
            for scale in SCALES
            if (place := _best(frame, scale, size, wishes, places, taken, limits, standing, slack, avoid))
            is not None
        ]
    if found:
        return min(found, key=lambda place: place[0])[1]
    raise SowError(
        "There is no place in the picture that is all of that at once; ask for fewer relations, or give --region."
    )


def _best(
    frame: tuple[int, int],
    scale: float,
    size: tuple[float, float],
    wishes: Sequence[Wish],
    places: Sequence[str],
    taken: Sequence[Box],
    band: tuple[float, float],
    standing: bool,
    slack: float,
    avoid: Sequence[Box],
) -> tuple[float, Box] | None:
    """The place of least cost for a thing of `scale` times the size, and that cost; None if none obeys the wishes."""
    size = min(scale * size[0], frame[0] - 2 * EDGE), min(scale * size[1], frame[1] - 2 * EDGE)
    fitting: list[tuple[Box, float]] = []
    for x, y in _centres(frame, size, band):
        by = scale_at(y / frame[1]) if standing else 1.0
        w, h = by * size[0], by * size[1]
        box = Box(round(x - w / 2), round(y - h / 2), round(w), round(h))
        if _margin(frame, box) < EDGE:
            continue
        doubt = _doubt(frame, box, wishes, places, slack)
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
        covered = sum(box.intersect(other).area for other in taken) / max(box.area, 1)
        crowded = max((1.0 - _gap(box, other) / ROOM / max(size) for other in taken), default=0.0)
        edge = 1.0 - _margin(frame, box) / ROOM / max(size)
        again = max((box.intersect(other).area / max(box.area, other.area, 1) for other in avoid), default=0.0)
        return (
            AGAIN * again
            + COVERED * covered
            + DOUBT * doubt
            + FAR * far
            + CROWDED * max(crowded, 0.0)
            + NEAR * max(edge, 0.0)
        )

    best = min(fitting, key=cost)
    return cost(best) + SMALL * (1.0 - scale), best[0]


def obeyed(frame: tuple[int, int], box: Box, wishes: Sequence[Wish], places: Sequence[str] = ()) -> bool:
    """Whether a box stands where all the wishes and words want it."""
    return _doubt(frame, box, wishes, places, 0.0) is not None


def _centres(
    frame: tuple[int, int], size: tuple[float, float], band: tuple[float, float]
) -> Iterator[tuple[float, float]]:
    """Possible middles, on a grid of 1/FINE of the canvas."""
    width, height = frame
    low_x, high_x = size[0] / 3 + EDGE, width - size[0] / 3 - EDGE
    low_y = max(size[1] / 3 + EDGE, band[0] * height)
    high_y = min(height - size[1] / 3 - EDGE, band[1] * height)
    yield from product(_grid(low_x, high_x, width / FINE), _grid(min(low_y, high_y), high_y, height / FINE))


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


def _doubt(
    frame: tuple[int, int], box: Box, wishes: Sequence[Wish], places: Sequence[str], slack: float
) -> float | None:
    """0 where every wish is plainly obeyed, 1 where one barely is, more where one is missed by up to `slack` times
    CLEAR, None where one is missed by more."""
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
    if worst <= -slack:
        return None
    return 1.0 - min(max(worst, 0.0), 1.0) + sum(max(-m, 0.0) for m in margins)


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
