"""The nearest vectors by one matrix product, chunk by chunk: exact, memory bounded, no index library.

A few hundred thousand pictures take a fraction of a second on one core. From about a million on, an approximate
index (FAISS, HNSW) would start to pay.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from ..errors import SowError
from .index import CHUNK

CACHED = 1024
"""Vectors that are widened to float32 at a time."""
SLACK = 1.02
"""Largest cosine that rounding to float16 can make; more means that a vector is none."""


def nearest(vectors: np.ndarray, query: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the `count` largest cosines, falling, and the cosines; equal ones by row.

    vectors: [M, D] float16 unit vectors, read once in chunks; query: [D] float32, a unit vector.
    Raises SowError if a vector is none (a damaged index), the query's length differs, or count < 1.
    """
    if count < 1:
        raise SowError(f"Bad count {count}: expected at least 1 picture to find.")
    if vectors.ndim != 2 or query.shape != vectors.shape[1:]:
        raise SowError(f"Bad query: expected {list(vectors.shape[1:])} numbers, got {list(query.shape)}; re-index.")
    wanted = torch.from_numpy(np.array(query, np.float32))
    rows, scores = np.zeros(0, np.int64), np.zeros(0, np.float32)
    room = torch.empty(min(CACHED, len(vectors)), vectors.shape[1])
    for first in range(0, len(vectors), CHUNK):
        found = _cosines(_halves(vectors[first : first + CHUNK]), wanted, room)
        if not bool((found.abs() <= SLACK).all()):
            raise SowError("The index holds vectors that are none: damaged; make it again with `sow index --anew`.")
        least = torch.topk(found, min(count, len(found))).values[-1]  # which of equal ones topk takes is chance
        good = (found >= least).nonzero()[:, 0]
        rows = np.concatenate((rows, good.numpy() + first))
        scores = np.concatenate((scores, found[good].numpy()))
        order = np.lexsort((rows, -scores))[:count]
        rows, scores = rows[order], scores[order]
    return rows, scores


def _cosines(halves: Tensor, query: Tensor, room: Tensor) -> Tensor:
    """Products [n] of vectors [n, D] float16 with a query, widened in `room`, which stays in the processor's cache.

    Widening all of them at once takes ten times as long, nearly all of it for fresh memory.
    """
    found = query.new_empty(len(halves))
    for first in range(0, len(halves), len(room)):
        part = halves[first : first + len(room)]
        wide = room[: len(part)].copy_(part)
        torch.mv(wide, query, out=found[first : first + len(part)])
    return found


def _halves(chunk: np.ndarray) -> Tensor:
    """A chunk as a tensor over the same memory; a read-only map is fine, for nothing is written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(chunk)
