"""Draws one person, from the back of the hair to the hat, and tells where everything is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from .attributes import Portrait
from .canvas import Canvas, Color, darker, lighter, mix, superellipse

SKIN: dict[str, Color] = {
    "pale": (253, 230, 214), "light": (244, 198, 162), "tan": (214, 154, 100),
    "brown": (154, 98, 60), "dark": (92, 56, 38),
}  # fmt: skip
HAIR: dict[str, Color] = {
    "black": (30, 28, 34), "brown": (112, 66, 34), "blond": (244, 206, 98), "red": (206, 70, 26),
    "gray": (148, 152, 160), "white": (244, 244, 242), "pink": (244, 116, 176), "blue": (56, 104, 226),
}  # fmt: skip
EYES: dict[str, Color] = {"brown": (104, 60, 26), "blue": (40, 120, 226), "green": (40, 152, 74)}
CLOTH: dict[str, Color] = {
    "red": (214, 40, 44), "orange": (246, 136, 30), "yellow": (250, 212, 48), "green": (36, 150, 66),
    "blue": (34, 84, 204), "purple": (136, 60, 176), "black": (36, 36, 42), "white": (244, 244, 244),
}  # fmt: skip
FACE_POWER = {"oval": (2.0, 0.92, 1.08), "round": (2.0, 1.07, 0.97), "square": (3.3, 0.97, 1.0)}
"""Superellipse power, width and height factors of each face shape."""


@dataclass(frozen=True)
class Geometry:
    """The head's place: centre (x, y), half width a, half height b, unit u; px of a 128 px picture."""

    x: float
    y: float
    a: float
    b: float
    u: float
    power: float

    @staticmethod
    def of(p: Portrait) -> Geometry:
        power, w, h = FACE_POWER[p.face_shape]
        return Geometry(p.x, p.y, 20.5 * p.scale * w, 25.0 * p.scale * h, p.scale, power)

    @property
    def face(self) -> np.ndarray:
        return superellipse(self.x, self.y, self.a, self.b, self.power)

    @property
    def chin(self) -> float:
        return self.y + self.b

    @property
    def shoulder(self) -> float:
        return self.chin + 7 * self.u


def _cap_points(g: Geometry, grow: float, low: float, arch: float) -> np.ndarray:
    """Upper part of the head grown by `grow`; its lower edge at the sides is `low`, in the middle `arch`
    (both in half heights, negative is up)."""
    t = np.linspace(np.pi, 2 * np.pi, 33)
    top = np.stack([g.x + g.a * grow * np.cos(t), g.y + low * g.b + g.b * (grow + low) * np.sin(t)], 1)
    s = np.linspace(1, -1, 17)
    y = g.y + g.b * (arch + (low - arch) * np.abs(s) ** 2.5)
    return np.concatenate([top, np.stack([g.x + g.a * grow * s, y], 1)])


def hair_back(c: Canvas, p: Portrait, g: Geometry) -> None:
    color = HAIR[p.hair_color]
    if p.hair_style == "long":
        c.poly(superellipse(g.x, g.y + 11 * g.u, g.a * 1.4, g.b * 1.5, 3.2), darker(color, 0.12), True)
    elif p.hair_style == "bob":
        c.poly(superellipse(g.x, g.y - 1 * g.u, g.a * 1.36, g.b * 1.12, 3.0), darker(color, 0.12), True)
    elif p.hair_style == "bun" and p.hat == "none":
        c.ellipse(g.x, g.y - g.b * 1.24, 8.5 * g.u, 8 * g.u, color, True)
    elif p.hair_style == "curly":
        for angle in np.radians(np.linspace(160, 380, 10)):
            x, y = g.x + g.a * 1.08 * np.cos(angle), g.y + g.b * 0.98 * np.sin(angle)
            c.ellipse(x, y, 8.2 * g.u, 8.2 * g.u, darker(color, 0.08), True)


