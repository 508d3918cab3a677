"""The scenes of `bench turns`: a first object, then one more each turn. The generator never saw more than four."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tools.demo_model import edits
from tools.demo_model.cubes import Thing
from tools.demo_model.world import HELD_OUT, VALIDATION

FIRST = {"val": VALIDATION[40_000], "test": HELD_OUT[800_000]}
"""First seed of each split: the rest of the project uses none of these."""
WORDS = edits.WORDS


def sample_scene(seed: int, count: int) -> tuple[Thing, ...]:
    return edits.sample_scene(np.random.default_rng([seed, 7]), count)


def instruction(things: Sequence[Thing], words: str) -> str:
    return edits.addition(things, words)
