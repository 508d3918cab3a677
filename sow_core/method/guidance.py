"""Classifier-free guidance as an object apart from sampling: which rows a call needs, how they combine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

POSITIVE, NEGATIVE, EMPTY, SUPPRESS, DIVERSE = "positive", "negative", "empty", "suppress", "diverse"


@dataclass(frozen=True)
class Guidance:
    """One call's guidance: scale `w`, an optional other scale inside the condition, COW's two extra rows.

    inside: scale on the cells of the condition (None: `scale` everywhere). 1 keeps the inverted
      condition nearly exact in the refine, because an inversion at w = 1 only retraces itself at w = 1.
    negative: which row is guided away from: "negative" or "empty".
    extra: adds (w - 1)(diverse - suppress) outside the condition: the predecessor's four-row guidance,
      not in either paper.
    picture: scale of a guidance towards the condition [ours, not in the paper]: what the positive row says more
      outside the condition than it says of the same state with the condition blanked out; one more call, of a
      single row.
    embedded: False: a model that is told its guidance as a number (Flux dev) is told 1, which is none; others have
      nothing to be told.
    """

    scale: float = 7.5
    inside: float | None = None
    negative: str = NEGATIVE
    extra: bool = False
    picture: float = 0.0
    embedded: bool = True

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows of one batched model call; only the positive one where guidance is 1."""
        if self.scale == 1.0 and self.inside in (None, 1.0):
            return (POSITIVE,)
        rows = (self.negative, POSITIVE)
        return (*rows, SUPPRESS, DIVERSE) if self.extra else rows

    def combine(self, eps: Tensor, inside: Tensor | None, blank: Tensor | None = None) -> Tensor:
        """`eps` [R, N, C, h, w] in the order of `rows` -> [N, C, h, w].

        `inside` [1, 1, h, w] is 1 on the cells of the condition; None where there is none (a crop).
        `blank` [N, C, h, w]: the positive row's answer without the condition, where `picture` is above 0.
        """
        guided = self._guided(eps, inside)
        if blank is None or inside is None:
            return guided
        return guided + self.picture * (1.0 - inside) * (eps[self.rows.index(POSITIVE)] - blank)

    def _guided(self, eps: Tensor, inside: Tensor | None) -> Tensor:
        import torch

        if len(self.rows) == 1:
            return eps[0]
        negative, positive = eps[0], eps[1]
        weight: Tensor | float = self.scale
        if self.inside is not None and inside is not None:
            weight = torch.where(inside > 0.5, self.inside, self.scale)
        if self.extra:
            shift = eps[2] - eps[3]
            negative = negative + (shift if inside is None else shift * (1.0 - inside))
        return negative + weight * (positive - negative)


def all_rows(guidances: Sequence[Guidance]) -> tuple[str, ...]:
    """Every row name that a run will ask for, each once, in the order of first use."""
    return tuple(dict.fromkeys(name for g in guidances for name in g.rows))
