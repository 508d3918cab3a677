"""What training dwells on: which pictures a batch draws, which cells and which noise levels its loss counts more.

Left alone, training sees the world as it is drawn. But what is easy takes most of the loss there: most pictures
are portraits, most of a picture is background, and most of the error lies at little noise, where the text no
longer matters. How many objects there are and which colour belongs to which is decided at much noise; glasses are
a few cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .data import Truth

Box = tuple[float, float, float, float]
PICTURE = 128.0
"""px along a side; what the boxes of the ground truth are measured in, whatever a picture's size."""


def draw_chances(
    truths: Sequence[Truth], cubes: float | None = None, glasses: float | None = None
) -> np.ndarray | None:
    """Chance [N] of each picture to be drawn, summing to 1; None where every picture has its turn.

    cubes: share of cube scenes in a batch, 0..1; glasses: share of pictures with glasses among its portraits.
    None leaves a share as it is in the data. Raises SystemExit where a share is asked of pictures that do not exist.
    """
    if cubes is None and glasses is None:
        return None
    scenes = np.array([t.portrait is None for t in truths])
    worn = np.array([t.portrait is not None and t.portrait.glasses != "none" for t in truths])
    chances = np.ones(len(truths))
    _set_share(chances, worn, ~scenes, glasses, "glasses")
    _set_share(chances, scenes, np.ones(len(truths), bool), cubes, "cubes")
    return chances / chances.sum()


def _set_share(chances: np.ndarray, part: np.ndarray, whole: np.ndarray, share: float | None, name: str) -> None:
    """Scales `chances` in place so that `part` has that share of the `whole` that it lies in."""
    if share is None:
        return
    rest, total = whole & ~part, chances[whole].sum()
    if not 0 <= share <= 1:
        raise SystemExit(f"--{name} {share:g}: expected a share from 0 to 1")
    for group, wanted in ((part, share * total), (rest, (1 - share) * total)):
        there = chances[group].sum()
        if wanted and not there:
            raise SystemExit(f"--{name} {share:g}: the data lacks pictures for it; draw more with render")
        chances[group] *= wanted / there if there else 0.0


def face_weights(truth: Truth, side: int, gain: float) -> np.ndarray:
    """Loss weight [side,side] of each latent cell: 1, and `gain` on the face of a portrait.

    Objects of the cube world are not weighted: where an object may or may not be, a weight that depends on whether
    it is there teaches the model to draw too many.
    """
    return detail_map(truth.weight_boxes if truth.portrait else (), side, gain)


def weighted(error: Tensor, truths: Sequence[Truth], gain: float) -> Tensor:
    """The mean [N] of errors [N,side,side] with `face_weights`."""
    if gain != 1:
        error = error * torch.from_numpy(np.stack([face_weights(t, error.shape[-1], gain) for t in truths])).to(error)
    return error.mean((1, 2))


def detail_map(boxes: Sequence[Box], side: int, gain: float) -> np.ndarray:
    """Weight [side,side] of each latent cell: 1, and `gain` where a box (px of a 128 px picture) covers it."""
    edges = np.linspace(0, PICTURE, side + 1)
    covered = np.zeros((side, side))
    for x0, y0, x1, y1 in boxes:
        across = (np.minimum(edges[1:], x1) - np.maximum(edges[:-1], x0)).clip(0) / np.diff(edges)
        down = (np.minimum(edges[1:], y1) - np.maximum(edges[:-1], y0)).clip(0) / np.diff(edges)
        covered = np.maximum(covered, down[:, None] * across[None])
    return 1 + (gain - 1) * covered


def noise_levels(even: np.ndarray, scenes: np.ndarray, lean: float) -> np.ndarray:
    """Timesteps int64 [N] in 0..999 from even numbers [N] in 0..1: even themselves for portraits, with a density
    proportional to t^lean where `scenes` [N] says that the picture is a cube scene."""
    return (np.where(scenes, even ** (1 / (1 + lean)), even) * 1000).astype(np.int64).clip(0, 999)


def noise_gain(abar: Tensor, power: float) -> Tensor:
    """Factor [T] on the eps loss, max(1, 1/SNR)^power: 0 leaves it, 1 counts the error of the clean picture alike
    at every level with more noise than signal."""
    return ((1 - abar) / abar).clamp(min=1).pow(power) if power else torch.ones_like(abar)
