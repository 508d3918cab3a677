"""What the engine asks of a model. Two implementations: diffusers (here) and ComfyUI (in the node pack)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor

from .modulation import AttentionControl
from .schedule import Schedule


class Backend(Protocol):
    """A latent diffusion model with its prompts already set.

    Latents are [B, C, H/8, W/8], float32, scaled to unit variance. Encoding and decoding are not its business: a
    host's VAE cannot run while its model samples.
    """

    device: torch.device
    """Where the engine keeps its latents."""

    def schedule(self, steps: int) -> Schedule:
        """The model's own noise levels on a grid of `steps` DDIM steps, as a VP or flow interpolant."""

    def session(self) -> AbstractContextManager[object]:
        """Entered once around a run: install hooks, and leave the model as it was, whatever happens."""

    def predict(
        self, x: Tensor, schedule: Schedule, level: int, rows: Sequence[str], control: AttentionControl | None = None
    ) -> Tensor:
        """The model's eps for every named row, in ONE batched call.

        x: the state [N, C, h, w] as it stands (in an inversion its noise is that of level - 1);
        level: what the model is told (`schedule.t[level]`); rows: names of prompts ("positive",
        "negative", "empty", "suppress", "diverse"), batched row by row: row 0 of all images first.
        Returns [len(rows), N, C, h, w], float32. v-predictions are converted with the level's a and b.
        """
