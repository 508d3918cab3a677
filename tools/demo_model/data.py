"""Reads what `render` wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .attributes import Portrait
from .cubes import Thing


@dataclass(frozen=True)
class Truth:
    """The parts of a sample's ground truth that training needs."""

    portrait: Portrait | None
    things: tuple[Thing, ...]
    degraded: bool
    weight_boxes: tuple[tuple[float, float, float, float], ...]
    """Where detail matters most: the face, or the objects."""


class DataSet:
    """Pictures (memory-mapped uint8 [N,H,W,3]) and their truths, same order."""

    def __init__(self, folder: Path):
        if not (folder / "truth.jsonl").exists():
            raise SystemExit(f"no finished data set in {folder}: run python -m tools.demo_model.render --out {folder}")
        self.images = np.load(folder / "images.npy", mmap_mode="r")
        with (folder / "truth.jsonl").open() as f:
            self.truths = [_truth(json.loads(line)) for line in f]

    def __len__(self) -> int:
        return len(self.truths)


def _truth(row: dict[str, Any]) -> Truth:
    portrait = Portrait(**row["portrait"]) if row["portrait"] else None
    things = tuple(Thing(**{k: v for k, v in t.items() if k != "box"}) for t in row["things"])
    boxes = (tuple(row["boxes"]["face"]),) if portrait else tuple(t.box for t in things)
    return Truth(portrait, things, row["degraded"], boxes)


def order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The same shuffle on every rank and after every restart."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def batch_indices(count: int, batch: int, step: int, seed: int, chances: np.ndarray | None = None) -> np.ndarray:
    """Indices of the `step`-th batch of an endless run of shuffled epochs, or drawn by lot with `chances`."""
    if chances is not None:
        return np.random.default_rng([seed, step]).choice(count, batch, p=chances)
    per_epoch = count // batch
    if per_epoch == 0:
        return np.random.default_rng([seed, step]).integers(count, size=batch)
    epoch, k = divmod(step, per_epoch)
    return order(count, seed, epoch)[k * batch : (k + 1) * batch]
