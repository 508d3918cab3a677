"""Triplets of the demo world: a picture, one instruction, the picture after it; several changes of one picture.

What a composed search is trained on and measured with. The changes of a family differ from their reference, and
from each other, in one thing each, so that the nearest wrong answers are always there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from . import captions, cubes, world
from .attributes import CHOICES, Portrait, sample_portrait
from .cubes import COLORS, MAX_OBJECTS, SHAPES, Thing
from .visible import hidden

KINDS = ("portrait", "scene")
CHANGEABLE = ("mouth", "glasses", "hat", "beard", "hair_color", "hair_style", "skin", "clothes", "clothes_color",
              "background", "style", "age")  # fmt: skip


@dataclass(frozen=True)
class Member:
    """One picture of a family and how it came about. A reference has no instruction."""

    portrait: Portrait | None
    things: tuple[Thing, ...]
    instruction: str = ""
    removed: str = ""
    """What a removal takes away, as a negative text says it: "glasses"."""
    attribute: str = ""
    """The attribute that a portrait's change is of, or add, remove, recolor."""

    def draw(self, size: int = 128) -> np.ndarray:
        """uint8 [size, size, 3]"""
        if self.portrait is not None:
            return world.draw_portrait(self.portrait, size)[0]
        return world.draw_cubes(self.things, size)

    def caption(self, rng: np.random.Generator | None = None) -> str:
        """Everything that can be said, or with `rng` a part of it."""
        if self.portrait is not None:
            return captions.portrait_caption(self.portrait, rng)
        return captions.cube_caption(self.things, rng)


def family(seed: int, kind: str, changes: int = 3) -> tuple[Member, ...]:
    """The reference of a seed and up to `changes` variants of it, each by one instruction."""
    rng = world.rng_of(seed, 7)
    if kind == "portrait":
        p = sample_portrait(rng)
        return (Member(p, ()), *_portrait_changes(p, rng, changes))
    things = _scene(rng)
    return (Member(None, things), *_scene_changes(things, rng, changes))


def _portrait_changes(p: Portrait, rng: np.random.Generator, count: int) -> list[Member]:
    made: list[Member] = []
    for name in rng.permutation(CHANGEABLE):
        if len(made) == count:
            break
        values = [v for v in CHOICES[name] if v != getattr(p, name)]
        if name == "age":
            values = ["old"] if p.age != "old" else []
        if name == "beard" and (p.gender != "man" or p.age == "young"):
            values = []
        if not values:
            continue
        value = str(rng.choice(values))
        q = replace(p, **{name: value})
        seen = "old" if name == "age" else str(name)
        if seen in hidden(p) | hidden(q):
            continue
        text, removed = _say(q, p, str(name), rng)
        made.append(Member(q, (), text, removed, str(name)))
    return made


def _say(q: Portrait, p: Portrait, name: str, rng: np.random.Generator) -> tuple[str, str]:
    """The instruction that makes q of p by its attribute `name`, and what it removes."""
    value = getattr(q, name)
    verb = str(rng.choice(("with", "wearing")))
    if name == "mouth":
        word = captions.MOUTH_WORDS[value]
        return str(rng.choice((word, f"a {word} {q.gender}"))), ""
    if name == "glasses":
        return ("without glasses", p.glasses) if value == "none" else (f"{verb} {value}", "")
    if name == "hat":
        return ("without the hat", captions.HAT_WORDS[p.hat]) if value == "none" else (
            f"{verb} {captions.HAT_WORDS[value]}", "")  # fmt: skip
    if name == "beard":
        return ("with a beard", "") if value == "yes" else ("without a beard", "a beard")
    if name == "hair_style":
        return {"bald": "with a bald head", "bun": "with hair in a bun", "bob": "with hair in a bob"}.get(
            value, f"with {value} hair"
        ), ""
    plain = {
        "hair_color": f"with {value} hair", "skin": f"with {value} skin", "clothes": f"{verb} a {value}",
        "clothes_color": f"{verb} {'an' if value == 'orange' else 'a'} {value} {q.clothes}", "age": "old",
    }  # fmt: skip
    if name in plain:
        return plain[name], ""
    if name == "background":
        return captions.PLACE_WORDS[value], ""
    return captions.STYLE_WORDS[value][0].removesuffix(" of"), ""


def _scene(rng: np.random.Generator) -> tuple[Thing, ...]:
    """A scene in which every object can be named: no two alike."""
    while True:
        things = cubes.sample_scene(rng)
        if len({t.name for t in things}) == len(things):
            return things


def _scene_changes(things: tuple[Thing, ...], rng: np.random.Generator, count: int) -> list[Member]:
    made: list[Member] = []
    for _ in range(40):
        if len(made) == count:
            break
        change = _scene_change(things, rng)
        if change is None or change.instruction in {m.instruction for m in made}:
            continue  # an instruction has one answer
        if set(change.things) not in [set(m.things) for m in made]:
            made.append(change)
    return made


def _scene_change(things: tuple[Thing, ...], rng: np.random.Generator) -> Member | None:
    """Add, remove or recolour one object; None where the lot fell on what cannot be."""
    lot, names = rng.random(), {t.name for t in things}
    if lot < 0.5:
        thing = _place(things, rng) if len(things) < MAX_OBJECTS else None
        if thing is None or thing.name in names:
            return None
        near = min(things, key=lambda t: (t.x - thing.x) ** 2 + (t.y - thing.y) ** 2)
        text = f"add a {thing.name} {cubes.relation(thing, near)} the {near.name}"
        return Member(None, (*things, thing), text, "", "add")
    at = int(rng.integers(len(things)))
    old = things[at]
    if lot < 0.75:
        if len(things) == 1:
            return None
        text = f"{rng.choice(('without', 'remove'))} the {old.name}"
        return Member(None, things[:at] + things[at + 1 :], text, f"a {old.name}", "remove")
    new = replace(old, color=str(rng.choice([c for c in COLORS if c != old.color])))
    if new.name in names:
        return None
    return Member(None, things[:at] + (new,) + things[at + 1 :], f"make the {old.name} {new.color}", "", "recolor")


def _place(things: tuple[Thing, ...], rng: np.random.Generator) -> Thing | None:
    """One more object where it overlaps none, by the world's own rule."""
    for _ in range(20):
        y = float(rng.uniform(66, 116))
        size = 12.5 + 5.0 * (y - 66) / 50
        x = float(rng.uniform(size + 4, 124 - size * 1.3))
        if all(abs(x - t.x) > 1.25 * (size + t.size) or abs(y - t.y) > 30 for t in things):
            return Thing(str(rng.choice(SHAPES)), str(rng.choice(COLORS)), x, y, size)
    return None