def body(c: Canvas, p: Portrait, g: Geometry) -> None:
    """Neck, shoulders and clothes."""
    cloth, skin = CLOTH[p.clothes_color], SKIN[p.skin]
    u, top, x = g.u, g.shoulder, g.x
    wide = 37 * u if p.gender == "man" else 32 * u
    neck = 8.5 * u if p.gender == "man" else 7 * u
    torso = np.array(
        [(x - neck - 3 * u, top - 1), (x - wide + 8 * u, top + 5 * u), (x - wide, top + 16 * u), (x - wide - 2, 132),
         (x + wide + 2, 132), (x + wide, top + 16 * u), (x + wide - 8 * u, top + 5 * u), (x + neck + 3 * u, top - 1)]
    )  # fmt: skip
    shade = darker(cloth, 0.3) if p.clothes_color != "white" else (196, 198, 206)
    if p.clothes_color == "black":
        shade = (74, 74, 84)
    if p.clothes == "hoodie":
        c.ellipse(x, top - 1 * u, 21 * u, 10 * u, shade, True)
    c.rect(x - neck, g.chin - 8 * u, x + neck, top + 3 * u, darker(skin, 0.16))
    c.poly(torso, cloth, True)
    if p.clothes == "dress":
        c.poly([(x - 15 * u, top - 2), (x + 15 * u, top - 2), (x + 10 * u, top + 6 * u), (x, top + 17 * u),
                (x - 10 * u, top + 6 * u)], skin)  # fmt: skip
        c.poly([(x - neck, g.chin - 6 * u), (x + neck, g.chin - 6 * u), (x + neck, top + 2), (x - neck, top + 2)],
               darker(skin, 0.16))  # fmt: skip
        for i in range(-3, 4):
            c.ellipse(x + i * 3.1 * u, top + (12.5 - abs(i) * 2.6) * u, 1.6 * u, 1.6 * u, (250, 246, 236))
    elif p.clothes == "t-shirt":
        c.ellipse(x, top, 11.5 * u, 6 * u, shade)
        c.ellipse(x, top - 1 * u, 10 * u, 5 * u, darker(skin, 0.08))
    elif p.clothes == "striped sweater":
        stripe = (244, 244, 240) if p.clothes_color != "white" else (150, 154, 166)
        for y in np.arange(top + 8 * u, 132, 8 * u):
            c.poly([(x - wide - 2, y), (x + wide + 2, y), (x + wide + 2, y + 3.6 * u), (x - wide - 2, y + 3.6 * u)],
                   stripe)  # fmt: skip
        c.rect(x - 10 * u, top - 5 * u, x + 10 * u, top + 3 * u, cloth, True)
    elif p.clothes == "hoodie":
        c.ellipse(x, top + 1 * u, 13 * u, 8 * u, shade)
        c.ellipse(x, top - 1 * u, 9 * u, 5 * u, darker(skin, 0.12))
        string = (250, 250, 250) if p.clothes_color != "white" else (120, 124, 136)
        for s in (-1, 1):
            c.line([(x + s * 5 * u, top + 7 * u), (x + s * 5.5 * u, top + 20 * u)], string, 2 * u)
    elif p.clothes == "suit":
        shirt = (250, 250, 252) if p.clothes_color != "white" else (150, 196, 236)
        tie = (200, 32, 40) if p.clothes_color not in ("red", "orange", "purple") else (40, 44, 70)
        c.poly([(x - 10 * u, top - 2), (x + 10 * u, top - 2), (x, top + 30 * u)], shirt)
        for s in (-1, 1):
            c.poly([(x + s * 9 * u, top - 2), (x + s * 16 * u, top + 5 * u), (x + s * 13 * u, top + 12 * u),
                    (x + s * 1 * u, 130)], shade)  # fmt: skip
        c.poly([(x - 3 * u, top + 1), (x + 3 * u, top + 1), (x + 2 * u, top + 6 * u), (x + 4.4 * u, 130),
                (x - 4.4 * u, 130), (x - 2 * u, top + 6 * u)], tie)  # fmt: skip
    if p.clothes in ("t-shirt", "hoodie", "dress"):
        for s in (-1, 1):
            c.line([(x + s * (wide - 8 * u), 128), (x + s * (wide - 9 * u), top + 20 * u)], shade, 1.4 * u)


def head(c: Canvas, p: Portrait, g: Geometry) -> None:
    skin = SKIN[p.skin]
    if p.hair_style not in ("long", "bob"):
        for s in (-1, 1):
            c.ellipse(g.x + s * g.a * 0.99, g.y + 2 * g.u, 4.2 * g.u, 5.5 * g.u, darker(skin, 0.1), True)
    c.poly(g.face, skin, True)


