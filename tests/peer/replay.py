"""A backend that records what the engine asks of it, and noise that was drawn before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


class Recorder:
    """A backend around another: notes every call, and answers `encode` with given latents if there are any."""

    def __init__(self, backend: Any, encoded: Sequence[Tensor] = ()) -> None:
        self.backend = backend
        self.device = backend.device
        self.latents: list[Tensor] = []
        """What the model saw, first image [1, C, h, w], per call."""
        self.rows: list[int] = []
        self.timesteps: list[float] = []
        self.pixels: list[Tensor] = []
        self.result: Any = None
        self.draws = 0
        self._encoded: Iterator[Tensor] | None = iter(encoded) if encoded else None

    def schedule(self, steps: int, shift: float = 1.0) -> Any:
        return self.backend.schedule(steps)

    def session(self) -> Any:
        return self.backend.session()

    def encode(self, image: Tensor) -> Tensor:
        self.pixels.append(image)
        return self.backend.encode(image) if self._encoded is None else next(self._encoded).clone()

    def decode(self, latent: Tensor) -> Tensor:
        return self.backend.decode(latent)

    def predict(
        self, x: Tensor, schedule: Any, level: int, rows: Sequence[str], control: Any = None, embedded: bool = True
    ) -> Tensor:
        self.latents.append(x[:1].clone())
        self.rows.append(len(rows) * x.shape[0])
        self.timesteps.append(schedule.t[level])
        return self.backend.predict(x, schedule, level, rows, control)


class ReplayNoise:
    """Recorded noises in their order, in place of the engine's generators; raises when they run out or misfit."""

    def __init__(self, noises: Sequence[Tensor]) -> None:
        self._noises = iter(noises)
        self.drawn = 0

    def draw(self, shape: Sequence[int], images: Sequence[int]) -> Tensor:
        noise = next(self._noises).reshape(len(images), *shape)
        self.drawn += 1
        return torch.clone(noise)
