"""Which latent cells belong to a condition, which are related to it, and how far they lie from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .box import CELL, Box


def cell_coverage(mask: Tensor, coverage: float = 0.5, cell: int = CELL) -> Tensor:
    """Kept cells of a pixel mask by area: [h, w] 0..1 -> [h/cell, w/cell] of 0 or 1.

    A cell is kept if at least `coverage` of its pixels are (mask >= .5 is a kept pixel).
    Area instead of the predecessor's top-left pixel: no speckled edges.
    """
    share = F.avg_pool2d((mask >= 0.5).float()[None, None], cell)[0, 0]
    return (share >= coverage - 1e-6).float()


def box_cells(box: Box, height: int, width: int, cell: int = CELL) -> Tensor:
    """Cells [height, width] whose centre a pixel box covers (0 or 1)."""
    ys = (torch.arange(height) + 0.5) * cell
    xs = (torch.arange(width) + 0.5) * cell
    rows = (ys >= box.y) & (ys < box.bottom)
    columns = (xs >= box.x) & (xs < box.right)
    return (rows[:, None] & columns[None, :]).float()


def token_grid(tokens: int, height: int, width: int) -> tuple[int, int]:
    """The (rows, columns) of an attention layer with `tokens` tokens over a latent of height x width.

    UNets halve with rounding up, so depth d has ceil(h / 2^d) x ceil(w / 2^d): never sqrt(tokens).
    """
    h, w = height, width
    while h * w > tokens and h * w > 1:
        h, w = math.ceil(h / 2), math.ceil(w / 2)
    if h * w != tokens:
        raise ValueError(f"no halving of {height}x{width} has {tokens} tokens")
    return h, w


class RegionMaps(NamedTuple):
    """Regions on one token grid of T tokens, K conditions.

    condition, related: membership 0..1 [K, T]; distance: of each token to the condition's centre,
    over its largest value in the related region [K, T]; near: the related region's nearest fifth [K, T].
    """

    condition: Tensor
    related: Tensor
    distance: Tensor
    near: Tensor


class Regions:
    """The condition and related cells of every condition on one canvas; resolution independent.

    Where conditions overlap, the later one owns the cell. A related region is what its boxes cover
    minus the cells of any condition.
    """

    def __init__(self, condition: Tensor, related: Tensor) -> None:
        """condition, related: [K, h, w] of 0 or 1 on latent cells, in the order of the conditions."""
        owned = condition.clone()
        for index in range(len(owned) - 1):
            owned[index] *= 1.0 - owned[index + 1 :].amax(dim=0)
        self.condition = owned
        self.any_condition = owned.amax(dim=0)
        self.related = related * (1.0 - self.any_condition)
        self.height, self.width = condition.shape[-2:]
        self._maps: dict[tuple[int, int], RegionMaps] = {}

    @classmethod
    def build(
        cls,
        masks: Sequence[Tensor],
        boxes: Sequence[Box],
        related: Sequence[Sequence[Box]],
        height: int,
        width: int,
        cell: int = CELL,
    ) -> Regions:
        """From each condition's cell mask [h_c, w_c], its snapped pixel box and its related pixel boxes.

        height, width: of the canvas in cells of `cell` px.
        """
        condition = torch.zeros(len(masks), height, width)
        around = torch.zeros(len(masks), height, width)
        for index, (mask, box) in enumerate(zip(masks, boxes, strict=True)):
            y, x = box.y // cell, box.x // cell
            condition[index, y : y + mask.shape[0], x : x + mask.shape[1]] = mask
            for area in related[index]:
                around[index] = torch.maximum(around[index], box_cells(area, height, width, cell))
        return cls(condition, around)

    def at(self, grid: tuple[int, int]) -> RegionMaps:
        """The regions on a token grid (rows, columns), by area pooling; remembered."""
        if grid not in self._maps:
            self._maps[grid] = self._pooled(*grid)
        return self._maps[grid]

    def _pooled(self, rows: int, columns: int) -> RegionMaps:
        def pool(x: Tensor) -> Tensor:
            return F.adaptive_avg_pool2d(x[None], (rows, columns))[0].flatten(1)

        condition, related = pool(self.condition), pool(self.related)
        ys = (torch.arange(rows) + 0.5) * self.height / rows
        xs = (torch.arange(columns) + 0.5) * self.width / columns
        grid = torch.stack(torch.meshgrid(ys, xs, indexing="ij")).flatten(1)
        distance = torch.ones_like(condition)
        near = torch.zeros_like(condition)
        for index in range(len(condition)):
            weight = self.condition[index]
            if weight.sum() == 0:
                continue  # wholly covered by later conditions
            cy = (weight.sum(1) * (torch.arange(self.height) + 0.5)).sum() / weight.sum()
            cx = (weight.sum(0) * (torch.arange(self.width) + 0.5)).sum() / weight.sum()
            away = torch.hypot(grid[0] - cy, grid[1] - cx)
            inside = related[index] >= 0.5
            if inside.any():
                # One token in the very middle of the condition is 0 away from it: nothing to divide by.
                farthest = away[inside].max().clamp(min=1e-6)
                distance[index] = (away / farthest).clamp(max=1.0)
                nearest = torch.where(inside, away, math.inf).argsort()[: math.ceil(int(inside.sum()) / 5)]
                near[index, nearest] = 1.0
        return RegionMaps(condition, related, distance, near)