def features(c: Canvas, p: Portrait, g: Geometry) -> None:
    skin, u = SKIN[p.skin], g.u
    ey, eye_x = g.y - 1.0 * u, g.a * p.eye_gap
    young = p.age == "young"
    blush = mix(skin, (236, 84, 84), (0.28 if p.skin in ("pale", "light") else 0.16) * (1.8 if young else 1.0))
    for s in (-1, 1):
        c.ellipse(g.x + s * g.a * 0.58, g.y + 9 * u, (5.4 if young else 4.2) * u, (3.8 if young else 2.8) * u, blush)
    if p.freckles:
        for s in (-1, 1):
            for dx, dy in ((-2.6, 0), (0.4, 2), (2.8, -0.6)):
                c.ellipse(g.x + s * g.a * 0.5 + dx * u, g.y + 7 * u + dy * u, 0.95 * u, 0.95 * u, darker(skin, 0.42))
    if p.age == "old":
        line = darker(skin, 0.42)
        for k in (0, 1):
            c.arc(g.x, g.y - (13.2 - 3.4 * k) * u, 8 * u, 2 * u, 200, 340, line, 1.4 * u)
        for s in (-1, 1):
            c.line([(g.x + s * 6.5 * u, g.y + 7 * u), (g.x + s * 10 * u, g.y + 14 * u)], line, 1.8 * u)
            c.arc(g.x + s * eye_x, ey + 4.6 * u, 4.8 * u, 2.4 * u, 15, 165, line, 1.6 * u)
    if p.beard == "yes":
        _beard(c, p, g)
    brow = darker(HAIR[p.hair_color], 0.35 if p.hair_color in ("white", "blond") else 0.25)
    tilt = {"sad": 2.0, "surprised": 0.0, "smiling": -0.3, "neutral": -0.8}[p.mouth] * u
    lift = 2.2 * u if p.mouth == "surprised" else 0.0
    for s in (-1, 1):
        x = g.x + s * eye_x
        c.line([(x - s * 4.4 * u, ey - 7.4 * u - tilt - lift), (x + s * 4.8 * u, ey - 7.0 * u + tilt - lift)], brow,
               2.1 * u * p.brow)  # fmt: skip
        if p.glasses != "sunglasses":
            _eye(c, p, x, ey, u * p.eye_size * (1.15 if young else 1.0), s)
    nose = darker(skin, 0.26)
    if p.nose == "button":
        c.ellipse(g.x, g.y + 6.2 * u, 2.5 * u, 2.0 * u, nose)
    elif p.nose == "long":
        c.poly([(g.x - 0.8 * u, g.y + 0.5 * u), (g.x + 0.8 * u, g.y + 0.5 * u), (g.x + 2.8 * u, g.y + 8 * u),
                (g.x - 2.8 * u, g.y + 8 * u)], nose)  # fmt: skip
    else:
        c.ellipse(g.x, g.y + 6.6 * u, 4.4 * u, 1.9 * u, nose)
    _mouth(c, p, g)


def _eye(c: Canvas, p: Portrait, x: float, y: float, r: float, side: int) -> None:
    c.ellipse(x, y, 4.6 * r, 4.1 * r, (255, 255, 255), True)
    c.ellipse(x, y + 0.2 * r, 3.0 * r, 3.2 * r, EYES[p.eyes])
    c.ellipse(x, y + 0.2 * r, 1.5 * r, 1.6 * r, (14, 12, 16))
    c.ellipse(x - 1.0 * r, y - 1.0 * r, 0.9 * r, 0.9 * r, (255, 255, 255))
    lid = (28, 22, 26) if p.gender == "woman" else darker(SKIN[p.skin], 0.5)
    c.arc(x, y, 4.7 * r, 4.2 * r, 190, 350, lid, (1.9 if p.gender == "woman" else 1.1) * r)
    if p.gender == "woman":
        c.line([(x + side * 4.0 * r, y - 2.0 * r), (x + side * 6.6 * r, y - 4.2 * r)], lid, 1.5 * r)


def _beard(c: Canvas, p: Portrait, g: Geometry) -> None:
    t = np.linspace(np.radians(-2), np.radians(182), 33)
    cos, sin, e = np.cos(t), np.sin(t), 2.0 / g.power
    outer = np.stack([g.x + g.a * 1.02 * np.sign(cos) * np.abs(cos) ** e,
                      g.y + 4 * g.u + (g.b + 1.5 * g.u - 4 * g.u) * np.sign(sin) * np.abs(sin) ** e], 1)  # fmt: skip
    inner = [(g.x - g.a * 0.72, g.y + 8 * g.u), (g.x - 6 * g.u, g.y + 9.6 * g.u), (g.x, g.y + 8.8 * g.u),
             (g.x + 6 * g.u, g.y + 9.6 * g.u), (g.x + g.a * 0.72, g.y + 8 * g.u)]  # fmt: skip
    c.poly(np.concatenate([outer, np.array(inner)]), darker(HAIR[p.hair_color], 0.06))


