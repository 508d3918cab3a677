"""The demo world's two encoders: a small convolutional net for pictures, a small transformer for texts.

Both end in one space: a picture and its caption point the same way. Trained by `tools/demo_model/train_encoders`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 128
"""px along a side of what the picture net sees."""
WIDTH = 128
"""Numbers in an embedding, and in a state of a text."""
TOKENS = 48
"""Longest text in tokens; the longest caption of the world has fewer."""


def conv(a: int, b: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True))


class Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.a, self.b = conv(width, width), nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.b(self.a(x))))


class PictureNet(nn.Module):
    """Pictures [N, 3, 128, 128] in -1..1 -> [N, 128]. Its last map is 4 x 4 cells, so that places count."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(3, 24, 2), conv(24, 48, 2), conv(48, 64, 2), Residual(64), Residual(64),
            conv(64, 80, 2), Residual(80), Residual(80),
        )  # fmt: skip
        self.out = nn.Linear(80 * 16, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.avg_pool2d(self.body(x), 2).flatten(1))


class TextNet(nn.Module):
    """Tokens [N, T] and how many count [N] -> the text's embedding [N, 128] and its states [N, T, 128]."""

    def __init__(self, vocabulary: int, depth: int = 2) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, WIDTH)
        self.place = nn.Parameter(torch.zeros(TOKENS, WIDTH))
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        nn.init.normal_(self.token.weight, std=0.3)
        nn.init.normal_(self.place, std=0.1)

    def forward(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        at = torch.arange(tokens.shape[1], device=tokens.device)
        padding = at[None] >= lengths[:, None]
        x = self.token(tokens) + self.place[: tokens.shape[1]]
        x = self.norm(self.layers(x, src_key_padding_mask=padding))
        states = x.masked_fill(padding[..., None], 0.0)
        return self.out(states.sum(1) / lengths[:, None]), states
