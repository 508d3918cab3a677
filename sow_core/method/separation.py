"""Keeping the things of one prompt apart: losses on the cross-attention of their words, and how far to step.

After "Separate-and-Enhance" (arXiv 2312.06712), from its formulas, as guidance at inference instead of its training:
before a denoising step the state is moved against the gradient of

    L = L_sep + beta L_en
    L_sep = max over pairs i < j, heads, cells of A_i A_j / (A_i + A_j + eps)       in [0, 1/4]
    L_en  = 1 - min over concepts k of max over heads, cells of (G * A_k)           in [0, 1]

where A_k is the softmax attention that the cells pay to the tokens of concept k, and G a 3 x 3 Gaussian. L_sep is
large where two things want one place, L_en where one of them has none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import SowError
from ..outside.records import check_record, read_record, require

if TYPE_CHECKING:
    from torch import Tensor

MOST_CONCEPTS = 8
BLUR = (0.2119, 0.5761, 0.2119)
"""The Gaussian G in one dimension [paper: 3 x 3]."""
EPS = 1e-6


@dataclass(frozen=True)
class Separation:
    """How strongly the named things of a prompt are kept apart.

    strength: how far the state moves at the first separated step, in rms of one step's noise-scale units (a normalised
      gradient [ours]); it falls by sqrt(1 .. 1/2) over the run's separated steps [paper's schedule]. 0: off.
    beta: weight of the enhancement, .5 [paper]. until: the lowest level that is separated: the layout is settled by
      then [ours]. enough: no step is made where L is below this already [ours].
    depth: halvings of the latent grid at which the attention is read: 2 is 16 x 16 on a 64 x 64 latent [paper].
    """

    strength: float = 0.3
    beta: float = 0.5
    until: int = 5
    enough: float = 0.2
    depth: int = 2

    def __post_init__(self) -> None:
        """Raises SowError for a value of another type or out of its range."""
        check_record(self, "separate.")
        ranges = {"strength": (0, 10), "beta": (0, 10), "until": (1, 1000), "enough": (0, 2), "depth": (0, 6)}
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            require(low <= value <= high, f"separate.{name}", value, f"{low} to {high}")

    @property
    def active(self) -> bool:
        return self.strength > 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Separation:
        """Raises SowError on an unknown key or a bad value."""
        return read_record(cls, dict(values), strict=True)


def step_sizes(strength: float, steps: int) -> tuple[float, ...]:
    """The length of each separated step of a run: strength * sqrt(1 .. 1/2)."""
    if steps == 1:
        return (strength,)
    return tuple(strength * math.sqrt(1.0 - 0.5 * n / (steps - 1)) for n in range(steps))


def grid_of(cells: tuple[int, int], depth: int) -> tuple[int, int]:
    """(rows, columns) of the attention tokens `depth` halvings below a latent of `cells`."""
    rows, columns = cells
    for _ in range(depth):
        rows, columns = math.ceil(rows / 2), math.ceil(columns / 2)
    return rows, columns


def separation_loss(maps: Tensor) -> Tensor:
    """L_sep [] of attention maps [K, heads, h, w] of K concepts; 0 for one."""
    losses = [
        (maps[i] * maps[j] / (maps[i] + maps[j] + EPS)).amax()
        for i in range(len(maps))
        for j in range(i + 1, len(maps))
    ]
    if not losses:
        return maps.sum() * 0.0
    return _stacked(losses).amax()


def enhancement_loss(maps: Tensor) -> Tensor:
    """L_en [] of attention maps [K, heads, h, w]: how little the least attended concept is attended anywhere."""
    import torch.nn.functional as F

    line = maps.new_tensor(BLUR)
    kernel = (line[:, None] * line[None, :])[None, None]
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    blurred = F.conv2d(flat, kernel, padding=1).reshape(len(maps), -1)
    return 1.0 - blurred.amax(dim=1).amin()


def loss(maps: Tensor, beta: float) -> Tensor:
    """L [] of attention maps [K, heads, h, w]."""
    return separation_loss(maps) + beta * enhancement_loss(maps)


def concept_maps(probabilities: Sequence[Tensor], tokens: Sequence[Sequence[int]], grid: tuple[int, int]) -> Tensor:
    """Maps [K, heads, h, w] from layers' cross-attention [heads, h*w, text] at one grid: a concept's tokens and the
    layers averaged, the heads kept apart (layers of another number of heads are averaged over theirs first)."""
    heads = {p.shape[0] for p in probabilities}
    same = list(probabilities) if len(heads) == 1 else [p.mean(dim=0, keepdim=True) for p in probabilities]
    mean = _stacked(same).mean(dim=0)
    return _stacked([mean[:, :, list(t)].mean(dim=2).reshape(mean.shape[0], *grid) for t in tokens])


def step(x: Tensor, gradient: Tensor, size: float, free: Tensor) -> Tensor:
    """The state [N, C, h, w] moved by `size` (rms over the free cells) against the gradient, where `free` is 1."""
    import torch

    direction = gradient.float() * free
    count = free.expand_as(direction).sum(dim=(1, 2, 3), keepdim=True).clamp(min=1.0)
    rms = (direction.square().sum(dim=(1, 2, 3), keepdim=True) / count).sqrt()
    moved = x - size * direction / rms.clamp(min=1e-12)
    # A gradient of 0 says nothing, and one that is not finite (half precision) must not spread.
    usable = torch.isfinite(moved).flatten(1).all(dim=1)[:, None, None, None] & (rms > 1e-12)
    return torch.where(usable, moved, x)


def find_tokens(prompt: Sequence[int], concept: Sequence[int]) -> tuple[int, ...]:
    """Where the tokens of a concept stand in those of the prompt, at their first place; () if nowhere."""
    length = len(concept)
    for start in range(len(prompt) - length + 1 if length else 0):
        if list(prompt[start : start + length]) == list(concept):
            return tuple(range(start, start + length))
    return ()


def parse_concepts(text: str | Sequence[str]) -> tuple[str, ...]:
    """Words or short phrases from "hat, glasses" or a list. Raises SowError unless they are 2 to 8 different ones.

    One alone is allowed too: it has nothing to be kept apart from, but can be enhanced.
    """
    parts = text.split(",") if isinstance(text, str) else list(text)
    words = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if not 1 <= len(words) <= MOST_CONCEPTS:
        wanted = f'1 to {MOST_CONCEPTS} words of the prompt, as in "hat, glasses"'
        raise SowError(f"Bad --separate {str(text)[:60]!r}: expected {wanted}.")
    return words


def _stacked(parts: list[Tensor]) -> Tensor:
    import torch

    return torch.stack(parts)
