"""What the cells of a diffusers UNet pay to single words: cross-attention read out, with its gradient.

Only the layers at one grid are written out; all others, and every other call, run on the processors that were there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..errors import SowError
from ..method.backend import Pull
from .processors import PLAIN


class ReadingProcessor:
    """Cross-attention of one layer; where it has the wanted number of cells, its probabilities are kept."""

    def __init__(self, original: Any, cells: int, kept: list[Tensor]) -> None:
        self.original = original
        self.cells = cells
        self.kept = kept

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        out = self.original(attn, hidden_states, encoder_hidden_states, attention_mask, temb, **kwargs)
        if encoder_hidden_states is None or hidden_states.shape[1] != self.cells:
            return out
        batch, tokens, _ = hidden_states.shape

        def heads(x: Tensor) -> Tensor:
            return x.reshape(batch, -1, attn.heads, x.shape[-1] // attn.heads).transpose(1, 2)

        q, k = heads(attn.to_q(hidden_states)).float(), heads(attn.to_k(encoder_hidden_states)).float()
        self.kept.append((q @ k.transpose(-1, -2) * attn.scale).softmax(dim=-1))
        return out


@contextmanager
def reading(unet: Any, grid: tuple[int, int]) -> Iterator[list[Tensor]]:
    """The cross-attention [N, heads, h*w, text] of every layer at `grid`, of the calls inside; processors restored.

    Raises SowError if a layer is of a kind that cannot be read.
    """
    before = dict(unet.attn_processors)
    kept: list[Tensor] = []
    cells = grid[0] * grid[1]
    mixed = dict(before)
    for name, processor in before.items():
        if name.endswith("attn2.processor"):
            kind = type(processor).__name__
            if kind not in PLAIN:
                raise SowError(f"Cross-attention of {name} has a {kind}, which cannot be read; switch --separate off.")
            mixed[name] = ReadingProcessor(processor, cells, kept)
    unet.set_attn_processor(mixed)
    try:
        yield kept
    finally:
        unet.set_attn_processor(before)


def pull(
    x: Tensor, call: Callable[[Tensor], Tensor], kept: list[Tensor], objective: Callable[[list[Tensor]], Tensor]
) -> Pull:
    """The gradient of the summed objective with respect to x [N, C, h, w], its value per image, and what `call` gave.

    call: the model on a state -> eps, filling `kept`; objective: one image's layers [heads, cells, text] -> [].
    """
    with torch.inference_mode(False), torch.enable_grad():
        state = x.detach().clone().requires_grad_(True)
        eps = call(state)
        if not kept:
            raise SowError("This model reads no prompt at that size: choose another separate.depth, from 0 to 3.")
        values = torch.stack([objective([layer[n] for layer in kept]) for n in range(len(x))])
        (grad,) = torch.autograd.grad(values.sum(), state)
    return Pull(grad.detach(), values.detach(), eps.detach())
