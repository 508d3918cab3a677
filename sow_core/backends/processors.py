"""Self-attention processors for diffusers UNets, installed around a run and taken away after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..errors import SowError
from ..method.modulation import AttentionControl

PLAIN = (
    "AttnProcessor",
    "AttnProcessor2_0",
    "FusedAttnProcessor2_0",
    "SlicedAttnProcessor",
    "XFormersAttnProcessor",
)
"""diffusers' own processors, which compute softmax attention and nothing else: safe to stand in for."""


@dataclass
class Active:
    """The modulation of the model call under way; control None: every layer runs as it was."""

    control: AttentionControl | None = None
    rows: Sequence[str] = ()


class SowAttnProcessor:
    """Modulated self-attention of one layer (paper Eqs. 4-8), or the layer's own processor when idle."""

    def __init__(self, original: Any, active: Active) -> None:
        self.original = original
        self.active = active

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        control = self.active.control
        if control is None:
            return self.original(attn, hidden_states, encoder_hidden_states, attention_mask, temb, **kwargs)
        residual = hidden_states
        batch, tokens, _ = hidden_states.shape

        def heads(x: Tensor) -> Tensor:
            return x.reshape(batch, tokens, attn.heads, -1).transpose(1, 2)

        if attn.fused_projections:
            q, k, v = (heads(x) for x in attn.to_qkv(hidden_states).chunk(3, dim=-1))
        else:
            q, k, v = (heads(project(hidden_states)) for project in (attn.to_q, attn.to_k, attn.to_v))
        if attn.norm_q is not None:
            q = attn.norm_q(q)
        if attn.norm_k is not None:
            k = attn.norm_k(k)
        grid = control.grid(tokens)
        out = control.attend(q, k, v, grid, self.active.rows, attn.scale)
        out = out.transpose(1, 2).reshape(batch, tokens, -1).to(hidden_states.dtype)
        out = attn.to_out[1](attn.to_out[0](out))
        if attn.residual_connection:
            out = out + residual
        return out / attn.rescale_output_factor


@contextmanager
def modulated(unet: Any, active: Active) -> Iterator[None]:
    """Put a SowAttnProcessor on every attn1 layer; the others' processors stay, all are restored.

    Raises SowError if a layer is not one we can stand in for (another pack's self-attention processor):
    better than silently undoing it.
    """
    before = dict(unet.attn_processors)
    mixed = dict(before)
    for name, processor in before.items():
        if not name.endswith("attn1.processor"):
            continue
        layer = unet.get_submodule(name.removesuffix(".processor"))
        _check(name, processor, layer)
        mixed[name] = SowAttnProcessor(processor, active)
    unet.set_attn_processor(mixed)
    try:
        yield
    finally:
        unet.set_attn_processor(before)


def _check(name: str, processor: Any, layer: Any) -> None:
    kind = type(processor).__name__
    if kind not in PLAIN:
        raise SowError(f"Self-attention of {name} already has a {kind}; remove it, or switch modulation off.")
    odd = [
        what
        for what in ("group_norm", "spatial_norm", "norm_cross", "added_kv_proj_dim")
        if getattr(layer, what, None) is not None and getattr(layer, what) is not False
    ]
    if odd:
        raise SowError(f"Self-attention of {name} has {', '.join(odd)}; modulation cannot run on it, switch it off.")
