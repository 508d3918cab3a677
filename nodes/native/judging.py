"""The host's own model as the judge of candidates: `sow_core.turns.own_match` on its prompts and its sampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import comfy.model_management
import comfy.samplers
import comfy.utils
import torch
from torch import Tensor

from ...sow_core.turns.own_match import calls_of, noise_errors, row_names
from .backend import NativeBackend, unframed
from .checks import check_model, check_vae
from .sampler import SowGuider, scaled


def prompt_errors(model: Any, clip: Any, vae: Any, pictures: Tensor, free: Tensor, prompts: Sequence[str]) -> Tensor:
    """How badly MODEL predicts the noise in pictures under each prompt, see `own_match.Errors`: [prompts, N].

    Reports every call, so that the host can cancel it. Raises SowError for a MODEL or VAE of another kind.
    """
    check_vae(vae, check_model(model))
    latents = torch.cat([unframed(vae.encode(p.movedim(0, -1)[None])).float().cpu() for p in pictures])
    rows = row_names(prompts)
    guider = SowGuider(model)
    guider.set_rows({row: clip.encode_from_tokens_scheduled(clip.tokenize(text)) for row, text in rows.items()})
    judge = _Judge(latents, free, list(rows))
    framed = model.model.latent_format.latent_dimensions == 3
    empty = torch.zeros_like(latents.unsqueeze(2) if framed else latents)
    guider.sample(empty, empty, judge, torch.ones(2), disable_pbar=True, seed=0)
    assert judge.errors is not None
    return judge.errors


class _Judge(comfy.samplers.Sampler):
    """No sampling at all: the host loads model and prompts as for one, and the model is asked about known pictures."""

    def __init__(self, latents: Tensor, free: Tensor, rows: Sequence[str]) -> None:
        self.latents, self.free, self.rows = latents, free, rows
        self.errors: Tensor | None = None

    def sample(self, model_wrap: Any, sigmas: Tensor, extra_args: dict[str, Any], callback: Any, noise: Tensor,
               *_: Any, **__: Any) -> Tensor:  # fmt: skip
        grid = (noise.shape[-2], noise.shape[-1])
        backend = NativeBackend(model_wrap, extra_args["model_options"], grid, noise.device, 0)
        base = model_wrap.inner_model
        z = scaled(base.process_latent_in, self.latents.to(noise.device, torch.float32), noise.ndim == 5)
        bar = comfy.utils.ProgressBar(calls_of(self.rows))

        def asked() -> None:
            bar.update(1)  # raises where the user has cancelled, if a server listens
            comfy.model_management.throw_exception_if_processing_interrupted()

        self.errors = noise_errors(backend, z, self.free, self.rows, asked)
        return noise
