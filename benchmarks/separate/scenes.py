"""Prompts of one to five things that differ in both shape and colour from their neighbours."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tools.demo_model.captions import cube_caption
from tools.demo_model.cubes import COLORS, SHAPES, Thing

FIRST_SEED = 91_000
"""Beyond every seed that the world's splits use for pictures: only words are drawn here."""


class Scene(NamedTuple):
    """names: what is asked for, "red cube"; prompt: the sentence; seed: of the picture's noise."""

    names: tuple[str, ...]
    prompt: str
    seed: int

    @property
    def key(self) -> str:
        return f"{len(self.names)}/{self.seed}"


def scenes(count: int, number: int) -> list[Scene]:
    """`number` scenes of `count` things each: no two alike, and no colour twice, so that a merged one shows."""
    made = []
    for index in range(number):
        seed = FIRST_SEED + 1000 * count + index
        rng = np.random.default_rng(seed)
        colors = rng.permutation(COLORS)[:count]
        things = tuple(
            Thing(str(rng.choice(SHAPES)), str(color), 20.0 * n, 90.0, 14.0) for n, color in enumerate(colors)
        )
        made.append(Scene(tuple(t.name for t in things), cube_caption(things), seed))
    return made
