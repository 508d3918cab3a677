"""F1 of the things that are there and RSIM of where they stand (El-Nouby et al. 2019, as in CDD-ICM's code)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

Places = Mapping[str, tuple[float, float]]
"""Middle of each thing by its name, as shares of the canvas."""


def counts(asked: Sequence[str], shown: Sequence[str]) -> tuple[float, float, float]:
    """Precision, recall and F1 of one picture's names, counted as multisets; of two empty ones 1."""
    hits = sum((Counter(asked) & Counter(shown)).values())
    if not asked and not shown:
        return 1.0, 1.0, 1.0
    precision, recall = hits / max(len(shown), 1), hits / max(len(asked), 1)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-12)


def rsim(asked: Places, shown: Places) -> float:
    """Relational similarity, 0 to 1: recall of the asked things, times the share of their relations that hold.

    Over the things that are asked and shown, G[i, j] = sign(p_i - p_j) for x and for y, with sign(p_i - .5) on the
    diagonal; the share of entries of both matrices in which the picture's agree with the asked ones.
    """
    both = [name for name in asked if name in shown]
    if not both:
        return 0.0
    same = []
    for axis in (0, 1):
        want, have = (np.array([places[name][axis] for name in both]) for places in (asked, shown))
        same.append(_signs(want) == _signs(have))
    return len(both) / len(asked) * float(np.mean(same))


def _signs(p: np.ndarray) -> np.ndarray:
    signs = np.sign(p[:, None] - p[None, :])
    np.fill_diagonal(signs, np.sign(p - 0.5))
    return signs
