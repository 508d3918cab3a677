"""The demo world: a seed gives a picture, its caption and its ground truth, always the same.

Seeds are split by range, and nothing crosses the borders: the generator trains on TRAIN, the judges on JUDGE,
thresholds are chosen on VALIDATION, every reported number and every example is of HELD_OUT.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import backgrounds, captions, cubes, figure, styles
from .attributes import Portrait, sample_portrait
from .canvas import Canvas

TRAIN = range(0, 1_000_000)
JUDGE = range(1_000_000, 2_000_000)
VALIDATION = range(2_000_000, 2_100_000)
HELD_OUT = range(9_000_000, 10_000_000)
SPLITS = {"train": TRAIN, "judge": JUDGE, "validation": VALIDATION, "held_out": HELD_OUT}

CUBE_SHARE = 0.22
DEGRADED_SHARE = 0.04

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Sample:
    """A picture and what is true of it. Lengths in px of a 128 px picture, boxes x0, y0, x1, y1."""

    seed: int
    image: np.ndarray
    """uint8 [size,size,3]"""
    caption: str
    kind: str
    """"portrait" or "cubes"."""
    portrait: Portrait | None = None
    things: tuple[cubes.Thing, ...] = ()
    boxes: dict[str, Box] = field(default_factory=dict)
    """Of a portrait: face, hair and body."""
    face_mask: np.ndarray | None = None
    """uint8 [size,size], 255 inside the face's outline."""
    degraded: bool = False

    def truth(self) -> dict[str, Any]:
        """Everything but the pixels, ready for JSON."""
        return {
            "seed": self.seed,
            "kind": self.kind,
            "caption": self.caption,
            "degraded": self.degraded,
            "portrait": self.portrait.as_dict() if self.portrait else None,
            "things": [{**vars(t), "box": t.box} for t in self.things],
            "boxes": self.boxes,
        }


def rng_of(seed: int, stream: int) -> np.random.Generator:
    """Independent random streams of one seed: 0 the content, 1 the look, 2 the words."""
    return np.random.default_rng([seed, stream])


def draw_portrait(
    p: Portrait, size: int = 128, *, person: bool = True, blank: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Picture [size,size,3] and face mask [size,size], both uint8. Without the person, or with a blank face, it
    is a counterexample for the judges."""
    plain = p.style == "flat"
    c = Canvas(size, outline=1.6 if plain else 0.0, gradients=not plain)
    backgrounds.DRAW[p.background](c, np.random.default_rng(p.scene))
    if person:
        figure.draw_person(c, p, blank=blank)
    mask = np.asarray(figure.face_mask(p, size))
    look = np.random.default_rng([p.scene, 1])
    return styles.APPLY[p.style](np.asarray(c.finish()), mask, look), mask


def draw_cubes(things: tuple[cubes.Thing, ...], size: int = 128) -> np.ndarray:
    c = Canvas(size)
    cubes.draw_scene(c, things)
    return np.asarray(c.finish())


def render(
    seed: int, size: int = 128, *, kind: str | None = None, degraded: bool | None = None, **fixed: Any
) -> Sample:
    """The sample of a seed. `kind`, `degraded` and single attributes of a portrait can be forced."""
    rng, words = rng_of(seed, 0), rng_of(seed, 2)
    cube, spoil = rng.random() < CUBE_SHARE, rng.random() < DEGRADED_SHARE
    kind = kind or ("cubes" if cube else "portrait")
    spoil = spoil if degraded is None else degraded
    if kind == "cubes":
        things = cubes.sample_scene(rng)
        image, text = draw_cubes(things, size), captions.cube_caption(things, words)
        sample = Sample(seed, image, text, kind, things=things)
    else:
        p = sample_portrait(rng, **fixed)
        image, mask = draw_portrait(p, size)
        text = captions.portrait_caption(p, words)
        sample = Sample(seed, image, text, kind, portrait=p, boxes=figure.boxes(p), face_mask=mask)
    if spoil:
        image = styles.degrade(sample.image, rng_of(seed, 1))
        sample = Sample(**{**vars(sample), "image": image, "degraded": True, "caption": recaption(sample, words, True)})
    return sample


def describe(seed: int) -> str:
    """The caption that render(seed) would give, without drawing."""
    rng, words = rng_of(seed, 0), rng_of(seed, 2)
    cube, spoil = rng.random() < CUBE_SHARE, rng.random() < DEGRADED_SHARE
    if cube:
        things: tuple[cubes.Thing, ...] = cubes.sample_scene(rng)
        text = captions.cube_caption(things, words)
        return caption_of(None, things, True, words) if spoil else text
    p = sample_portrait(rng)
    text = captions.portrait_caption(p, words)
    return caption_of(p, (), True, words) if spoil else text


def recaption(sample: Sample, rng: np.random.Generator, degraded: bool | None = None) -> str:
    """Another caption of the same picture."""
    return caption_of(sample.portrait, sample.things, sample.degraded if degraded is None else degraded, rng)


def caption_of(
    portrait: Portrait | None, things: tuple[cubes.Thing, ...], degraded: bool, rng: np.random.Generator
) -> str:
    if portrait is None:
        text = captions.cube_caption(things, rng)
        return captions.degraded_caption(text, rng) if degraded else text
    text = captions.portrait_caption(portrait, rng, style=not degraded)
    return captions.degraded_caption(text, rng) if degraded else text
