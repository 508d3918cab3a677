"""The diffusion prior of CompoDiff (Gu et al. 2023, arXiv 2303.11916): the network, in the published layout.

It predicts the clean picture embedding from a noisy one and its time, looking at the text's states, the reference
picture's embedding and a mask. The sizes are settings, so that one class serves the published checkpoint and the
miniature; the tensors' names are the published ones, below `model.net.`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import SowError

EPS = 1e-5
COSINE_SCALE = 16.0
"""Self-attention compares unit vectors, times this."""
BUCKETS, FAR = 32, 128
"""Of the relative positions' bias (T5)."""
THETA = 10_000.0


@dataclass(frozen=True)
class PriorConfig:
    """Sizes; the defaults are the published checkpoint's.

    width: numbers of an embedding; text: of a text's state; mask: cells along a side of the mask.
    Raises SowError for sizes that no network can have.
    """

    width: int = 768
    depth: int = 12
    heads: int = 16
    head: int = 64
    cross_heads: int = 8
    text: int = 1280
    mask: int = 64
    mult: int = 4
    timesteps: int = 1000

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65536:
                raise SowError(f"Bad prior: {name} is {str(value)[:40]}; expected a whole number from 1 to 65536.")
        if self.width % 2 or self.head % 2:
            raise SowError(f"Bad prior: width {self.width} and head {self.head} must be even.")

    @staticmethod
    def from_dict(values: dict[str, Any]) -> PriorConfig:
        """Raises SowError for unknown names."""
        unknown = sorted(set(values) - set(asdict(PriorConfig())))
        if unknown:
            raise SowError(f"Bad prior: unknown size {', '.join(unknown)[:100]}; it was made by another version.")
        return PriorConfig(**values)


class Norm(nn.Module):
    """LayerNorm with a gain and no bias; `stable` divides by the largest entry first."""

    def __init__(self, width: int, stable: bool = False):
        super().__init__()
        self.stable = stable
        self.g = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        if self.stable:
            x = x / x.amax(-1, keepdim=True).detach()
        return F.layer_norm(x, x.shape[-1:], self.g, None, EPS)


def paces(size: int) -> Tensor:
    """How fast each pair of numbers turns with the position, [size / 2]."""
    return THETA ** (-torch.arange(0, size, 2).float() / size)


def rotate(x: Tensor) -> Tensor:
    """Rotary positions on the first (at most 32) numbers of each head, in neighbouring pairs. x: [..., N, D]."""
    size = min(32, x.shape[-1])
    angle = torch.arange(x.shape[-2]).float()[:, None] * paces(size)[None]
    cos, sin = angle.cos().to(x), angle.sin().to(x)
    a, b = x[..., :size:2], x[..., 1:size:2]
    turned = torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)
    return torch.cat((turned, x[..., size:]), -1)


