"""The learned match of the demo world: which picture does an instruction make of another one?

Gated fusion of the picture before and the instruction, after CDD-ICM (arXiv 2304.02192) and the question answering
reader that it took it from: f(u, v) = g * h + (1 - g) * u, with h and g from [u; v; u * v; u - v]; it is compared
with the picture after by a cosine. Trained by `tools.demo_model.train_match`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..assets import asset_folder
from ..errors import SowError

if TYPE_CHECKING:
    from .resolve import Turn

SIDE = 64
"""px of the pictures it looks at."""
WIDTH = 96
FILE = "match.safetensors"
MOST_LOGIT = 100.0
"""The learned temperature is clamped there [code of CDD-ICM, after CLIP]."""


class PictureNet(nn.Module):
    """[B, 3, SIDE, SIDE] in 0..1 -> [B, WIDTH]; places are kept up to the last layer."""

    def __init__(self) -> None:
        super().__init__()
        layers = ((3, 32, 2), (32, 64, 2), (64, 96, 2), (96, 96, 1))
        self.body = nn.Sequential(*(m for a, b, stride in layers for m in _conv(a, b, stride)))
        self.squeeze = nn.Conv2d(96, 24, 1)
        self.out = nn.Linear(24 * 64, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.relu(self.squeeze(self.body(x * 2 - 1))).flatten(1))


def _conv(a: int, b: int, stride: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)


class TextNet(nn.Module):
    """Word numbers [B, L] (0: padding) -> [B, WIDTH]."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, 64, padding_idx=0)
        self.read = nn.GRU(64, 80, batch_first=True)
        self.out = nn.Linear(80, WIDTH)

    def forward(self, ids: Tensor) -> Tensor:
        states, _ = self.read(self.words(ids))
        length = (ids > 0).sum(1).clamp(min=1) - 1
        return self.out(states[torch.arange(len(ids)), length])


class MatchNet(nn.Module):
    def __init__(self, words: int) -> None:
        super().__init__()
        self.picture, self.text = PictureNet(), TextNet(words)
        self.h, self.g = nn.Linear(4 * WIDTH, WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.log_scale = nn.Parameter(torch.tensor(2.5))

    def query(self, before: Tensor, ids: Tensor) -> Tensor:
        """Unit vectors [B, WIDTH] of what the picture should become."""
        u, v = self.picture(before), self.text(ids)
        both = torch.cat([u, v, u * v, u - v], 1)
        g = self.g(both).sigmoid()
        return F.normalize(g * torch.tanh(self.h(both)) * u.norm(dim=1, keepdim=True) + (1 - g) * u, dim=1)

    def target(self, after: Tensor) -> Tensor:
        """Unit vectors [B, WIDTH] of pictures."""
        return F.normalize(self.picture(after), dim=1)

    @property
    def scale(self) -> Tensor:
        return self.log_scale.exp().clamp(max=MOST_LOGIT)


def split_words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9-]+", text.lower())


def encode_words(texts: Sequence[str], vocabulary: Sequence[str]) -> Tensor:
    """[B, L] numbers of known words, from 1; unknown words are left out."""
    number = {word: n for n, word in enumerate(vocabulary, 1)}
    rows = [[number[w] for w in split_words(t) if w in number] or [0] for t in texts]
    length = max(map(len, rows))
    return torch.tensor([row + [0] * (length - len(row)) for row in rows])


class DemoMatch:
    """The match of the demo world, for choosing among candidates and for guiding them."""

    name = "demo"
    enough: float | None = None

    def __init__(self, net: MatchNet, vocabulary: Sequence[str]) -> None:
        self.net, self.vocabulary = net.eval(), tuple(vocabulary)

    @classmethod
    def load(cls, folder: str | Path | None = None) -> DemoMatch:
        """From models/demo/match, or another folder that train_match wrote. Raises SowError."""
        from safetensors import safe_open

        path = Path(folder or asset_folder("models") / "demo" / "match") / FILE
        if not path.is_file():
            raise SowError(
                f"There is no learned match in {path.parent}; give a CLIP folder, or --match own."
            )
        try:
            with safe_open(path, "pt") as file:
                vocabulary = json.loads((file.metadata() or {})["words"])
                state: dict[str, Any] = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 - no mapping
            net = MatchNet(len(vocabulary) + 1)
            net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
        except Exception as error:
            raise SowError(
                f"{path} is no match of the demo world ({str(error)[:80]}); fetch it again."
            ) from error
        return cls(net, vocabulary)

    @torch.no_grad()
    def scores(self, before: Tensor, turn: Turn, after: Tensor) -> Tensor:
        return self.likeness(before, turn)(after)

    def likeness(self, before: Tensor, turn: Turn) -> Callable[[Tensor], Tensor]:
        with torch.no_grad():
            query = self.net.query(_small(before[None]), encode_words([turn.instruction], self.vocabulary))
        return lambda after: (self.net.target(_small(after)) @ query.T)[:, 0]


def _small(images: Tensor) -> Tensor:
    if tuple(images.shape[-2:]) == (SIDE, SIDE):
        return images.float()
    return F.interpolate(images.float(), (SIDE, SIDE), mode="bilinear", antialias=True)
