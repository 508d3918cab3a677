"""A host's model asked about known pictures: loaded with its prompts as for sampling, and nothing is sampled."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import comfy.samplers
import torch
from torch import Tensor

from .sampler import SowGuider, scaled


class Question(comfy.samplers.Sampler):
    """latents [N, C, h, w]: of the pictures, in the VAE's own scale and without an axis of frames."""

    def __init__(self, latents: Tensor) -> None:
        self.latents = latents

    def sample(self, model_wrap: Any, sigmas: Tensor, extra_args: dict[str, Any], callback: Any, noise: Tensor,
               *_: Any, **__: Any) -> Tensor:  # fmt: skip
        framed = noise.ndim == 5
        z = scaled(model_wrap.inner_model.process_latent_in, self.latents.to(noise.device, torch.float32), framed)
        self.ask(model_wrap, z, extra_args["model_options"])
        return noise

    @abstractmethod
    def ask(self, guider: Any, z: Tensor, options: dict[str, Any]) -> None:
        """z: the latents in the model's scale, on its device; options: the run's own copy."""


def put(model: Any, question: Question, prompts: Mapping[str, Any], seed: int = 0) -> None:
    """Ask MODEL, with CONDITIONINGs by the names of their rows. MODEL is not changed."""
    guider = SowGuider(model)
    guider.set_rows(prompts)
    frames = model.model.latent_format.latent_dimensions == 3
    empty = torch.zeros_like(question.latents.unsqueeze(2) if frames else question.latents)
    guider.sample(empty, empty, question, torch.ones(2), disable_pbar=True, seed=seed)
