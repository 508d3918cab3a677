"""Modulated attention without an N x N tensor, and the explicit forms it is checked against.

The bias of Eq. 8 in its additive form is low rank: beta_ij = u_i . w_j, one channel a condition. Appending u
to the queries and w to the keys adds it to the logits of *any* fused attention kernel, and appending an
indicator to the values returns, per query, the attention mass on that region (Eq. 7) from the same call.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

ALIGN = 8
"""Head dimensions of fused kernels on accelerators come in multiples of 8; PyTorch's on the CPU in any."""

Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]
"""softmax(q k^T / sqrt(width)) v of [B, H, T, width] tensors: a host's own attention."""


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    u: Tensor | None = None,
    w: Tensor | None = None,
    probe: Tensor | None = None,
    scale: float | None = None,
    kernel: Kernel | None = None,
) -> tuple[Tensor, Tensor | None]:
    """softmax(scale q k^T + u w^T) v, and the attention mass on the probed regions.

    q, k, v: [B, H, T, d]; u: [B, T, r] and w: [T, r] in nats, or both None; probe: [T, p] weights 0..1,
    or None; scale: 1 / sqrt(d) by default. Returns ([B, H, T, d], [B, H, T, p] or None).
    kernel: what computes softmax(q k^T / sqrt(width)) v instead of PyTorch's fused attention (a host's own).
    Without u the output is the plain kernel's, bit for bit.
    """
    d = q.shape[-1]
    scale = 1.0 / math.sqrt(d) if scale is None else scale

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if kernel is None:
            return F.scaled_dot_product_attention(q, k, v, scale=scale)
        own = math.sqrt(q.shape[-1])  # the kernel divides by it, whatever width it is handed
        return kernel(q if math.isclose(scale * own, 1.0) else q * (scale * own), k, v)

    if u is None or w is None:
        out = run(q, k, v)
        if probe is None:
            return out, None
        values = q.new_zeros(*k.shape[:-1], d)
        values[..., : probe.shape[-1]] = probe
        return out, run(q, k, values)[..., : probe.shape[-1]]
    rank = max(u.shape[-1], probe.shape[-1] if probe is not None else 0)
    align = 1 if kernel is None and q.device.type == "cpu" else ALIGN
    extra = -(-rank // align) * align
    q2 = _widened(q, None if u is None else u[:, None] / scale, extra)
    k2 = _widened(k, w, extra)
    v2 = _widened(v, probe, extra)
    out = run(q2, k2, v2)
    return out[..., :d], None if probe is None else out[..., d : d + probe.shape[-1]]


def _widened(x: Tensor, tail: Tensor | None, extra: int) -> Tensor:
    """[..., d] -> [..., d + extra]: `tail` (broadcast over batch and heads) and zeros behind it."""
    d = x.shape[-1]
    out = x.new_empty(*x.shape[:-1], d + extra)
    out[..., :d] = x
    used = 0
    if tail is not None:
        used = tail.shape[-1]
        out[..., d : d + used] = tail
    out[..., d + used :] = 0
    return out


def attend_reference(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None, probe: Tensor | None = None, scale: float | None = None
) -> tuple[Tensor, Tensor | None]:
    """`attend` written out with its N x N matrix; bias [B, T, T]. For tests and benchmarks."""
    logits = _logits(q, k, scale)
    weights = (logits if bias is None else logits + bias[:, None]).softmax(dim=-1)
    return weights.to(v.dtype) @ v, None if probe is None else weights @ probe.to(weights.dtype)


def attend_minmax(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    suppress: Tensor,
    enhance: Tensor,
    probe: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Eq. 8 read literally: each row's logits min-max normalised, modulated, scaled back.

    A' = A + E (max_j A - A) - S (A - min_j A) is the same thing in one line, and DenseDiffusion's formula.
    suppress, enhance: S and E, [B, T, T], 0..1. Holds N x N tensors: the reference, not the default.
    """
    logits = _logits(q, k, scale)
    high = logits.amax(dim=-1, keepdim=True)
    low = logits.amin(dim=-1, keepdim=True)
    logits = logits + enhance[:, None] * (high - logits) - suppress[:, None] * (logits - low)
    weights = logits.softmax(dim=-1)
    return weights.to(v.dtype) @ v, None if probe is None else weights @ probe.to(weights.dtype)


def _logits(q: Tensor, k: Tensor, scale: float | None) -> Tensor:
    scale = 1.0 / math.sqrt(q.shape[-1]) if scale is None else scale
    return torch.matmul(q.float(), k.float().transpose(-1, -2)) * scale
