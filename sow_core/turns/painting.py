"""One turn as one SOW run: the rest of the picture is the one-way condition, and what may change is free.

Afterwards the rest is laid over the result, so that outside the region no pixel differs from the picture before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import SowError
from ..method.box import CELL, Box
from ..method.condition import Condition, Layout, extend, make_layout
from ..pictures.composite import feathered
from .captions import as_list, listed, mentioned
from .places import grown
from .resolve import Turn
from .things import Thing
from .window import Crop, Window

if TYPE_CHECKING:
    from ..backends.painting import Painter
    from ..method.config import SowConfig
    from ..method.steering import Steering, Toward
    from ..method.trace import Event

SHRINK = 2
"""px that a known thing's box loses before it is spared: boxes are drawn generously."""
CHANGED = 0.1, 0.4
"""Difference (0..1, largest of the colours) from which on a pixel counts as painted anew: at least the first, and this
share of what the strongest 5 % of the changed pixels have, so that a shadow is no part of its thing."""
SEEN = 0.25
"""Of a thing's box: less of it in the window, and a list prompt for the window does not name it."""


@dataclass(frozen=True)
class EditOptions:
    """How turns are painted.

    feather: px inside the region over which old and new are blended, 0..64. most: things that the model can have in
    one picture (0: any number); those farthest from the region are hidden from it, and left out of its prompt.
    negative: what to avoid; empty by default, since the paper's harms small worlds.
    """

    feather: int = 8
    most: int = 0
    negative: str = ""

    def __post_init__(self) -> None:
        for name, value, high in (("feather", self.feather, 64), ("most", self.most, 1000)):
            if not 0 <= value <= high:
                raise SowError(f"Bad {name} {value}: expected 0 to {high}.")


