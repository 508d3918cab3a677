"""What differs between flow transformers as diffusers runs them: one row of small functions a family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .base import TextEmbedding, clip_tokens
from .components import FlowComponents


@dataclass(frozen=True)
class Flow:
    """One kind of folder.

    prompt: a text, encoded, [1, L, d]. call: the net's own answer [B, C, h, w] for states [B, C, h, w], the time it is
    told [B], and the prompts of the batch (B entries each).
    """

    prompt: Callable[[FlowComponents, str], TextEmbedding]
    call: Callable[[Any, Tensor, Tensor, TextEmbedding], Tensor]


def _clip_prompt(parts: FlowComponents, text: str) -> TextEmbedding:
    """One CLIP's last states and the pooled state of its end mark: the demo flow model."""
    tokenizer, encoder = parts.encoders[0]
    with torch.no_grad():
        out = encoder(clip_tokens(tokenizer, encoder, text).to(encoder.device))
    return TextEmbedding(out.last_hidden_state, out.pooler_output)


def _call_sd3(net: Any, x: Tensor, told: Tensor, texts: TextEmbedding) -> Tensor:
    return net(
        x, encoder_hidden_states=texts.states, pooled_projections=texts.pooled, timestep=told, return_dict=False
    )[0]


FLOWS = {
    "demo_flow": Flow(_clip_prompt, _call_sd3),
}
"""By kind of folder, see `checks.check_index`."""
