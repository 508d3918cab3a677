"""How long an exact search takes, beside plain numpy on the same vectors, and how much memory it adds."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import alternate
from sow_core.retrieval.index import CHUNK, Entry, Index, read_index, write_index
from sow_core.retrieval.search import nearest

WIDTH, TOP, ROUNDS = 768, 10, 7
"""CLIP ViT-L's width."""


def measure(count: int) -> dict[str, Any]:
    """`count` vectors, float16, memory-mapped from an index file in the disk cache."""
    rng = np.random.default_rng(0)
    vectors = np.empty((count, WIDTH), np.float16)
    for first in range(0, count, CHUNK):
        part = rng.standard_normal((min(CHUNK, count - first), WIDTH), np.float32)
        vectors[first : first + CHUNK] = part / np.linalg.norm(part, axis=1, keepdims=True)
    query = np.array(vectors[17], np.float32)
    query /= np.linalg.norm(query)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.safetensors"
        entries = tuple(Entry(f"{i}.png", 1, 1, bytes(32), i) for i in range(count))
        write_index(path, Index(entries, vectors, "e", "e"))
        mapped = read_index(path).vectors
        whole = vectors.astype(np.float32)

        def plain(matrix: np.ndarray) -> np.ndarray:
            scores = matrix @ query
            best = np.argpartition(scores, -TOP)[-TOP:]
            return best[np.argsort(-scores[best])]

        assert nearest(mapped, query, TOP)[0].tolist() == plain(whole).tolist()
        durations = alternate(
            {
                "numpy, float32 in memory": lambda: plain(whole),
                "this search, float16 memory-mapped": lambda: nearest(mapped, query, TOP),
                "numpy, float16 to float32 at once": lambda: plain(mapped.astype(np.float32)),
            },
            ROUNDS,
        )
    return {
        "vectors": count, "width": WIDTH, "megabytes_on_disk": round(count * WIDTH * 2 / 1e6),
        "megabytes_of_numpy_float32": round(count * WIDTH * 4 / 1e6), **durations.as_dict(),
    }  # fmt: skip