class SelfAttention(nn.Module):
    """Many queries, one shared key and value head, a learned null among them; cosine similarity."""

    def __init__(self, c: PriorConfig):
        super().__init__()
        self.heads, inner = c.heads, c.heads * c.head
        self.norm = Norm(c.width)
        self.null_kv = nn.Parameter(torch.randn(2, c.head))
        self.to_q = nn.Linear(c.width, inner, bias=False)
        self.to_kv = nn.Linear(c.width, 2 * c.head, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, c.width, bias=False), Norm(c.width))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x: [B, N, width]; bias: [heads, N, N + 1]."""
        x = self.norm(x)
        q = rotate(self.to_q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2))
        k, v = self.to_kv(x).chunk(2, -1)
        k = torch.cat((self.null_kv[0].expand(len(x), 1, -1), rotate(k)), 1)
        v = torch.cat((self.null_kv[1].expand(len(x), 1, -1), v), 1)
        logits = COSINE_SCALE * F.normalize(q, dim=-1) @ F.normalize(k, dim=-1)[:, None].mT + bias
        out = logits.softmax(-1) @ v[:, None]
        return self.to_out(out.transpose(1, 2).flatten(-2))


class CrossAttention(nn.Module):
    """To the conditions, with a learned null among them."""

    def __init__(self, c: PriorConfig):
        super().__init__()
        self.heads, inner = c.cross_heads, c.cross_heads * c.head
        self.norm = Norm(c.width)
        self.null_kv = nn.Parameter(torch.randn(2, c.head))
        self.to_q = nn.Linear(c.width, inner, bias=False)
        self.to_kv = nn.Linear(c.width, 2 * inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, c.width, bias=False), Norm(c.width))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """x: [B, N, width]; context: [B, M, width]."""
        q = self.to_q(self.norm(x)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in self.to_kv(context).chunk(2, -1))
        k = torch.cat((self.null_kv[0].expand(*k.shape[:2], 1, -1), k), 2)
        v = torch.cat((self.null_kv[1].expand(*v.shape[:2], 1, -1), v), 2)
        out = F.scaled_dot_product_attention(q, k, v)
        return self.to_out(out.transpose(1, 2).flatten(-2))


class SwiGLU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x, gate = x.chunk(2, -1)
        return x * F.silu(gate)


def feed_forward(c: PriorConfig) -> nn.Sequential:
    """The two empty places keep the published numbering: 0 norm, 1 in, 5 out."""
    inner = c.mult * c.width
    return nn.Sequential(
        Norm(c.width), nn.Linear(c.width, 2 * inner, bias=False), SwiGLU(), nn.Identity(), nn.Identity(),
        nn.Linear(inner, c.width, bias=False),
    )  # fmt: skip


class PositionBias(nn.Module):
    """A learned bias per head for how far a key lies behind a query (T5, causal buckets)."""

    def __init__(self, heads: int):
        super().__init__()
        self.relative_attention_bias = nn.Embedding(BUCKETS, heads)

    def forward(self, queries: int, keys: int) -> Tensor:
        """[heads, queries, keys]"""
        weight = self.relative_attention_bias.weight
        behind = (torch.arange(queries)[:, None] - torch.arange(keys)[None]).clamp(min=0)
        half = BUCKETS // 2
        far = half + (torch.log(behind.clamp(min=1) / half) / math.log(FAR / half) * (BUCKETS - half)).long()
        bucket = torch.where(behind < half, behind, far.clamp(max=BUCKETS - 1))
        return weight[bucket.to(weight.device)].permute(2, 0, 1)


class Transformer(nn.Module):
    def __init__(self, c: PriorConfig):
        super().__init__()
        self.rel_pos_bias = PositionBias(c.heads)
        self.layers = nn.ModuleList(
            nn.ModuleList([SelfAttention(c), CrossAttention(c), feed_forward(c)]) for _ in range(c.depth)
        )
        self.norm = Norm(c.width, stable=True)
        self.project_out = nn.Linear(c.width, c.width, bias=False)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        bias = self.rel_pos_bias(x.shape[1], x.shape[1] + 1)
        for layer in self.layers:
            parts: list[Any] = list(layer.children())
            x = parts[0](x, bias) + x
            x = parts[1](x, context) + x
            x = parts[2](x) + x
        return self.project_out(self.norm(x))


class Mlp(nn.Module):
    """Two hidden layers of twice the output's width."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        hidden = 2 * width
        self.net = nn.Sequential(
            nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU()),
            nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU()),
            nn.Linear(hidden, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Sinusoid(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.count = width // 2

    def forward(self, times: Tensor) -> Tensor:
        rate = -math.log(THETA) / max(self.count - 1, 1)
        pace = torch.exp(torch.arange(self.count, device=times.device) * rate)
        angle = times.float()[:, None] * pace[None]
        return torch.cat((angle.sin(), angle.cos()), -1)


class PriorNet(nn.Module):
    """Predicts the clean embedding. `embedded_time`: the times are looked up in a table instead of computed (older
    checkpoints of this layout)."""

    def __init__(self, config: PriorConfig, embedded_time: bool = False):
        super().__init__()
        self.config = c = config
        self.to_text_embeds = nn.Sequential(nn.Linear(c.text, c.width))
        time = nn.Embedding(c.timesteps, c.width) if embedded_time else nn.Sequential(
            Sinusoid(c.width), Mlp(c.width, c.width))  # fmt: skip
        self.to_time_embeds = nn.Sequential(time)
        self.to_mask_embeds = nn.Sequential(nn.Flatten(1), Mlp(c.mask * c.mask, c.width))
        self.transformer = Transformer(c)

    def forward(self, noisy: Tensor, times: Tensor, text: Tensor, image: Tensor, mask: Tensor) -> Tensor:
        """The clean embedding [B, width] as guessed.

        noisy: [B, width]; times: [B] whole numbers from 0 to timesteps - 1; text: [B, T, text] states of every
        token, the padding's as well (as published: no mask on the texts); image: [B, width], zeros for none;
        mask: [B, mask, mask], 1 = to be ignored.
        """
        tokens = torch.stack((noisy, self.to_time_embeds(times)), 1)
        context = torch.cat((self.to_text_embeds(text), image[:, None], self.to_mask_embeds(mask)[:, None]), 1)
        return self.transformer(tokens, context)[:, 0]
