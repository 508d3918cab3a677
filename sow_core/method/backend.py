"""What the engine asks of a model. Two implementations: diffusers (here) and ComfyUI (in the node pack)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .modulation import AttentionControl
from .schedule import Schedule


class Pull(NamedTuple):
    """What moves a state: the gradient [N, C, h, w] of an objective, its values [N], and the eps [N, C, h, w] seen."""

    gradient: Tensor
    values: Tensor
    eps: Tensor


class Backend(Protocol):
    """A latent diffusion model with its prompts already set.

    Latents are [B, C, H/8, W/8], float32, scaled to unit variance. Encoding and decoding are not its business: a
    host's VAE cannot run while its model samples.
    """

    device: torch.device
    """Where the engine keeps its latents."""

    def schedule(self, steps: int, shift: float = 1.0) -> Schedule:
        """The model's own noise levels on a grid of `steps` DDIM steps, as a VP or flow interpolant.

        shift: see `SowConfig.level_shift`; for flow models.
        """

    def session(self) -> AbstractContextManager[object]:
        """Entered once around a run: install hooks, and leave the model as it was, whatever happens."""

    def predict(
        self,
        x: Tensor,
        schedule: Schedule,
        level: int,
        rows: Sequence[str],
        control: AttentionControl | None = None,
        embedded: bool = True,
    ) -> Tensor:
        """The model's eps for every named row, in ONE batched call.

        x: the state [N, C, h, w] as it stands (in an inversion its noise is that of level - 1);
        level: what the model is told (`schedule.t[level]`); rows: names of prompts ("positive",
        "negative", "empty", "suppress", "diverse"), batched row by row: row 0 of all images first;
        embedded: see `Guidance`.
        Returns [len(rows), N, C, h, w], float32. v-predictions are converted with the level's a and b.
        """

    def pull(
        self, x: Tensor, schedule: Schedule, level: int, objective: Callable[[Tensor], Tensor], depth: int
    ) -> Pull:
        """The slope of an objective on the attention that the cells pay to the run's concepts, each image's own.

        objective: maps [K, heads, h', w'] of the K concepts at `depth` halvings of the latent's grid -> [].
        One forward and backward pass of the positive row; the model is as before after it. Raises SowError where
        the model cannot be differentiated, has no layer there, or the run names no concepts.
        """