def _mouth(c: Canvas, p: Portrait, g: Geometry) -> None:
    u, y = g.u, g.y + 14.4 * g.u
    lip = (204, 40, 66) if p.gender == "woman" else mix(SKIN[p.skin], (130, 34, 40), 0.66)
    if p.mouth == "smiling":
        t = np.linspace(0, np.pi, 17)
        w = 8.6 * u
        smile = np.stack([g.x + w * np.cos(t), y - 2.4 * u + 7.2 * u * np.sin(t)], 1)
        c.poly(smile, (120, 22, 34))
        c.poly([(g.x - w * 0.94, y - 2.4 * u), (g.x + w * 0.94, y - 2.4 * u), (g.x + w * 0.8, y + 0.8 * u),
                (g.x - w * 0.8, y + 0.8 * u)], (255, 255, 255))  # fmt: skip
        c.line(np.concatenate([smile, smile[:1]]), lip, 1.7 * u)
    elif p.mouth == "sad":
        c.arc(g.x, y + 4.2 * u, 7.2 * u, 5.6 * u, 205, 335, lip, 2.8 * u)
    elif p.mouth == "surprised":
        c.ellipse(g.x, y + 0.6 * u, 4.6 * u, 5.4 * u, lip)
        c.ellipse(g.x, y + 0.9 * u, 3.0 * u, 3.8 * u, (92, 14, 26))
    else:
        c.line([(g.x - 6.2 * u, y), (g.x + 6.2 * u, y)], lip, (3.0 if p.gender == "woman" else 2.3) * u)


def hair_front(c: Canvas, p: Portrait, g: Geometry) -> None:
    color, u = HAIR[p.hair_color], g.u
    if p.hair_style == "bald":
        return
    if p.hair_style == "spiky":
        n = 7
        xs = np.linspace(-1.12, 1.12, n * 2 + 1)
        pts = []
        for i, s in enumerate(xs):
            r = 1.42 if i % 2 else 1.06
            pts.append((g.x + g.a * s, g.y - g.b * r * np.sqrt(max(0.0, 1.28 - s * s)) * 0.9))
        low = [(g.x + g.a * s, g.y - g.b * (0.42 + 0.2 * (i % 2))) for i, s in enumerate(np.linspace(1.1, -1.1, 8))]
        c.poly(pts + low, color, True)
        return
    grow = {"short": 1.1, "curly": 1.12, "bob": 1.16, "long": 1.16, "bun": 1.08}[p.hair_style]
    low = {"short": -0.2, "curly": -0.3, "bob": -0.05, "long": -0.05, "bun": -0.22}[p.hair_style]
    arch = {"short": -0.56, "curly": -0.55, "bob": -0.4, "long": -0.62, "bun": -0.66}[p.hair_style]
    c.poly(_cap_points(g, grow, low, arch), color, True)
    if p.hair_style == "curly":
        for s in np.linspace(-0.95, 0.95, 6):
            c.ellipse(g.x + g.a * s, g.y - g.b * (0.98 - 0.42 * s * s), 7.2 * u, 6.6 * u, color)
    if p.hair_style in ("bob", "long"):
        bottom = g.y + (g.b * 0.86 if p.hair_style == "bob" else g.b * 1.5)
        for s in (-1, 1):
            c.poly([(g.x + s * g.a * 1.18, g.y - g.b * 0.2), (g.x + s * g.a * 0.86, g.y - g.b * 0.28),
                    (g.x + s * g.a * 0.98, g.y + g.b * 0.4), (g.x + s * g.a * 1.0, bottom),
                    (g.x + s * g.a * 1.34, bottom), (g.x + s * g.a * 1.36, g.y)], color)  # fmt: skip
    c.arc(g.x - g.a * 0.1, g.y - g.b * 0.45, g.a * 0.8, g.b * 0.5, 215, 285, lighter(color, 0.22), 1.8 * u)


