"""Exact search against plain numpy; fusion's arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sow_core.errors import SowError
from sow_core.retrieval import search
from sow_core.retrieval.fusion import fuse


def rows(count, width, seed=0):
    x = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float16)


@given(st.integers(1, 200), st.integers(1, 12), st.integers(1, 30), st.integers(0, 99), st.integers(1, 64))
@settings(max_examples=60, deadline=None)
def test_the_same_as_sorting_all(count, width, top, seed, chunk):
    vectors = rows(count, width, seed)
    query = rows(1, width, seed + 1)[0].astype(np.float32)
    old = search.CHUNK, search.CACHED
    search.CHUNK, search.CACHED = chunk, chunk // 3 + 1
    try:
        found, scores = search.nearest(vectors, query, top)
    finally:
        search.CHUNK, search.CACHED = old
    expected = np.sort(vectors.astype(np.float32) @ query)[::-1][:top]
    assert np.allclose(scores, expected, atol=1e-5)
    assert np.allclose(vectors[found].astype(np.float32) @ query, scores, atol=1e-5)
    assert len(set(found.tolist())) == len(found) == min(top, count)


def test_equal_scores_go_by_row():
    vectors = np.tile(rows(1, 4), (9, 1))
    assert search.nearest(vectors, vectors[0].astype(np.float32), 3)[0].tolist() == [0, 1, 2]


def test_memory_is_bounded(tmp_path):
    """The whole of the vectors is never in memory: a chunk at a time is all that a search asks for."""
    vectors = rows(500, 8)

    class Watched(np.ndarray):
        asked: list[int] = []

        def __getitem__(self, key):
            part = np.asarray(self).__getitem__(key)
            Watched.asked.append(len(part))
            return part

    old, search.CHUNK = search.CHUNK, 64
    try:
        search.nearest(vectors.view(Watched), vectors[3].astype(np.float32), 2)
    finally:
        search.CHUNK = old
    assert Watched.asked and max(Watched.asked) == 64


@pytest.mark.parametrize("bad", [np.nan, np.inf, 40.0])
def test_vectors_that_are_none_are_noticed(bad):
    vectors = rows(40, 4)
    vectors[17, 2] = bad
    with pytest.raises(SowError, match="damaged"):
        search.nearest(vectors, np.full(4, 0.5, np.float32), 3)


def test_bad_calls():
    with pytest.raises(SowError, match="at least 1"):
        search.nearest(rows(3, 4), np.ones(4, np.float32), 0)
    with pytest.raises(SowError, match="re-index"):
        search.nearest(rows(3, 4), np.ones(5, np.float32), 1)


E3 = torch.eye(3)


def test_fusion_adds_unit_vectors():
    made = fuse(E3[0] * 7, E3[1] * 0.2, E3[2], 2.0, 1.0)
    assert torch.allclose(made, torch.tensor([2.0, 1.0, -1.0]) / 6**0.5)
    assert torch.allclose(fuse(E3[0] * 5, None), E3[0])
    assert torch.allclose(fuse(None, E3[1]), E3[1])
    assert torch.allclose(fuse(E3[0], E3[1], text_weight=0.0), E3[0])


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), 101.0])
def test_bad_weights(weight):
    for weights in ((weight, 1.0), (1.0, weight)):
        with pytest.raises(SowError, match="expected a number from 0 to 100"):
            fuse(E3[0], E3[1], None, *weights)


def test_nothing_left():
    for parts in ((None, None), (E3[0], -E3[0]), (None, E3[1], E3[1])):
        with pytest.raises(SowError, match="Nothing to search for"):
            fuse(*parts)
    with pytest.raises(SowError, match="without a direction"):
        fuse(torch.zeros(3), E3[1])
