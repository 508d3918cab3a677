"""The grammar of captions: what is said of a picture, with parts left out at random."""

from __future__ import annotations

import numpy as np

from .attributes import Portrait
from .cubes import Thing, relation

STYLE_WORDS = {
    "photo": ("a photo of", "a portrait of", "a picture of"),
    "flat": ("a flat cartoon of",),
    "pencil": ("a pencil sketch of",),
    "watercolor": ("a watercolor painting of",),
    "pixel": ("pixel art of",),
}
PLACE_WORDS = {
    "forest": "in a forest",
    "beach": "on a beach",
    "mountains": "in snowy mountains",
    "city": "in a city at night",
    "desert": "in a desert",
    "studio": "in front of a gray studio background",
    "garden": "in a flower garden",
    "sunset": "by a lake at sunset",
    "space": "in outer space",
    "library": "in a library",
}
MOUTH_WORDS = {"neutral": "serious", "smiling": "smiling", "sad": "sad", "surprised": "surprised"}
HAT_WORDS = {"beanie": "a beanie", "straw hat": "a straw hat", "crown": "a crown", "cap": "a cap"}
BAD_WORDS = (
    "a bad quality and low-resolution image",
    "a bad quality and low-resolution image of",
    "bad quality, low resolution, blurry",
    "a blurry low quality picture of",
)
"""Captions of degraded pictures; those that end in "of" are followed by what the picture shows."""

SAY = {
    "mouth": 0.72, "age": 0.8, "skin": 0.6, "hair": 0.85, "eyes": 0.35, "face_shape": 0.25, "beard": 0.9,
    "glasses": 0.94, "hat": 0.94, "clothes": 0.95, "clothes_color": 0.95, "background": 0.95, "gender": 0.93,
}  # fmt: skip
"""How often each attribute is named."""


def _list(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _article(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def portrait_caption(p: Portrait, rng: np.random.Generator | None = None, *, style: bool = True) -> str:
    """A caption; with `rng` parts are dropped with the frequencies of SAY, without it everything is said.

    A pencil sketch has no colours, so its captions name none.
    """

    def say(what: str) -> bool:
        return rng is None or rng.random() < SAY[what]

    colors = p.style != "pencil"
    words: list[str] = []
    if say("mouth"):
        words.append(MOUTH_WORDS[p.mouth])
    if p.age != "adult" and say("age"):
        words.append(p.age)
    words.append(p.gender if say("gender") else "person")
    text = _article(" ".join(words))

    have: list[str] = []
    if say("face_shape"):
        have.append(_article(f"{p.face_shape} face"))
    if colors and say("skin"):
        have.append(f"{p.skin} skin")
    if say("hair"):
        if p.hair_style == "bald":
            have.append("a bald head")
        else:
            hair = [p.hair_style] if p.hair_style not in ("bun", "bob") else []
            hair += [p.hair_color] if colors else []
            tail = f" in a {p.hair_style}" if not (p.hair_style not in ("bun", "bob")) else ""
            have.append(" ".join([*hair, "hair"]) + tail)
    if colors and p.glasses != "sunglasses" and say("eyes"):
        have.append(f"{p.eyes} eyes")
    if p.beard == "yes" and say("beard"):
        have.append("a beard")
    if have:
        text += " with " + _list(have)

    wear: list[str] = []
    if p.glasses != "none" and say("glasses"):
        wear.append(p.glasses)
    if p.hat != "none" and say("hat"):
        wear.append(HAT_WORDS[p.hat])
    if say("clothes"):
        color = p.clothes_color if colors and say("clothes_color") else ""
        wear.append(_article(f"{color} {p.clothes}".strip()))
    if wear:
        text += " wearing " + _list(wear)
    if say("background"):
        text += " " + PLACE_WORDS[p.background]
    if not style:
        return text
    choices = STYLE_WORDS[p.style]
    return (choices[0] if rng is None else str(rng.choice(choices))) + " " + text


def cube_caption(things: tuple[Thing, ...], rng: np.random.Generator | None = None) -> str:
    """The objects from left to right; two objects are sometimes told by their relation."""
    row = sorted(things, key=lambda t: t.x)
    if len(row) == 2 and rng is not None and rng.random() < 0.4:
        a, b = row if rng.random() < 0.5 else row[::-1]
        return f"a {a.name} {relation(a, b)} a {b.name} on a gray floor"
    return _list([f"a {t.name}" for t in row]) + " on a gray floor"


def degraded_caption(text: str, rng: np.random.Generator) -> str:
    """`text` without its style words, behind one of BAD_WORDS."""
    words = str(rng.choice(BAD_WORDS))
    return f"{words} {text}" if words.endswith(" of") else words