def hat(c: Canvas, p: Portrait, g: Geometry) -> None:
    u, x, y = g.u, g.x, g.y - g.b * 0.56
    if p.hat == "beanie":
        c.poly(superellipse(x, y - 2 * u, g.a * 1.16, g.b * 0.72, 2.4)[24:], (214, 44, 50), True)
        c.poly(superellipse(x, y, g.a * 1.22, 4.6 * u, 4), (250, 246, 240), True)
        c.ellipse(x, y - g.b * 0.76, 5 * u, 5 * u, (250, 246, 240), True)
    elif p.hat == "straw hat":
        straw = (240, 204, 116)
        c.ellipse(x, y + 0.5 * u, g.a * 1.95, 6.4 * u, darker(straw, 0.1), True)
        c.poly(superellipse(x, y - 1 * u, g.a * 1.06, g.b * 0.74, 2.8)[24:], straw, True)
        c.rect(x - g.a * 1.05, y - 6.5 * u, x + g.a * 1.05, y - 1 * u, (176, 48, 44))
    elif p.hat == "crown":
        w, gold = g.a * 0.98, (252, 200, 40)
        top, low = y - 17 * u, y + 1 * u
        c.poly([(x - w, low), (x - w * 1.08, top + 2 * u), (x - w * 0.5, y - 8 * u), (x, top - 2 * u),
                (x + w * 0.5, y - 8 * u), (x + w * 1.08, top + 2 * u), (x + w, low)], gold, True)  # fmt: skip
        for s, color in ((-0.62, (60, 110, 230)), (0.0, (220, 40, 60)), (0.62, (60, 110, 230))):
            c.ellipse(x + s * w, y - 3.6 * u, 2.3 * u, 2.3 * u, color)
    elif p.hat == "cap":
        blue = (44, 96, 196)
        c.poly(superellipse(x, y - 0.5 * u, g.a * 1.14, g.b * 0.7, 2.3)[24:], blue, True)
        c.poly(superellipse(x, y + 0.6 * u, g.a * 1.24, 4.2 * u, 2.6), darker(blue, 0.3), True)
        c.ellipse(x, y - g.b * 0.34, 4.2 * u, 4.2 * u, (250, 250, 250))


def glasses(c: Canvas, p: Portrait, g: Geometry) -> None:
    if p.glasses == "none":
        return
    u, ex, ey = g.u, g.a * max(p.eye_gap, 0.44), g.y - 0.8 * g.u
    frame = (22, 20, 26)
    for s in (-1, 1):
        c.line([(g.x + s * (ex + 6 * u), ey - 1 * u), (g.x + s * g.a * 1.0, ey - 2 * u)], frame, 2 * u)
        if p.glasses == "sunglasses":
            c.poly(superellipse(g.x + s * ex, ey, 8.2 * u, 6.4 * u, 3), frame)
            c.line([(g.x + s * ex - 4 * u, ey - 1 * u), (g.x + s * ex - 0.5 * u, ey - 4 * u)], (110, 116, 134), 1.6 * u)
        else:
            ring = superellipse(g.x + s * ex, ey, 7.6 * u, 6.9 * u, 2.4)
            c.line(np.concatenate([ring, ring[:2]]), frame, 1.9 * u)
    c.line([(g.x - (ex - 7 * u), ey - 1.4 * u), (g.x + (ex - 7 * u), ey - 1.4 * u)], frame, 1.9 * u)


def draw_person(c: Canvas, p: Portrait, *, blank: bool = False) -> Geometry:
    """Draws the person; `blank` leaves the face empty (a counterexample for the face detector)."""
    g = Geometry.of(p)
    hair_back(c, p, g)
    body(c, p, g)
    head(c, p, g)
    if not blank:
        features(c, p, g)
    hair_front(c, p, g)
    if not blank:
        glasses(c, p, g)
    hat(c, p, g)
    return g


def face_mask(p: Portrait, size: int = 128) -> Image.Image:
    """The face's outline filled (L, 255 inside), hair and hats over it not cut out."""
    c = Canvas(size, mode="L")
    c.poly(Geometry.of(p).face, 255)
    return c.finish()


def boxes(p: Portrait) -> dict[str, tuple[float, float, float, float]]:
    """x0, y0, x1, y1 of face, hair (with a hat: hair and hat) and body, px of a 128 px picture, clipped."""
    g = Geometry.of(p)
    u = g.u
    wide = (37 if p.gender == "man" else 32) * u + 2
    top = {"bald": 1.0, "short": 1.1, "spiky": 1.44, "curly": 1.3, "bob": 1.16, "long": 1.16, "bun": 1.55}
    side = {"bald": 1.0, "short": 1.1, "spiky": 1.12, "curly": 1.42, "bob": 1.36, "long": 1.4, "bun": 1.08}
    low = {"bald": -0.6, "short": -0.2, "spiky": -0.4, "curly": 0.5, "bob": 1.05, "long": 1.9, "bun": -0.2}
    t = max(top[p.hair_style] if p.hat == "none" or p.hair_style != "bun" else 1.1, 1.3 if p.hat != "none" else 0)
    w = max(side[p.hair_style], 1.95 if p.hat == "straw hat" else 0)
    out = {
        "face": (g.x - g.a, g.y - g.b, g.x + g.a, g.y + g.b),
        "hair": (g.x - g.a * w, g.y - g.b * t, g.x + g.a * w, g.y + g.b * low[p.hair_style]),
        "body": (g.x - wide, g.shoulder - 2, g.x + wide, 128.0),
    }
    return {k: tuple(float(min(max(v, 0), 128)) for v in b) for k, b in out.items()}  # type: ignore[misc]
