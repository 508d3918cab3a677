"""Ten places. Each fills the canvas; positions of its parts vary a little with the scene's own seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .canvas import Canvas, Color, superellipse

Rng = np.random.Generator


def _hills(c: Canvas, rng: Rng, base: float, height: float, color: Color, waves: float = 2.0) -> None:
    x = np.linspace(0, 128, 33)
    y = base - height * (0.5 + 0.5 * np.sin(x / 128 * 2 * np.pi * waves + rng.uniform(0, 6.28)))
    c.poly(np.concatenate([np.stack([x, y], 1), [(128, 130), (0, 130)]]), color)


def forest(c: Canvas, rng: Rng) -> None:
    c.sky((168, 214, 190), (120, 180, 130))
    for row, (base, color) in enumerate(((92, (84, 150, 96)), (104, (48, 112, 66)))):
        step = 19 if row else 15
        for x in np.arange(-6, 140, step) + rng.uniform(0, step):
            w, h = rng.uniform(9, 12), rng.uniform(60, 82)
            c.rect(x - 1.6, base - 12, x + 1.6, base + 10, (96, 66, 44))
            c.poly([(x - w, base - 4), (x, base - h), (x + w, base - 4)], color)
    c.rect(0, 104, 128, 128, (66, 130, 62))


def beach(c: Canvas, rng: Rng) -> None:
    c.sky((92, 182, 240), (196, 232, 250), 0, 62)
    c.ellipse(rng.choice([16, 112]), 16, 9, 9, (255, 226, 110))
    c.sky((24, 118, 178), (40, 168, 200), 62, 96)
    c.rect(0, 95, 128, 128, (240, 214, 150))
    x = rng.choice([10.0, 118.0]) + rng.uniform(-3, 3)
    lean = 5 if x < 64 else -5
    c.poly([(x - 2.2, 104), (x + 2.2, 104), (x + lean + 1.5, 44), (x + lean - 1.5, 44)], (150, 100, 58))
    for a in (-160, -120, -60, -20, 15, 165):
        t = np.radians(a)
        tip = (x + lean + 19 * np.cos(t), 44 + 13 * np.sin(t) + 5)
        n = (-2.8 * np.sin(t), 2.8 * np.cos(t))
        mid = (x + lean + 10 * np.cos(t), 42 + 9 * np.sin(t))
        c.poly([(x + lean, 44), (mid[0] + n[0], mid[1] + n[1]), tip, (mid[0] - n[0], mid[1] - n[1])], (40, 140, 70))


def mountains(c: Canvas, rng: Rng) -> None:
    c.sky((132, 184, 232), (214, 234, 248))
    for x in (rng.uniform(2, 22), rng.uniform(52, 76), rng.uniform(104, 124)):
        w, top = rng.uniform(34, 42), rng.uniform(24, 38)
        c.poly([(x - w, 92), (x, top), (x + w, 92)], (96, 118, 160))
        f = 0.3
        y = top + (92 - top) * f
        zig = [(x + w * f * u, y + d) for u, d in ((1, 0), (0.5, -4), (0.1, 2), (-0.4, -3), (-1, 0))]
        c.poly([(x, top), *zig], (246, 250, 255))
    _hills(c, rng, 92, 8, (238, 244, 252), 1.0)


def city(c: Canvas, rng: Rng) -> None:
    c.sky((18, 16, 58), (58, 40, 104))
    c.ellipse(rng.choice([16, 112]), 17, 8, 8, (250, 240, 200))
    x = -rng.uniform(0, 10)
    while x < 128:
        w, h = rng.uniform(15, 22), rng.uniform(42, 88)
        c.rect(x, 128 - h, x + w, 128, (32, 30, 66))
        for wx in np.arange(x + 3, x + w - 4, 5.5):
            for wy in np.arange(128 - h + 4, 124, 8):
                if rng.random() < 0.55:
                    c.rect(wx, wy, wx + 3, wy + 4, (250, 208, 96))
        x += w + 1.5


def desert(c: Canvas, rng: Rng) -> None:
    c.sky((250, 190, 110), (254, 226, 164), 0, 92)
    _hills(c, rng, 90, 12, (222, 150, 84), 1.5)
    _hills(c, rng, 104, 8, (236, 180, 104), 1.0)
    for x in (rng.uniform(8, 18), rng.uniform(110, 120)):
        y = rng.uniform(96, 104)
        g = (56, 132, 74)
        c.line([(x, y), (x, y - 32)], g, 5)
        c.ellipse(x, y - 32, 2.5, 2.5, g)
        c.line([(x, y - 12), (x - 7, y - 14), (x - 7, y - 23)], g, 3.4)
        c.line([(x, y - 16), (x + 7, y - 18), (x + 7, y - 27)], g, 3.4)


def studio(c: Canvas, rng: Rng) -> None:
    if c.gradients:
        c.sky((176, 178, 182), (146, 148, 153))
    else:
        c.sky((162, 164, 168), (162, 164, 168))


def garden(c: Canvas, rng: Rng) -> None:
    c.sky((150, 212, 250), (216, 240, 252), 0, 74)
    for x in np.arange(0, 140, 22) + rng.uniform(-8, 8):
        c.ellipse(x, 66, 17, rng.uniform(13, 18), (70, 160, 70))
    c.rect(0, 66, 128, 128, (122, 200, 84))
    for x in np.arange(4, 128, 9.5):
        y = rng.uniform(70, 118)
        color = [(236, 66, 84), (255, 255, 255), (250, 206, 60), (240, 120, 190)][int(rng.integers(4))]
        for a in range(0, 360, 72):
            t = np.radians(a)
            c.ellipse(x + 2.3 * np.cos(t), y + 2.3 * np.sin(t), 1.8, 1.8, color)
        c.ellipse(x, y, 1.4, 1.4, (250, 170, 40))


def sunset(c: Canvas, rng: Rng) -> None:
    c.sky((104, 52, 130), (250, 146, 84), 0, 76)
    c.ellipse(rng.uniform(20, 108), 74, 15, 15, (255, 226, 130))
    _hills(c, rng, 78, 10, (92, 48, 96), 1.5)
    c.sky((150, 76, 120), (220, 120, 96), 78, 128)
    for y in (86, 96, 108, 118):
        x = rng.uniform(10, 90)
        c.line([(x, y), (x + rng.uniform(18, 34), y)], (250, 184, 120), 1.6)


def space(c: Canvas, rng: Rng) -> None:
    c.sky((12, 8, 34), (44, 16, 70))
    for _ in range(34):
        x, y, r = rng.uniform(0, 128), rng.uniform(0, 128), rng.uniform(0.5, 1.1)
        c.ellipse(x, y, r, r, (255, 255, 245))
    x, y = rng.choice([16.0, 112.0]), rng.uniform(18, 30)
    color: Color = [(90, 170, 220), (220, 130, 90), (190, 120, 210)][int(rng.integers(3))]
    c.ellipse(x, y, 11, 11, color)
    c.line(superellipse(x, y, 18, 4)[:26], (240, 220, 180), 1.8)


def library(c: Canvas, rng: Rng) -> None:
    c.rect(0, 0, 128, 128, (70, 44, 30))
    books = ((178, 50, 46), (44, 104, 84), (52, 82, 146), (222, 186, 122), (120, 60, 110))
    offset = rng.uniform(0, 8)
    for shelf in range(4):
        y1 = 29 + shelf * 34 - offset
        x = rng.uniform(-5, 0)
        while x < 128:
            w = rng.uniform(5.5, 8.5)
            c.rect(x, y1 - rng.uniform(21, 26), x + w, y1, books[int(rng.integers(len(books)))])
            x += w + 0.8
        c.rect(0, y1, 128, y1 + 5, (128, 84, 50))


DRAW: dict[str, Callable[[Canvas, Rng], None]] = {
    f.__name__: f
    for f in (forest, beach, mountains, city, desert, studio, garden, sunset, space, library)
}  # fmt: skip
