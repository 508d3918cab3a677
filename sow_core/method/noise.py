"""Reproducible noise: one CPU generator an image, so that a seed means the same alone and in a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SEED_LIMIT = 2**64


class NoiseSource:
    """Standard normal noise of a batch; image i draws from its own generator, seeded with seeds[i].

    The global RNG is neither read nor moved. Drawing on the CPU keeps a seed's picture the same on
    every device.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | None = None) -> None:
        self._generators = [torch.Generator().manual_seed(seed % SEED_LIMIT) for seed in seeds]
        self._device = device or torch.device("cpu")

    def draw(self, shape: Sequence[int], images: Sequence[int]) -> Tensor:
        """[len(images), *shape], float32; only these images' generators move."""
        parts = [torch.randn(*shape, generator=self._generators[index]) for index in images]
        return torch.stack(parts).to(self._device)
