"""A small drawing surface: PIL with supersampling, in the units of the finished picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw

Color = tuple[int, int, int]
OVERSAMPLE = 3
UNITS = 128
"""Everything is drawn in a 128 x 128 coordinate system, whatever the size of the picture."""


def mix(a: Color, b: Color, t: float) -> Color:
    """Linear blend of two colours, t = 0 gives a."""
    return (
        int(a[0] + (b[0] - a[0]) * t),
        int(a[1] + (b[1] - a[1]) * t),
        int(a[2] + (b[2] - a[2]) * t),
    )


def darker(c: Color, t: float = 0.25) -> Color:
    return mix(c, (10, 8, 20), t)


def lighter(c: Color, t: float = 0.25) -> Color:
    return mix(c, (255, 255, 255), t)


class Canvas:
    """Draws filled shapes. `outline` > 0 adds a dark line of that width around shapes drawn with line=True."""

    def __init__(self, size: int = 128, *, mode: str = "RGB", outline: float = 0.0, gradients: bool = True):
        self.size = size
        self.k = size * OVERSAMPLE / UNITS
        self.image = Image.new(mode, (size * OVERSAMPLE,) * 2)
        self.draw = ImageDraw.Draw(self.image)
        self.outline = outline
        self.gradients = gradients

    def poly(self, points: Iterable[Sequence[float]] | np.ndarray, fill: object, line: bool = False) -> None:
        xy = (np.asarray(points, dtype=np.float64) * self.k).ravel().tolist()
        self.draw.polygon(xy, fill=fill)  # type: ignore[arg-type]
        if line and self.outline:
            w = max(1, round(self.outline * self.k))
            self.draw.line(xy + xy[:4], fill=(30, 26, 40), width=w, joint="curve")

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: object, line: bool = False) -> None:
        k = self.k
        box = [(x - rx) * k, (y - ry) * k, (x + rx) * k, (y + ry) * k]
        if line and self.outline:
            w = max(1, round(self.outline * k))
            self.draw.ellipse(box, fill=fill, outline=(30, 26, 40), width=w)  # type: ignore[arg-type]
        else:
            self.draw.ellipse(box, fill=fill)  # type: ignore[arg-type]

    def rect(self, x0: float, y0: float, x1: float, y1: float, fill: object, line: bool = False) -> None:
        self.poly([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill, line)

    def line(self, points: Iterable[Sequence[float]] | np.ndarray, fill: object, width: float) -> None:
        xy = (np.asarray(points, dtype=np.float64) * self.k).ravel().tolist()
        self.draw.line(xy, fill=fill, width=max(1, round(width * self.k)), joint="curve")  # type: ignore[arg-type]

    def arc(
        self, x: float, y: float, rx: float, ry: float, start: float, end: float, fill: object, width: float
    ) -> None:
        """Part of an ellipse's line; angles in degrees, clockwise from the right."""
        t = np.radians(np.linspace(start, end, 16))
        self.line(np.stack([x + rx * np.cos(t), y + ry * np.sin(t)], 1), fill, width)

    def sky(self, top: Color, bottom: Color, y0: float = 0, y1: float = UNITS) -> None:
        """A vertical gradient from y0 to y1 over the whole width (one colour where gradients are off)."""
        k, n = self.k, self.image.size[0]
        a, b = int(y0 * k), int(y1 * k)
        if not self.gradients:
            self.draw.rectangle([0, a, n, b], fill=mix(top, bottom, 0.5))
            return
        t = np.linspace(0, 1, max(b - a, 1))[:, None]
        column = np.array(top) + (np.array(bottom) - np.array(top)) * t
        strip = Image.fromarray(column.astype(np.uint8)[:, None, :], "RGB")
        self.image.paste(strip.resize((n, max(b - a, 1))), (0, a))

    def finish(self) -> Image.Image:
        return self.image.reduce(OVERSAMPLE)


def superellipse(x: float, y: float, rx: float, ry: float, power: float = 2.0, n: int = 48) -> np.ndarray:
    """Outline [n,2] of a superellipse; power 2 is an ellipse, larger is squarer."""
    t = np.linspace(0, 2 * np.pi, n, endpoint=False)
    c, s = np.cos(t), np.sin(t)
    e = 2.0 / power
    return np.stack([x + rx * np.sign(c) * np.abs(c) ** e, y + ry * np.sign(s) * np.abs(s) ** e], 1)
