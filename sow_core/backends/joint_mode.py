"""Modulated joint attention in a diffusers transformer, for the length of one call.

Transformers of diffusers have a processor class each, or none; all end in PyTorch's fused attention, after rope and
norms. A function mode sees those calls, on this thread and inside its `with` only: no module is touched, and nothing is
left to restore after an error or a cancel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..errors import SowError
from ..method.attention import Kernel
from ..method.families import Family
from ..method.joint import Span, find_span, token_rows
from ..method.modulation import AttentionControl


class JointMode(TorchFunctionMode):
    """Around one call of the net: its attention calls that hold the image go through `control`.

    rows: names of the batch's chunks; cells: (height, width) of the latents; text: tokens of the prompts.
    `joint`: calls with image and text seen so far.
    """

    def __init__(
        self, control: AttentionControl, rows: Sequence[str], cells: tuple[int, int], family: Family, text: int
    ) -> None:
        super().__init__()
        self.control, self.rows, self.cells, self.family, self.text = control, rows, cells, family, text
        self.joint = 0
        self._checked: list[Tensor] = []
        """Masks that leave the image's keys alone."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            return self._attention(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def check(self, name: str) -> None:
        """Raises SowError if the call had no joint attention that could be seen."""
        if not self.joint:
            raise SowError(
                f"No joint attention of {name} was seen: another attention backend or a compiled graph hides it. Use "
                "diffusers' native backend, or switch modulation off (--no-attention)."
            )

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """PyTorch's `scaled_dot_product_attention`; modulated where image tokens attend to each other."""
        tokens, span = query.shape[2], None
        if query.ndim == 4 and tokens == key.shape[2] and not is_causal:
            span = find_span(tokens, self.cells, self.family, self.text, self.family.diffusers_first)
        if span is None or len(query) != len(self.rows) * len(self.control.gate):
            return F.scaled_dot_product_attention(
                query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
            )
        kernel: Kernel | None = None
        if attn_mask is not None:
            self._check_mask(attn_mask, span)
            kernel = partial(F.scaled_dot_product_attention, attn_mask=attn_mask)
        if enable_gqa:
            key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], dim=1) for x in (key, value))
        self.joint += tokens > span.padded
        grid = token_rows(self.cells, self.family)
        return self.control.attend(query, key, value, grid, self.rows, scale, kernel, span).to(value.dtype)

    def _check_mask(self, mask: Tensor, span: Span) -> None:
        """Text may be masked, and padding; the image's own tokens not: S and E are about what they see."""
        if any(mask is known for known in self._checked):
            return
        image = mask[..., span.start : span.start + span.count] if mask.shape[-1] > 1 else mask
        if not bool((image if image.dtype.is_floating_point else ~image).eq(0).all()):
            raise SowError(
                "Something masks the image's tokens in the model's attention: remove it, or switch modulation off "
                "(--no-attention)."
            )
        self._checked.append(mask)