@dataclass(frozen=True)
class Canvas:
    """What a turn starts from: picture [3, H, W] in 0..1, free [H, W] of 0 or 1 (1 = may change), and what the model is
    shown and told. It is shown a window of the picture at a size of its own: shown [3, h, w] and the regions, px, are
    of that.

    prompt: what it is told; told: the same before the turn, empty if nobody knows.
    """

    picture: Tensor
    free: Tensor
    shown: Tensor
    prompt: str
    regions: tuple[Box, ...]
    window: Window
    told: str = ""

    @cached_property
    def open(self) -> Tensor:
        """[h, w] of 0 or 1: what may change of what the model is shown."""
        return self.window.see_mask(self.free)

    @property
    def cropped(self) -> bool:
        """Whether the model is shown a part of the picture, or another size of it."""
        height, width = self.free.shape
        return self.window != Window.whole((width, height))

    def as_shown(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] after the turn as the model was shown the one before it: [N, 3, h, w]."""
        return torch.where(self.open > 0, self.window.see(images), self.shown.to(images))


def free_mask(turn: Turn, frame: tuple[int, int]) -> Tensor:
    """[H, W] of 0 or 1: what a turn may change. Raises SowError if that is nothing, or all of the picture."""
    width, height = frame
    free = torch.zeros(height, width)
    for box in turn.regions:
        _window(free, box.clip(width, height)).fill_(1.0)
    if turn.outside:
        free = 1.0 - free
    for box in turn.spared:
        inner = Box(box.x + SHRINK, box.y + SHRINK, box.width - 2 * SHRINK, box.height - 2 * SHRINK)
        if inner.width > 0 and inner.height > 0:
            _window(free, inner.clip(width, height)).fill_(0.0)
    return check_free(free)


def check_free(free: Tensor) -> Tensor:
    """The mask [H, W] of 0 or 1. Raises SowError if nothing, or no whole latent cell, may change or is kept."""
    if not (free >= 0.5).any():
        raise SowError("The region is empty: expected some pixels that may change (white = change).")
    cells = torch.nn.functional.avg_pool2d(free[None, None], CELL)
    if not (cells < 0.5).any():
        raise SowError("The region is the whole picture: nothing would be kept; draw a smaller one.")
    if not (cells > 0.5).any():
        raise SowError(f"The region holds no whole {CELL}-px cell of the model; draw a larger one.")
    return (free >= 0.5).float()


def make_canvas(
    picture: Tensor, turn: Turn, options: EditOptions, mask: Tensor | None = None, crop: Crop | None = None
) -> Canvas:
    """picture [3, H, W] in 0..1; mask [H, W]: what may change, instead of the turn's regions; crop: the window that is
    painted (None: all of the picture as it is). Raises SowError.
    """
    frame = (picture.shape[-1], picture.shape[-2])
    if mask is not None and tuple(mask.shape) != tuple(picture.shape[-2:]):
        got = "x".join(str(n) for n in reversed(mask.shape))
        raise SowError(f"Bad mask size. Expected {frame[0]}x{frame[1]}, as the picture, got {got}.")
    free = free_mask(turn, frame) if mask is None else check_free(mask)
    regions = turn.regions if mask is None and not turn.outside else (bounds(free),)
    whole = Window.whole(frame)
    window = whole if crop is None else crop(bounds(free))
    if window != whole:
        _check_window(window, free)
    things = [t for t in turn.things if window == whole or t.name == turn.fresh or _is_seen(t, window)]
    hidden = _too_many(turn, things, regions, options.most)
    shown = window.see(picture)
    if hidden:
        shown = _hide(shown, hidden, [t for t in things if t not in hidden and t.name != turn.fresh], window)
    seen = [t for t in things if t not in hidden]
    prompt, told = (turn.prompt, turn.told) if len(seen) == len(turn.things) else _prompts(turn, seen)
    inside = tuple(b for b in map(window.place, regions) if b.clip(*window.size).area)
    return Canvas(picture, free, shown, prompt, inside, window, told)


def _check_window(window: Window, free: Tensor) -> None:
    """Raises SowError if the window leaves the picture, or nothing of it is free or kept at the size it is painted."""
    height, width = free.shape
    if not window.box.inside(width, height):
        raise SowError(f"The window {window.box} leaves the {width}x{height} picture.")
    cells = torch.nn.functional.avg_pool2d(window.see_mask(free)[None, None], CELL)
    for wrong, what in ((not (cells > 0.5).any(), "changes"), (not (cells < 0.5).any(), "stays")):
        if wrong:
            raise SowError(
                f"No whole {CELL}-px cell of the model {what} in the window {window}; draw another region, or set crop "
                "to off."
            )


def _is_seen(thing: Thing, window: Window) -> bool:
    """Whether enough of a thing lies in the window; one whose place nobody knows may."""
    return thing.box is None or window.box.intersect(thing.box).area >= SEEN * thing.box.area


def _prompts(turn: Turn, seen: Sequence[Thing]) -> tuple[str, str]:
    """What a part of the picture shows that has only these things, after the turn and before it (empty: nobody knows).

    A list names no others, free words stay.
    """
    form = listed(turn.prompt, turn.things)
    if form is None:
        return turn.prompt, turn.told
    before = [t for t in seen if t.name != turn.fresh]
    if not turn.fresh:  # what the turn takes away stood there
        before += [Thing(name) for name in mentioned(turn.told) if name not in {t.name for t in turn.things}]
    after = as_list(seen, *form) if seen else "".join(form).strip()
    return after, as_list(before, *form) if before and before != list(seen) else ""


def _too_many(turn: Turn, things: Sequence[Thing], regions: Sequence[Box], most: int) -> list[Thing]:
    """Of the things in the window those that the model is not shown, because it cannot have so many: those farthest
    from the regions."""
    surplus = len(things) - most
    if not most or surplus <= 0 or turn.outside or listed(turn.prompt, turn.things) is None:
        return []
    x, y = regions[-1].center
    others = [t for t in things if t.box is not None and t.name != turn.fresh]
    others.sort(key=lambda t: (t.box.center[0] - x) ** 2 + (t.box.center[1] - y) ** 2, reverse=True)  # type: ignore[union-attr]
    return others[:surplus]


def _hide(shown: Tensor, hidden: Sequence[Thing], others: Sequence[Thing], window: Window) -> Tensor:
    """What the model is shown [3, h, w] of a window, with the surroundings' colours carried over the hidden things; the
    others stay as they are."""
    frame = window.size
    known = torch.ones(shown.shape[-2:])
    for thing in hidden:
        if thing.box is not None:
            box = window.place(thing.box)
            _window(known, grown(box, max(3, round(0.2 * box.width)), frame)).fill_(0.0)
    out = extend(shown, known, reach=max(frame))
    for thing in others:
        if thing.box is not None:
            box = window.place(thing.box).clip(*frame)
            _window(out, box).copy_(_window(shown, box))
    return out


def make_edit_layout(canvas: Canvas, config: SowConfig, grid: tuple[int, int] = (CELL, CELL)) -> Layout:
    """The layout of a turn: the condition is everything that stays, its box the canvas, the regions continue it.

    grid: px per latent cell and per token of the model. Raises SowError where the canvas does not lie on it.
    """
    width, height = canvas.window.size
    condition = Condition(canvas.shown, 1.0 - canvas.open, Box(0, 0, width, height), canvas.regions)
    cell, snap = grid
    return make_layout(
        [condition], width, height, coverage=config.coverage, fill=config.fill, cell=cell, snap=snap
    )


def laid_back(canvas: Canvas, images: Tensor, feather: int) -> Tensor:
    """What was painted, [N, 3, h, w], in the picture: [N, 3, H, W], the picture before over all that may not change,
    exactly."""
    images = canvas.window.back(images, canvas.picture)
    alpha = feathered(canvas.free, feather)[None, None].to(images)
    before = canvas.picture[None].to(images).expand_as(images)
    return torch.where(alpha > 0, torch.lerp(before, images, alpha), before)


def paint(
    backend: Painter,
    canvas: Canvas,
    config: SowConfig,
    options: EditOptions,
    seeds: Sequence[int],
    progress: Callable[[Event], object] | None = None,
    steering: Steering | None = None,
    toward: Toward | None = None,
    grid: tuple[int, int] = (CELL, CELL),
) -> Tensor:
    """The pictures after a turn [N, 3, H, W], one per seed; they share encoding and inversion.

    steering, toward: how and by what the painting is guided beside the prompt, if it is; grid: see
    `make_edit_layout`. The backend's prompts must have been set. Raises SowError; leaves the backend's model as it
    was.
    """
    from ..backends.painting import paint as paint_layout
    from ..method.plan import build_plan, with_steering

    layout = make_edit_layout(canvas, config, grid)
    plan = with_steering(build_plan(config), steering, toward)
    made = paint_layout(plan, backend, layout, seeds, progress).images
    return laid_back(canvas, made.cpu().float(), options.feather)


def measured(turn: Turn, canvas: Canvas, after: Tensor) -> Turn:
    """The turn with the box of its fresh thing read off the picture after it [3, H, W]: where pixels changed.

    The plan's box stays where hardly anything, or nearly all of the region, has changed.
    """
    thing = turn.fresh_thing
    if thing is None:
        return turn
    difference = (after - canvas.picture).abs().amax(0)
    strong = difference[difference > CHANGED[0]]
    top = float(strong.quantile(0.95)) if len(strong) else 0.0
    changed = (difference > max(CHANGED[0], CHANGED[1] * top)).float()
    share = float(changed.sum() / canvas.free.sum())
    box = thing.box if share < 0.05 else _bulk(changed)
    if box is None or (thing.box is not None and box.intersect(thing.box).area == 0):
        return turn
    at = turn.things.index(thing)
    return replace(turn, things=(*turn.things[:at], replace(thing, box=box), *turn.things[at + 1 :]))


def _bulk(changed: Tensor) -> Box:
    """The box of the middle 96 % of the changed pixels on each axis: no stray ones."""
    edges = []
    for axis in (0, 1):
        share = changed.sum(axis).cumsum(0) / changed.sum()
        low, high = int((share < 0.02).sum()), int((share < 0.98).sum())
        edges.append((low, max(high + 1 - low, 1)))
    (x, width), (y, height) = edges
    return Box(x, y, width, height)


def bounds(mask: Tensor) -> Box:
    """The smallest box around a mask [H, W] that is not empty."""
    ys, xs = (mask > 0.5).nonzero(as_tuple=True)
    x, y = int(xs.min()), int(ys.min())
    return Box(x, y, int(xs.max()) - x + 1, int(ys.max()) - y + 1)


def _window(x: Tensor, box: Box) -> Tensor:
    return x[..., box.y : box.bottom, box.x : box.right]
