"""Crop around the region: the window of a big picture that a turn is painted in, and the way there and back.

A model paints well at the size that it was trained at and slowly, with doubled things, far above it. As in the
crop-and-stitch nodes of inpainting packs, what may change is painted in a window around it, at the model's size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ..errors import SowError
from ..method.box import CELL, SIDES, Box

AUTO, OFF = "auto", "off"
FACTORS = (1.2, 10.0)
"""Smallest and largest --crop: below, the model sees nothing of what its part has to fit to."""
CONTEXT = 3.0
"""Sides of an automatic window, of the region's: what the model sees around it."""
ROOMY = 1.5
"""Of the trained area: up to it pictures and windows are painted as they are, since resampling blurs, too."""
LEAN = 2.0
"""How much longer than the trained one a window's shape may be."""

Crop = Callable[[Box], "Window"]
"""From the bounds of what may change, px, to the window in which that is painted."""


@dataclass(frozen=True)
class Window:
    """A part of a picture, px, and the size (width, height) in px at which the model is shown it.

    Raises SowError for a size that no canvas can have.
    """

    box: Box
    size: tuple[int, int]

    def __post_init__(self) -> None:
        if self.box.area == 0 or not all(SIDES[0] <= side <= SIDES[1] for side in self.size):
            raise SowError(
                f"Bad window {self}: expected a box, painted at sides of {SIDES[0]} to {SIDES[1]} px."
            )

    @classmethod
    def whole(cls, frame: tuple[int, int]) -> Window:
        """All of a picture of that width and height, as it is."""
        return cls(Box(0, 0, *frame), frame)

    @classmethod
    def read(cls, numbers: Sequence[int]) -> Window:
        """From the six numbers of `numbers`. Raises SowError."""
        if len(numbers) != 6:
            raise SowError(
                f"Bad window: expected x, y, width, height and the size painted at, got {list(numbers)}."
            )
        return cls(Box.parse(numbers[:4], "window"), (numbers[4], numbers[5]))

    @property
    def numbers(self) -> tuple[int, ...]:
        box = self.box
        return (box.x, box.y, box.width, box.height, *self.size)

    @property
    def plain(self) -> bool:
        """Whether its pixels are painted one to one."""
        return (self.box.width, self.box.height) == self.size

    def see(self, picture: Tensor) -> Tensor:
        """[..., H, W] in 0..1 of the picture -> [..., h, w], what the model is shown of it."""
        box = self.box
        part = picture[..., box.y : box.bottom, box.x : box.right]
        return part if self.plain else _resized(part, self.size)

    def see_mask(self, mask: Tensor) -> Tensor:
        """The same of a mask [H, W] of 0 or 1: 1 where at least half of a pixel is."""
        return (self.see(mask[None])[0] >= 0.5).float()

    def place(self, box: Box) -> Box:
        """A box of the picture in px of what the model is shown, to whole pixels outwards; it may leave that."""
        across, down = self.size[0] / self.box.width, self.size[1] / self.box.height
        x, y = math.floor((box.x - self.box.x) * across), math.floor((box.y - self.box.y) * down)
        right = math.ceil((box.right - self.box.x) * across)
        bottom = math.ceil((box.bottom - self.box.y) * down)
        return Box(x, y, right - x, bottom - y)

    def back(self, made: Tensor, under: Tensor) -> Tensor:
        """What was painted, [N, 3, h, w], laid into the picture [3, H, W]: [N, 3, H, W]."""
        box = self.box
        part = made if self.plain else _resized(made, (box.width, box.height))
        if part.shape[-2:] == under.shape[-2:]:
            return part
        whole = under[None].to(part).repeat(len(part), 1, 1, 1)
        whole[..., box.y : box.bottom, box.x : box.right] = part
        return whole

    def __str__(self) -> str:
        return f"{self.box} painted at {self.size[0]}x{self.size[1]}"


def _resized(part: Tensor, size: tuple[int, int]) -> Tensor:
    """[..., H, W] in 0..1 at (width, height): bicubic, antialiased where it becomes smaller."""
    flat = part.float().reshape(-1, 1, *part.shape[-2:])
    made = F.interpolate(flat, (size[1], size[0]), mode="bicubic", antialias=True, align_corners=False)
    return made.clamp(0, 1).reshape(*part.shape[:-2], size[1], size[0])


def check_crop(crop: str) -> str:
    """--crop as it is kept: "auto", "off" or a number within `FACTORS`. Raises SowError."""
    text = crop.strip().lower()
    if text in (AUTO, OFF):
        return text
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not FACTORS[0] <= factor <= FACTORS[1]:
        low, high = FACTORS
        raise SowError(
            f"Bad crop {crop[:40]!r}: expected auto, off, or the window's sides over the region's, {low:g} to {high:g}."
        )
    return f"{factor:g}"


def cropping(crop: str, frame: tuple[int, int], trained: tuple[int, int], snap: int = CELL) -> Crop:
    """`find_window` of one picture and model. Raises SowError for a bad `crop`."""
    checked = check_crop(crop)
    return lambda region: find_window(region, frame, checked, trained, snap)


def find_window(
    region: Box, frame: tuple[int, int], crop: str, trained: tuple[int, int], snap: int = CELL
) -> Window:
    """The window for a region inside a picture of width x height `frame`, all px.

    crop: "off": all of the picture as it is; a number: the window's sides over the region's, painted at the area of
    `trained` (width, height), larger or smaller than it is; "auto": `CONTEXT` times the region and at least the
    trained size, so that nothing is enlarged, and a picture that is hardly larger than that is painted as it is.
    The window holds the region and lies inside the picture; the sides that it is painted at are multiples of `snap`.
    """
    area = trained[0] * trained[1]
    own = crop == AUTO
    if crop == OFF or (own and frame[0] * frame[1] <= ROOMY * area):
        return Window.whole(frame)
    factor = CONTEXT if own else float(crop)
    least = trained if own else (snap, snap)
    width, height = max(factor * region.width, least[0]), max(factor * region.height, least[1])
    shape = trained[0] / trained[1]
    width, height = max(width, height * shape / LEAN), max(height, width / shape / LEAN)
    box = _around(region, (_up(width, snap), _up(height, snap)), frame)
    scale = math.sqrt(area / box.area)
    if own and box.area <= ROOMY * area:
        scale = 1.0
    return Window(box, (_side(box.width * scale, snap), _side(box.height * scale, snap)))


def _around(region: Box, size: tuple[int, int], frame: tuple[int, int]) -> Box:
    """A box of that size about the region's middle, moved and cut to the picture."""
    width, height = min(size[0], frame[0]), min(size[1], frame[1])
    x, y = region.center
    left = min(max(math.floor(x - width / 2), 0), frame[0] - width)
    top = min(max(math.floor(y - height / 2), 0), frame[1] - height)
    return Box(left, top, width, height)


def _up(side: float, snap: int) -> int:
    return math.ceil(side / snap) * snap


def _side(side: float, snap: int) -> int:
    """A side in px that a canvas can have."""
    low, high = _up(SIDES[0], snap), SIDES[1] // snap * snap
    return min(max(round(side / snap) * snap, low), high)
