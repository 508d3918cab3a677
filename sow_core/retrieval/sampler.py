"""Sampling an embedding from the prior: cosine schedule, two-weight guidance, DDIM with noise (Gu et al. 2023)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from .guidance import Guidance
from .prior import PriorNet

SHIFT = 0.008
"""Of the cosine schedule (Nichol and Dhariwal 2021)."""


@dataclass(frozen=True)
class Conditions:
    """What a search asks of the prior, one query. text, negative: [T, C] states; image: [width] or None;
    mask: [m, m], 1 = ignore, or None."""

    text: Tensor
    negative: Tensor
    image: Tensor | None = None
    mask: Tensor | None = None


@cache
def alphas(timesteps: int) -> tuple[Tensor, Tensor]:
    """Cumulated alphas [T] of the cosine schedule, and those of one step earlier."""
    at = torch.linspace(0, timesteps, timesteps + 1, dtype=torch.float64) / timesteps
    curve = torch.cos((at + SHIFT) / (1 + SHIFT) * math.pi / 2) ** 2
    betas = (1 - curve[1:] / curve[:-1]).clamp(0, 0.999)
    total = torch.cumprod(1 - betas, 0)
    return total.float(), torch.cat((total.new_ones(1), total[:-1])).float()


def times(timesteps: int, steps: int) -> list[int]:
    """steps + 1 times, falling, the last of them -1: the clean embedding."""
    grid = torch.linspace(-1.0, timesteps, steps + 2)[:-1]
    return grid.int().tolist()[::-1]


def guided(network: PriorNet, noisy: Tensor, time: int, rows: Rows, image_weight: float, text_weight: float) -> Tensor:
    """null + w_T (full - no_text) + w_I (no_text - null), in one pass of three rows each.

    full: text, picture; no_text: negative text, picture; null: negative text, no picture; the mask in all of them.
    noisy: [B, width].
    """
    now = torch.full((3 * len(noisy),), time, device=noisy.device)
    text = torch.cat((rows.text, rows.negative, rows.negative))
    image = torch.cat((rows.image, rows.image, torch.zeros_like(rows.image)))
    full, no_text, null = network(noisy.repeat(3, 1), now, text, image, rows.mask.repeat(3, 1, 1)).chunk(3)
    return null + text_weight * (full - no_text) + image_weight * (no_text - null)


@dataclass(frozen=True)
class Rows:
    """Conditions as batches: text, negative [B, T, C], image [B, width], mask [B, m, m]."""

    text: Tensor
    negative: Tensor
    image: Tensor
    mask: Tensor

    @staticmethod
    def of(network: PriorNet, conditions: Sequence[Conditions], samples: int) -> Rows:
        """Each condition `samples` times, one after the other, where and as the network computes."""
        size, like = network.config, next(network.parameters())
        nothing, open_ = torch.zeros(size.width), torch.zeros(size.mask, size.mask)
        parts = (
            [c.text for c in conditions],
            [c.negative for c in conditions],
            [nothing if c.image is None else c.image for c in conditions],
            [open_ if c.mask is None else c.mask for c in conditions],
        )
        return Rows(*(torch.stack(p).to(like).repeat_interleave(samples, 0) for p in parts))


@torch.no_grad()
def sample(network: PriorNet, conditions: Sequence[Conditions], guidance: Guidance, seeds: Sequence[int]) -> Tensor:
    """One embedding [width] for each condition, the mean of `guidance.samples`, from its own seed: [Q, width].

    `guidance.steps` network passes. The same call gives the same bits. The noise is drawn on the CPU from
    generators of its own; the global one is left alone.
    """
    size, device = network.config, next(network.parameters()).device
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def noise() -> Tensor:
        return torch.cat([torch.randn(guidance.samples, size.width, generator=g) for g in generators]).to(device)

    rows = Rows.of(network, conditions, guidance.samples)
    total, before = alphas(size.timesteps)
    grid = times(size.timesteps, guidance.steps)
    x = noise()
    for now, following in zip(grid, grid[1:], strict=False):
        clean = guided(network, x, now, rows, guidance.image, guidance.text)
        if following < 0:
            x = clean
            break
        a, b = before[now], before[following]
        # As published: the noise in x by the alphas of this step, the way on by those of one step earlier.
        found = (x / total[now].sqrt() - clean) / (1 / total[now] - 1).sqrt()
        fresh = guidance.eta * ((1 - a / b) * (1 - b) / (1 - a)).sqrt()
        kept = (1 - b - fresh**2).clamp(min=0).sqrt()
        x = clean * b.sqrt() + fresh * noise() + kept * found
    return x.unflatten(0, (len(conditions), guidance.samples)).mean(1)


def with_source(z: Tensor, c: Conditions, source: float | None) -> Tensor:
    """The reference laid over the sampled embedding [width]: (1 - s) z + s z_ref, both as long as they are made."""
    if c.image is None:
        return z
    s = source if source is not None else (0.1 if c.mask is None else 0.05)
    return (1 - s) * z + s * c.image.to(z)
