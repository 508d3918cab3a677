"""Attention with and without modulation: the time of each way to compute it, and the memory of the joint one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sow_core.method.attention import attend_minmax
from sow_core.method.box import Box
from sow_core.method.joint import Span
from sow_core.method.modulation import AttentionControl, Modulation
from sow_core.method.regions import Regions

from .timing import alternate

ROWS = ("negative", "positive")
HEAD = 64
GRIDS = {4096: 10, 1024: 20, 256: 40}
"""Tokens: heads. The layers of a 512-px SD model; the first decides the cost at 512 px."""


JOINT = {"tokens": 4096, "text": 512, "head": 128, "heads": 4}
"""A joint call of a transformer at 1024 px: image and text tokens, width and number of heads (Flux.1 has 24)."""


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


def joint_variants(
    tokens: int, text: int, head: int, heads: int, dtype: torch.dtype, device: str
) -> dict[str, Callable[[], Any]]:
    """One joint call of the positive row, text first, as a transformer's native node or backend computes it."""
    side, whole = math.isqrt(tokens), tokens + text
    span = Span(text, tokens, tokens)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, heads, whole, head, generator=generator).to(device, dtype) for _ in range(3))
    control = control_for(side, device)
    u, w = control.vectors((side, side), ROWS[1:], dtype, span, whole)

    def masked() -> Tensor:
        bias = (u.float() @ w.float().T)[:, None].to(dtype)  # of every layer anew: kept for all, it is the memory
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)

    return {
        "plain": lambda: F.scaled_dot_product_attention(q, k, v),
        "low rank with mass (ours)": lambda: control.attend(q, k, v, (side, side), ROWS[1:], span=span),
        "N x N bias, fused": masked,
    }


def measure_joint(
    rounds: int, device: str, dtypes: tuple[torch.dtype, ...], size: dict[str, int]
) -> list[dict[str, Any]]:
    """One entry per dtype: the times, and the most memory that each way needs beyond q, k and v, in sizes of q."""
    results = []
    for dtype in dtypes:
        ways = joint_variants(**size, dtype=dtype, device=device)
        with torch.inference_mode():
            times = alternate(ways, rounds, device)
            memory = {name: round(memory_of(way, size, dtype, device), 2) for name, way in ways.items()}
        entry: dict[str, Any] = {**size, "dtype": str(dtype).removeprefix("torch.")}
        results.append({**entry, "variants": times.as_dict(), "memory_of_q": memory})
        print(f"joint, {size['tokens']} + {size['text']} tokens x {size['heads']} heads of {size['head']}, "
              f"{entry['dtype']}:", flush=True)  # fmt: skip
        for name in times.seconds:
            print(f"  {name:<42}{1e3 * times.median(name):9.1f} ms {times.ratio(name):7.2f}x "
                  f"{memory[name]:7.2f} q", flush=True)  # fmt: skip
    return results


def memory_of(way: Callable[[], Any], size: dict[str, int], dtype: torch.dtype, device: str) -> float:
    """The most that `way` allocates, in sizes of q: an N x N matrix would grow with the tokens."""
    tokens = size["tokens"] + size["text"]
    return most_allocated(way, device) / (tokens * size["head"] * size["heads"] * dtype.itemsize)


def most_allocated(way: Callable[[], Any], device: str) -> int:
    """Bytes that `way` has allocated at most at one time, by PyTorch's own count of every allocation."""
    if device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        way()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(profile_memory=True) as profile:
        way()
    now = most = 0
    for event in profile.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


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
