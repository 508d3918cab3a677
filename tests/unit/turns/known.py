"""A model of the protocol whose denoiser is known, so that a history costs milliseconds."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from gaussian import GaussianBackend

from sow_core.backends.gradients import slope
from sow_core.method.advice import Advice


class KnownBackend(GaussianBackend):
    """The known denoiser with prompts and a model folder's recommendations."""

    size = (128, 128)

    def __init__(self) -> None:
        super().__init__()
        self.parts = SimpleNamespace(
            recommended=Advice(guidance=3.0, negative="", most_things=4), cell=8, snap=8
        )
        self.prompts: list[dict[str, str]] = []

    def set_prompts(self, prompts: dict[str, str]) -> None:
        self.prompts.append(dict(prompts))
        self.means = {row: 0.1 * n for n, row in enumerate(prompts)} | self.means

    def picture_slope(self, latent, value):
        return torch.cat([slope(z[None], lambda state: value(self.decode(state))) for z in latent])
