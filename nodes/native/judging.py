"""The host's own model as the judge of candidates: `sow_core.turns.own_match` on its prompts and its sampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import comfy.model_management
import comfy.utils
from torch import Tensor

from ...sow_core.turns.own_match import calls_of, noise_errors, row_names
from . import encoded
from .asking import Question, put
from .backend import NativeBackend
from .checks import check_model, check_vae


def prompt_errors(model: Any, clip: Any, vae: Any, pictures: Tensor, free: Tensor, prompts: Sequence[str]) -> Tensor:
    """How badly MODEL predicts the noise in pictures under each prompt, see `own_match.Errors`: [prompts, N].

    Reports every call, so that the host can cancel it. Raises SowError for a MODEL or VAE of another kind.
    """
    check_vae(vae, check_model(model))
    rows = row_names(prompts)
    judge = _Judge(encoded(vae, pictures), free, list(rows))
    put(model, judge, {row: clip.encode_from_tokens_scheduled(clip.tokenize(text)) for row, text in rows.items()})
    assert judge.errors is not None
    return judge.errors


class _Judge(Question):
    def __init__(self, latents: Tensor, free: Tensor, rows: Sequence[str]) -> None:
        super().__init__(latents)
        self.free, self.rows = free, rows
        self.errors: Tensor | None = None

    def ask(self, guider: Any, z: Tensor, options: dict[str, Any]) -> None:
        backend = NativeBackend(guider, options, (z.shape[-2], z.shape[-1]), z.device, 0)
        bar = comfy.utils.ProgressBar(calls_of(self.rows))

        def asked() -> None:
            bar.update(1)  # raises where the user has cancelled, if a server listens
            comfy.model_management.throw_exception_if_processing_interrupted()

        self.errors = noise_errors(backend, z, self.free, self.rows, asked)
