"""What can vary in a portrait, and how it is drawn by lot.

Every attribute is independent of the others except where the world itself would contradict it: only men have
beards, a bald head has no hairstyle, and one-colour clothes never have the colour of the background behind
them by accident only (they may; captions say so).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

STYLES = ("photo", "flat", "pencil", "watercolor", "pixel")
STYLE_WEIGHTS = (0.56, 0.11, 0.11, 0.11, 0.11)
GENDERS = ("man", "woman")
AGES = ("young", "adult", "old")
SKINS = ("pale", "light", "tan", "brown", "dark")
FACE_SHAPES = ("oval", "round", "square")
HAIR_STYLES = ("bald", "short", "spiky", "curly", "bob", "long", "bun")
HAIR_COLORS = ("black", "brown", "blond", "red", "gray", "white", "pink", "blue")
EYE_COLORS = ("brown", "blue", "green")
MOUTHS = ("neutral", "smiling", "sad", "surprised")
GLASSES = ("none", "glasses", "sunglasses")
HATS = ("none", "beanie", "straw hat", "crown", "cap")
CLOTHES = ("t-shirt", "striped sweater", "hoodie", "suit", "dress")
CLOTHES_COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "black", "white")
BACKGROUNDS = (
    "forest", "beach", "mountains", "city", "desert", "studio", "garden", "sunset", "space", "library",
)  # fmt: skip
NOSES = ("button", "long", "wide")

CHOICES: dict[str, tuple[str, ...]] = {
    "style": STYLES, "gender": GENDERS, "age": AGES, "skin": SKINS, "face_shape": FACE_SHAPES,
    "hair_style": HAIR_STYLES, "hair_color": HAIR_COLORS, "eyes": EYE_COLORS, "mouth": MOUTHS,
    "glasses": GLASSES, "hat": HATS, "beard": ("no", "yes"), "clothes": CLOTHES,
    "clothes_color": CLOTHES_COLORS, "background": BACKGROUNDS,
}  # fmt: skip
"""Every categorical attribute of a portrait and its values, in the order the judges use."""

IDENTITY = (
    "gender", "age", "skin", "face_shape", "hair_style", "hair_color", "eyes", "beard",
    "nose", "eye_gap", "eye_size", "brow", "freckles",
)  # fmt: skip
"""The attributes that make a person; the others belong to a picture of that person."""


@dataclass(frozen=True)
class Portrait:
    """One person in one scene. Lengths are in px of a 128 px picture."""

    style: str
    gender: str
    age: str
    skin: str
    face_shape: str
    hair_style: str
    hair_color: str
    eyes: str
    mouth: str
    glasses: str
    hat: str
    beard: str
    clothes: str
    clothes_color: str
    background: str
    nose: str
    eye_gap: float
    """Distance of the eyes from the middle, as a share of half the face's width (0.38 to 0.52)."""
    eye_size: float
    """1 is average (0.85 to 1.15)."""
    brow: float
    """Thickness of the eyebrows, 1 is average (0.6 to 1.5)."""
    freckles: bool
    x: float
    y: float
    scale: float
    scene: int
    """Seed of the free details of the background."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def sample_identity(rng: np.random.Generator) -> dict[str, Any]:
    """A person: the attributes named in IDENTITY."""
    gender = str(rng.choice(GENDERS))
    man = gender == "man"
    age = str(rng.choice(AGES, p=(0.2, 0.6, 0.2)))
    style = (0.16, 0.28, 0.2, 0.18, 0.06, 0.08, 0.04) if man else (0.02, 0.12, 0.06, 0.2, 0.2, 0.25, 0.15)
    color = np.array([0.17, 0.16, 0.16, 0.15, 0.06, 0.06, 0.12, 0.12])
    if age == "old":
        color = color * 0.4 + np.array([0, 0, 0, 0, 0.3, 0.3, 0, 0])
    beard = man and age != "young" and rng.random() < 0.4
    return {
        "gender": gender,
        "age": age,
        "skin": str(rng.choice(SKINS)),
        "face_shape": str(rng.choice(FACE_SHAPES)),
        "hair_style": str(rng.choice(HAIR_STYLES, p=style)),
        "hair_color": str(rng.choice(HAIR_COLORS, p=color / color.sum())),
        "eyes": str(rng.choice(EYE_COLORS)),
        "beard": "yes" if beard else "no",
        "nose": str(rng.choice(NOSES)),
        "eye_gap": float(rng.uniform(0.38, 0.52)),
        "eye_size": float(rng.uniform(0.85, 1.15)),
        "brow": float(rng.uniform(0.6, 1.0) if not man else rng.uniform(0.9, 1.5)),
        "freckles": bool(rng.random() < 0.12),
    }


def sample_scene(rng: np.random.Generator) -> dict[str, Any]:
    """Everything that is not the person: style, expression, what is worn, place, position."""
    return {
        "style": str(rng.choice(STYLES, p=STYLE_WEIGHTS)),
        "mouth": str(rng.choice(MOUTHS, p=(0.25, 0.35, 0.2, 0.2))),
        "glasses": str(rng.choice(GLASSES, p=(0.64, 0.22, 0.14))),
        "hat": str(rng.choice(HATS, p=(0.56, 0.11, 0.11, 0.11, 0.11))),
        "clothes": str(rng.choice(CLOTHES)),
        "clothes_color": str(rng.choice(CLOTHES_COLORS)),
        "background": str(rng.choice(BACKGROUNDS)),
        "x": float(rng.uniform(44, 84)),
        "y": float(rng.uniform(53, 61)),
        "scale": float(rng.uniform(0.88, 1.12)),
        "scene": int(rng.integers(2**31)),
    }


def sample_portrait(rng: np.random.Generator, **fixed: Any) -> Portrait:
    """A random portrait; `fixed` overrides attributes after the draw, so the other draws do not shift."""
    return Portrait(**{**sample_identity(rng), **sample_scene(rng), **fixed})
