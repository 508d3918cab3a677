"""Drawn conditions with what a person would say about where they go: for the tests and for looking at."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from sow_core.planning.request import ConditionPicture

Draw = Callable[[ImageDraw.ImageDraw, int, int], None]


def _drawn(
    draw: Draw, width: int, height: int, *, mask: bool = True, ground: str = "#b9c7a8"
) -> ConditionPicture:
    """`draw` paints the subject over a background; its mask is where it painted."""
    picture, blank = Image.new("RGB", (width, height), ground), Image.new("RGB", (width, height), "#010203")
    draw(ImageDraw.Draw(picture), width, height)
    draw(ImageDraw.Draw(blank), width, height)
    keep = (np.asarray(blank) != (1, 2, 3)).any(axis=2).astype(np.float32)
    return ConditionPicture(np.asarray(picture), keep if mask else None)


def _face(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    d.rectangle((w * 0.36, h * 0.7, w * 0.64, h), fill="#d9a27c")
    d.ellipse((w * 0.2, h * 0.08, w * 0.8, h * 0.9), fill="#e8b48f")
    for x in (0.38, 0.62):
        d.ellipse((w * (x - 0.04), h * 0.42, w * (x + 0.04), h * 0.48), fill="#222222")
    d.arc((w * 0.38, h * 0.55, w * 0.62, h * 0.75), 20, 160, fill="#803030", width=5)


def _figure(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    d.ellipse((w * 0.36, h * 0.03, w * 0.64, h * 0.18), fill="#e8b48f")
    d.rectangle((w * 0.28, h * 0.18, w * 0.72, h * 0.55), fill="#33557f")
    d.rectangle((w * 0.31, h * 0.55, w * 0.47, h * 0.97), fill="#333333")
    d.rectangle((w * 0.53, h * 0.55, w * 0.69, h * 0.97), fill="#333333")


def _car_front(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    d.polygon(
        [(w * 0.55, h * 0.2), (w, h * 0.12), (w, h * 0.8), (w * 0.05, h * 0.8), (w * 0.08, h * 0.5)],
        fill="#c02f2f",
    )
    d.polygon([(w * 0.62, h * 0.26), (w, h * 0.2), (w, h * 0.42), (w * 0.5, h * 0.45)], fill="#9cc7e0")
    d.ellipse((w * 0.3, h * 0.6, w * 0.6, h * 0.98), fill="#222222")
    d.ellipse((w * 0.07, h * 0.52, w * 0.16, h * 0.62), fill="#fff4b0")


def _mug(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    d.ellipse((w * 0.6, h * 0.35, w * 0.92, h * 0.75), outline="#7a4a2a", width=12)
    d.rectangle((w * 0.2, h * 0.2, w * 0.7, h * 0.88), fill="#b06a3a")


def _cat_back(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    """A cat's head and chest; its body goes on to the left."""
    d.ellipse((w * 0.4, h * 0.1, w * 0.95, h * 0.65), fill="#8a8a8a")
    d.polygon([(w * 0.45, h * 0.25), (w * 0.48, 0.01 * h), (w * 0.62, h * 0.14)], fill="#8a8a8a")
    d.polygon([(w * 0.75, h * 0.14), (w * 0.88, 0.01 * h), (w * 0.92, h * 0.28)], fill="#8a8a8a")
    d.rectangle((0, h * 0.45, w * 0.75, h * 0.85), fill="#8a8a8a")


def _bird(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    d.polygon(
        [
            (w * 0.05, h * 0.2),
            (w * 0.5, h * 0.7),
            (w * 0.95, h * 0.2),
            (w * 0.55, h * 0.5),
            (w * 0.45, h * 0.5),
        ],
        fill="#334",
    )


def _tower(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    d.polygon(
        [(w * 0.5, h * 0.02), (w * 0.62, h * 0.5), (w * 0.8, h), (w * 0.2, h), (w * 0.38, h * 0.5)],
        fill="#8c6a4a",
    )


def _legs(d: ImageDraw.ImageDraw, w: int, h: int) -> None:
    """A table's legs: the top is cut off."""
    d.rectangle((w * 0.1, 0, w * 0.9, h * 0.15), fill="#7a4a2a")
    d.rectangle((w * 0.15, 0, w * 0.25, h * 0.95), fill="#7a4a2a")
    d.rectangle((w * 0.75, 0, w * 0.85, h * 0.95), fill="#7a4a2a")


def _busy(width: int, height: int) -> ConditionPicture:
    """A rectangular crop of something, no mask, no flat background."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return ConditionPicture(
        np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    )


class Case(NamedTuple):
    """A scene, its conditions and canvas, and how a person would say it went."""

    name: str
    prompt: str
    conditions: tuple[ConditionPicture, ...]
    width: int = 512
    height: int = 512


FACE = _drawn(_face, 240, 240)
FIGURE = _drawn(_figure, 150, 330)
CAR = _drawn(_car_front, 300, 200)
MUG = _drawn(_mug, 240, 240)
CAT = _drawn(_cat_back, 280, 220)

CASES = (
    Case("face", "a man in a suit in front of the Eiffel tower", (FACE,)),
    Case("face left", "a woman reading a book, on the left, a window on the right", (FACE,)),
    Case("face standing", "a full body photo of a knight standing in a castle", (FACE,)),
    Case("face wide", "portrait of a woman at the beach, looking to the right", (FACE,), 1024, 512),
    Case("face tall", "an astronaut on the moon", (FACE,), 512, 768),
    Case("figure", "a man waiting at a bus stop in the rain", (FIGURE,)),
    Case("figure wide", "a woman in a large field, a tree on the left", (FIGURE,), 896, 512),
    Case("car front", "a red car on a mountain road", (CAR,)),
    Case("car right", "a red car in the lower right corner, a lake", (CAR,), 768, 512),
    Case("object", "a mug on a wooden table in a cafe", (MUG,)),
    Case(
        "object, flat ground",
        "a mug on a stone in a forest",
        (_drawn(_mug, 240, 240, mask=False, ground="white"),),
    ),
    Case("cat", "a cat sleeping on a sofa", (CAT,)),
    Case("bird", "a bird flying over the sea at sunset, at the top", (_drawn(_bird, 260, 160),)),
    Case("tower", "a tower in an old town, watercolor", (_drawn(_tower, 160, 300),)),
    Case("table legs", "a wooden table in a kitchen", (_drawn(_legs, 260, 200),)),
    Case("no mask", "an oil painting of a harbour", (_busy(260, 200),)),
    Case("two", "a man and a cat on a bench in a park", (FACE, CAT)),
    Case(
        "named",
        "a mug on the left and a cat on the right, on a kitchen table",
        (
            ConditionPicture(CAT.image, CAT.mask, name="cat"),
            ConditionPicture(MUG.image, MUG.mask, name="mug"),
        ),
        768,
        512,
    ),
    Case("large canvas", "a queen on her throne", (FACE,), 1024, 1024),
    Case("small canvas", "a boy with a red hat", (FACE,), 128, 128),
)
