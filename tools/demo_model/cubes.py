"""The second world, after i-CLEVR: coloured cubes, spheres and cylinders on a gray floor, built in turns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canvas import Canvas, Color, darker, lighter, superellipse

SHAPES = ("cube", "sphere", "cylinder")
COLORS = ("red", "blue", "green", "yellow", "purple", "cyan")
PAINT: dict[str, Color] = {
    "red": (206, 38, 42), "blue": (40, 80, 206), "green": (42, 148, 62), "yellow": (240, 204, 44),
    "purple": (140, 54, 186), "cyan": (52, 200, 208),
}  # fmt: skip
MAX_OBJECTS = 4


@dataclass(frozen=True)
class Thing:
    """One object; (x, y) is the middle of its foot, size its half width; px of a 128 px picture."""

    shape: str
    color: str
    x: float
    y: float
    size: float

    @property
    def name(self) -> str:
        return f"{self.color} {self.shape}"

    @property
    def center(self) -> tuple[float, float]:
        return self.x, self.y - self.size * 0.9

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 of the object without its shadow."""
        s = self.size
        if self.shape == "sphere":
            return self.x - s, self.y - 2 * s + 0.15 * s, self.x + s, self.y + 0.15 * s
        if self.shape == "cylinder":
            return self.x - 0.85 * s, self.y - 1.95 * s, self.x + 0.85 * s, self.y + 0.25 * s
        return self.x - s, self.y - 1.75 * s, self.x + 1.3 * s, self.y + 0.2 * s


@dataclass(frozen=True)
class Turn:
    """One instruction and the scene after it."""

    instruction: str
    things: tuple[Thing, ...]


def sample_scene(rng: np.random.Generator) -> tuple[Thing, ...]:
    """1 to 4 objects that do not overlap, in the order in which they were placed."""
    count = int(rng.choice(np.arange(1, MAX_OBJECTS + 1), p=(0.2, 0.3, 0.3, 0.2)))
    things: list[Thing] = []
    for _ in range(60):
        if len(things) == count:
            break
        y = float(rng.uniform(66, 116))
        size = 12.5 + 5.0 * (y - 66) / 50
        x = float(rng.uniform(size + 4, 124 - size * 1.3))
        if all(abs(x - t.x) > 1.25 * (size + t.size) or abs(y - t.y) > 30 for t in things):
            things.append(Thing(str(rng.choice(SHAPES)), str(rng.choice(COLORS)), x, y, size))
    return tuple(things)


def turns(things: tuple[Thing, ...]) -> tuple[Turn, ...]:
    """The same scene built step by step: "add a red cube left of the blue sphere"."""
    out: list[Turn] = []
    for i, thing in enumerate(things):
        text = f"add a {thing.name}"
        if i:
            near = min(things[:i], key=lambda t: (t.x - thing.x) ** 2 + (t.y - thing.y) ** 2)
            text += f" {relation(thing, near)} the {near.name}"
        out.append(Turn(text, things[: i + 1]))
    return tuple(out)


def relation(a: Thing, b: Thing) -> str:
    """Where a is as seen from b."""
    if abs(a.x - b.x) >= 0.6 * abs(a.y - b.y):
        return "left of" if a.x < b.x else "right of"
    return "behind" if a.y < b.y else "in front of"


def draw_scene(c: Canvas, things: tuple[Thing, ...]) -> None:
    c.sky((196, 197, 199), (172, 173, 176), 0, 52)
    c.sky((160, 161, 164), (140, 141, 145), 52, 128)
    for t in things:
        c.ellipse(t.x + t.size * 0.35, t.y + t.size * 0.08, t.size * 1.35, t.size * 0.42, (112, 113, 118))
    for t in sorted(things, key=lambda t: t.y):
        _draw_thing(c, t)


def _draw_thing(c: Canvas, t: Thing) -> None:
    x, y, s, color = t.x, t.y, t.size, PAINT[t.color]
    if t.shape == "sphere":
        cy = y - 0.85 * s
        c.ellipse(x, cy, s, s, darker(color, 0.28))
        c.ellipse(x - 0.1 * s, cy - 0.1 * s, 0.86 * s, 0.86 * s, color)
        c.ellipse(x - 0.34 * s, cy - 0.38 * s, 0.28 * s, 0.24 * s, lighter(color, 0.6))
    elif t.shape == "cylinder":
        w, top = 0.85 * s, y - 1.7 * s
        c.ellipse(x, y, w, 0.25 * s, darker(color, 0.12))
        c.rect(x - w, top, x + w, y, color)
        c.poly([(x + 0.3 * s, top), (x + w, top), (x + w, y), (x + 0.3 * s, y + 0.2 * s)], darker(color, 0.3))
        c.ellipse(x, top, w, 0.25 * s, lighter(color, 0.38))
    else:
        d, h = 0.3 * s, 1.4 * s
        front = superellipse(x, y - h / 2 + 0.2 * s, s, h / 2, 14)
        c.poly([(x - s, y - h + 0.2 * s), (x - s + d, y - h - 0.35 * s), (x + s + d, y - h - 0.35 * s),
                (x + s, y - h + 0.2 * s)], lighter(color, 0.38))  # fmt: skip
        c.poly([(x + s, y - h + 0.2 * s), (x + s + d, y - h - 0.35 * s), (x + s + d, y - 0.2 * s),
                (x + s, y + 0.2 * s)], darker(color, 0.34))  # fmt: skip
        c.poly(front, color)
