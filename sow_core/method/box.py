"""Boxes in pixels: origin top-left, x to the right, y downwards. Pure Python, so that planners stay light."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import SowError

CELL = 8
"""Pixels per latent cell of every Stable Diffusion VAE (f = 8)."""

SIDES = (64, 8192)
"""Shortest and longest side of a canvas, px."""


@dataclass(frozen=True, order=True)
class Box:
    """A rectangle: top-left corner `x`, `y` and size `width`, `height`, whole pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def bottom(self) -> int:
        return self.y + self.height

    @property
    def center(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def area(self) -> int:
        return max(self.width, 0) * max(self.height, 0)

    @classmethod
    def parse(cls, value: Any, name: str = "box") -> Box:
        """A box from "x,y,width,height", a list of four numbers, a mapping with those keys, or a Box.

        Raises SowError if it is none of these, is not finite whole-ish numbers, or has no size.
        """
        if isinstance(value, Box):
            parts: Sequence[Any] = (value.x, value.y, value.width, value.height)
        elif isinstance(value, str):
            parts = [p for p in value.replace(";", ",").split(",") if p.strip()]
        elif isinstance(value, Mapping):
            missing = [k for k in ("x", "y", "width", "height") if k not in value]
            if missing:
                raise SowError(f"Bad {name}: expected keys x, y, width, height; missing {', '.join(missing)}.")
            parts = [value[k] for k in ("x", "y", "width", "height")]
        elif isinstance(value, Sequence):
            parts = value
        else:
            raise SowError(f"Bad {name}: expected X,Y,W,H in pixels, got {type(value).__name__}.")
        try:
            numbers = [float(p) for p in parts]
        except (TypeError, ValueError):
            numbers = []
        if len(numbers) != 4 or any(n != n or abs(n) > 1e6 for n in numbers):
            raise SowError(f"Bad {name} {str(value)[:60]!r}: expected four numbers X,Y,W,H in pixels.")
        box = cls(*(round(n) for n in numbers))
        if box.width < 1 or box.height < 1:
            raise SowError(f"Bad {name} {box}: width and height must be at least 1 pixel.")
        return box

    def inside(self, width: int, height: int) -> bool:
        """Whether the box lies fully on a canvas of `width` x `height` px."""
        return self.x >= 0 and self.y >= 0 and self.right <= width and self.bottom <= height

    def clip(self, width: int, height: int) -> Box:
        """The part on the canvas; its size is 0 where there is none."""
        x, y = min(max(self.x, 0), width), min(max(self.y, 0), height)
        return Box(x, y, max(min(self.right, width) - x, 0), max(min(self.bottom, height) - y, 0))

    def intersect(self, other: Box) -> Box:
        """The common part; its size is 0 where there is none."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        return Box(x, y, max(min(self.right, other.right) - x, 0), max(min(self.bottom, other.bottom) - y, 0))

    def snap(self, cell: int = CELL) -> Box:
        """The nearest box on the grid of latent cells, at least one cell large."""

        def near(v: int) -> int:
            return (v + cell // 2) // cell * cell

        return Box(near(self.x), near(self.y), max(near(self.width), cell), max(near(self.height), cell))

    def snap_inside(self, width: int, height: int, cell: int = CELL) -> Box:
        """`snap`, moved onto a canvas of `width` x `height` px (multiples of `cell`) that the box itself fits into."""
        box = self.snap(cell)
        return Box(min(box.x, width - box.width), min(box.y, height - box.height), box.width, box.height)

    def as_dict(self) -> dict[str, int]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.width},{self.height}"


def check_size(width: int, height: int, cell: int = CELL) -> None:
    """Raises SowError unless a canvas's sides are multiples of `cell` px within `SIDES`."""
    for name, value in (("width", width), ("height", height)):
        if value % cell or not SIDES[0] <= value <= SIDES[1]:
            low, high = SIDES
            raise SowError(f"Bad {name} {value}: expected a multiple of {cell} from {low} to {high} px.")


def check_inside(
    width: int, height: int, boxes: Sequence[Box | None], related: Iterable[Sequence[Box]] = ()
) -> None:
    """Raises SowError for a box that leaves the canvas of width x height px, or a related region that misses it.

    boxes: one a condition, None where there is none yet; related: the regions of each condition.
    """
    for number, box in enumerate(boxes, start=1):
        if box is not None and not box.inside(width, height):
            name = f"box {number}" if len(boxes) > 1 else "box"
            raise SowError(f"The {name} {box} lies outside the {width}x{height} canvas; move or shrink it.")
    for area in (area for regions in related for area in regions):
        if area.clip(width, height).area == 0:
            raise SowError(f"The related region {area} lies outside the {width}x{height} canvas; move it.")
