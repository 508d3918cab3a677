"""Self-attention with and without modulation: the time of each way to compute it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sow_core.method.attention import attend_minmax
from sow_core.method.box import Box
from sow_core.method.modulation import AttentionControl, Modulation
from sow_core.method.regions import Regions

from .timing import alternate

ROWS = ("negative", "positive")
HEAD = 64
GRIDS = {4096: 10, 1024: 20, 256: 40}
"""Tokens: heads. The layers of a 512-px SD model; the first decides the cost at 512 px."""


def control_for(side: int, device: str) -> AttentionControl:
    """A face-sized condition in the middle of a square latent of `side` cells, its body related."""
    half = side // 2
    box, body = Box(half * 4, half * 2, half * 8, half * 8), Box(half * 2, half * 10, half * 12, half * 6)
    mask = torch.ones(half, half)
    regions = Regions.build([mask], [box], [[body]], side, side)
    control = AttentionControl(regions, Modulation(), 1, torch.device(device))
    control.begin(0)
    return control


def variants(tokens: int, heads: int, dtype: torch.dtype, device: str) -> dict[str, Callable[[], Any]]:
    """The same layer computed in each way; two rows, of which the positive one is modulated."""
    side = math.isqrt(tokens)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, heads, tokens, HEAD, generator=generator).to(device, dtype) for _ in range(3))
    control = control_for(side, device)
    u, w = control.vectors((side, side), ROWS, dtype)
    suppress, enhance, mass = control.matrices((side, side), ROWS)
    # The other forms have no way to leave a row out: its bias is zero.
    suppress, enhance = (torch.cat([torch.zeros_like(x), x]) for x in (suppress, enhance))
    bias = (u.float() @ w.float().T)[:, None].to(dtype)
    bias = torch.cat([torch.zeros_like(bias), bias])

    def explicit() -> Tensor:
        weights = (q @ k.transpose(-1, -2) / math.sqrt(HEAD) + bias).softmax(dim=-1)
        return weights @ v

    return {
        "plain": lambda: F.scaled_dot_product_attention(q, k, v),
        "low rank with mass (ours)": lambda: control.attend(q, k, v, (side, side), ROWS),
        "N x N bias, fused": lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=bias),
        "N x N bias, explicit": explicit,
        "min-max, explicit (DenseDiffusion's form)": lambda: attend_minmax(q, k, v, suppress, enhance, mass),
    }


def measure(rounds: int, device: str, dtypes: tuple[torch.dtype, ...], grids: dict[int, int]) -> list[dict[str, Any]]:
    """One entry per dtype and number of tokens."""
    results = []
    for dtype in dtypes:
        for tokens, heads in grids.items():
            with torch.inference_mode():
                times = alternate(variants(tokens, heads, dtype, device), rounds, device)
            entry = {"tokens": tokens, "heads": heads, "dtype": str(dtype).removeprefix("torch.")}
            results.append({**entry, "variants": times.as_dict()})
            print(f"{tokens} tokens x {heads} heads, {entry['dtype']}:", flush=True)
            for name in times.seconds:
                print(f"  {name:<42}{1e3 * times.median(name):9.1f} ms {times.ratio(name):7.2f}x", flush=True)
    return results
