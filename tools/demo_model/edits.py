"""The world as instructions: a picture, one sentence, the picture after it, and pictures that it does not mean.

The cube world after i-CLEVR (El-Nouby et al. 2019): objects of different names, so that an instruction can only mean
one of them. Of portraits one attribute changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import world
from .attributes import CHOICES, sample_portrait
from .captions import HAT_WORDS, PLACE_WORDS
from .cubes import COLORS, SHAPES, Thing, relation
from .world import draw_cubes, draw_portrait, rng_of

SIDE = 128
WORDS = ("short", "full")
"""Kinds of instructions: the nearest object alone, or every neighbour on both axes and the part of the canvas."""
WRONG = 3
"""Pictures beside the right one that an instruction does not mean."""


@dataclass(frozen=True)
class Edit:
    """before, after: uint8 [size, size, 3]; wrong: others that share all but the edit with `after`."""

    before: np.ndarray
    instruction: str
    after: np.ndarray
    wrong: tuple[np.ndarray, ...]
    kind: str


def sample_scene(rng: np.random.Generator, count: int) -> tuple[Thing, ...]:
    """`count` objects that do not overlap, with different names, in the order in which they are added."""
    names = [(shape, color) for shape in SHAPES for color in COLORS]
    while True:
        things: list[Thing] = []
        order = rng.permutation(len(names))
        for _ in range(400):
            if len(things) == count:
                return tuple(things)
            thing = _placed(rng, *names[order[len(things)]])
            if _free(thing, things):
                things.append(thing)


def _placed(rng: np.random.Generator, shape: str, color: str) -> Thing:
    y = float(rng.uniform(66, 116))
    size = 12.5 + 5.0 * (y - 66) / 50
    return Thing(shape, color, float(rng.uniform(size + 4, 124 - size * 1.3)), y, size)


def _free(thing: Thing, others: Sequence[Thing]) -> bool:
    return all(abs(thing.x - t.x) > 1.25 * (thing.size + t.size) or abs(thing.y - t.y) > 30 for t in others)


def addition(things: Sequence[Thing], words: str) -> str:
    """The instruction that adds the last of the things to the others."""
    *before, new = things
    if words == "short":
        near = min(before, key=lambda t: (t.x - new.x) ** 2 + (t.y - new.y) ** 2)
        return f"add a {new.name} {relation(new, near)} the {near.name}"
    (x, y), said = new.center, []
    side = ("back" if y < SIDE / 2 else "front") + " " + ("left" if x < SIDE / 2 else "right")
    for axis, less, more in ((0, "left of", "right of"), (1, "behind", "in front of")):
        at = new.center[axis]
        after = [t for t in before if t.center[axis] > at]
        prior = [t for t in before if t.center[axis] <= at]
        if after:
            said.append(f"{less} the {min(after, key=lambda t: t.center[axis]).name}")
        if prior:
            said.append(f"{more} the {max(prior, key=lambda t: t.center[axis]).name}")
    return (
        f"add a {new.name} at the {side}, "
        + ", ".join(said[:-1])
        + (" and " if len(said) > 1 else "")
        + said[-1]
    )


def sample_edit(seed: int, size: int = SIDE) -> Edit:
    """The edit of a seed, drawn at `size` px: nine of ten in the cube world, the others on portraits."""
    rng = rng_of(seed, 5)
    return _portrait_edit(rng, size) if rng.random() < 0.1 else _cube_edit(rng, size)


def _cube_edit(rng: np.random.Generator, size: int) -> Edit:
    kind = str(rng.choice(["add", "remove", "make", "replace"], p=(0.7, 0.1, 0.1, 0.1)))
    things = sample_scene(rng, int(rng.integers(2, 6)))
    *others, thing = things
    names = {t.name for t in things}
    if kind == "add":
        text = addition(things, str(rng.choice(WORDS)))
        before, after = tuple(others), things
        wrong = [
            tuple(others),
            *((*others, _other(rng, thing, names, what)) for what in ("color", "shape", "place")),
        ]
    elif kind == "remove":
        text, before, after = f"remove the {thing.name}", things, tuple(others)
        wrong = [things, (*others, _other(rng, thing, names, "color")), things[1:]]
    else:
        part = "color" if kind == "make" else "shape"
        new = _other(rng, thing, names, part)
        said = (
            f"make the {thing.name} {new.color}"
            if kind == "make"
            else f"replace the {thing.name} with a {new.name}"
        )
        text, before, after = said, things, (*others, new)
        wrong = [things, tuple(others), (*others, _other(rng, thing, {*names, new.name}, part))]
    keep = rng.permutation(len(wrong))[:WRONG]
    drawn = [draw_cubes(t, size) for t in (before, after, *(wrong[i] for i in keep))]
    return Edit(drawn[0], text, drawn[1], tuple(drawn[2:]), kind)


def _other(rng: np.random.Generator, thing: Thing, names: set[str], what: str) -> Thing:
    """The thing with another colour, shape or place, of a name that is not there yet."""
    if what == "place":
        return _placed(rng, thing.shape, thing.color)
    values = COLORS if what == "color" else SHAPES
    made = [replace(thing, **{what: v}) for v in values]
    fresh = [t for t in made if t.name not in names] or [t for t in made if t != thing]
    return fresh[int(rng.integers(len(fresh)))]


_SAID = {
    "glasses": "add glasses",
    "sunglasses": "add sunglasses",
    **{k: f"add {v}" for k, v in HAT_WORDS.items()},
}


def portrait_edit(rng: np.random.Generator, p: Any) -> tuple[str, str, str]:
    """The attribute, its new value and the instruction, for one portrait."""
    what = str(rng.choice(["hair_color", "glasses", "hat", "background"]))
    if what == "hair_color" and (p.hair_style == "bald" or p.hat != "none" or p.style == "pencil"):
        what = "background"
    values = [v for v in CHOICES[what] if v not in (getattr(p, what), "none")]
    if what in ("glasses", "hat") and getattr(p, what) != "none":
        return what, "none", f"remove the {getattr(p, what).split()[-1]}"
    value = str(rng.choice(values))
    if what == "hair_color":
        return what, value, f"make the hair {value}"
    if what == "background":
        return what, value, f"change the background to {background_words(value)}"
    return what, value, _SAID[value]


def background_words(value: str) -> str:
    """What a background is called in an instruction: "a forest", "snowy mountains"."""
    return (
        PLACE_WORDS[value]
        .removeprefix("in front of ")
        .removeprefix("in ")
        .removeprefix("on ")
        .removeprefix("by ")
    )


def _portrait_edit(rng: np.random.Generator, size: int) -> Edit:
    p = sample_portrait(rng)
    what, value, text = portrait_edit(rng, p)
    others = [v for v in CHOICES[what] if v not in (value, getattr(p, what))]
    wrong = [p, *(replace(p, **{what: others[i]}) for i in rng.permutation(len(others))[:2])]
    while len(wrong) < WRONG:
        wrong.append(replace(p, mouth=str(rng.choice(CHOICES["mouth"])), scene=p.scene + 1))
    drawn = [draw_portrait(q, size)[0] for q in (p, replace(p, **{what: value}), *wrong[:WRONG])]
    return Edit(drawn[0], text, drawn[1], tuple(drawn[2:]), what)


SEEDS = {"train": 300_000, "val": world.VALIDATION[60_000], "test": world.HELD_OUT[850_000]}
"""First seed of the edits of each split."""
