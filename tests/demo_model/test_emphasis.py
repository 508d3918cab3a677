"""What training dwells on: shares of a batch, weights of cells and of noise levels, and where they must be even."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tools.demo_model import denoiser, emphasis, world
from tools.demo_model.data import Truth, batch_indices


def truth(glasses: str | None) -> Truth:
    """A cube scene for None."""
    portrait = None if glasses is None else SimpleNamespace(glasses=glasses)
    return Truth(portrait, (), False, ())  # type: ignore[arg-type]


TRUTHS = [truth(None)] * 20 + [truth("none")] * 60 + [truth("glasses")] * 15 + [truth("sunglasses")] * 5


def shares(chances: np.ndarray) -> tuple[float, float]:
    """(cube scenes of all, glasses of the portraits)"""
    return chances[:20].sum(), chances[80:].sum() / chances[20:].sum()


@given(st.floats(0, 1), st.floats(0.01, 0.99))
def test_shares_are_as_asked(cubes: float, glasses: float) -> None:
    chances = emphasis.draw_chances(TRUTHS, cubes, glasses)
    assert chances is not None and chances.sum() == pytest.approx(1)
    assert chances[:20].sum() == pytest.approx(cubes, abs=1e-9)
    assert chances[80:].sum() == pytest.approx((1 - cubes) * glasses, abs=1e-9)


def test_an_unnamed_share_stays_as_drawn() -> None:
    assert emphasis.draw_chances(TRUTHS) is None
    assert shares(emphasis.draw_chances(TRUTHS, cubes=0.5)) == pytest.approx((0.5, 0.25))
    assert shares(emphasis.draw_chances(TRUTHS, glasses=0.5)) == pytest.approx((0.2, 0.5))


def test_shares_that_cannot_be_had_are_refused() -> None:
    with pytest.raises(SystemExit, match=r"--cubes 1\.5: expected a share from 0 to 1"):
        emphasis.draw_chances(TRUTHS, cubes=1.5)
    with pytest.raises(SystemExit, match=r"--glasses 0\.5: the data lacks pictures for it"):
        emphasis.draw_chances(TRUTHS[:80], glasses=0.5)


def test_drawing_by_lot_repeats_and_follows_the_chances() -> None:
    chances = emphasis.draw_chances(TRUTHS, cubes=0.6)
    rows = np.concatenate([batch_indices(100, 32, step, 0, chances) for step in range(200)])
    assert (rows < 20).mean() == pytest.approx(0.6, abs=0.03)
    assert np.array_equal(batch_indices(100, 32, 7, 0, chances), batch_indices(100, 32, 7, 0, chances))
    assert not np.array_equal(batch_indices(100, 32, 7, 0, chances), batch_indices(100, 32, 7, 1, chances))


@given(st.integers(0, 2000), st.sampled_from((16, 32)))
def test_cells_under_a_box_count_more(seed: int, side: int) -> None:
    """Covered area times the gain, whatever the resolution of the latents."""
    sample = world.render(9_200_000 + seed % 50, degraded=False)
    boxes = [sample.boxes["face"]] if sample.portrait else [sample.things[0].box]
    weights = emphasis.detail_map(boxes, side, 3.0)
    assert weights.shape == (side, side) and weights.min() >= 1 and weights.max() <= 3
    x0, y0, x1, y1 = (min(max(v, 0), 128) for v in boxes[0])
    assert (weights - 1).sum() * (128 / side) ** 2 == pytest.approx(2 * (x1 - x0) * (y1 - y0))


def test_cells_without_boxes_or_gain_are_even() -> None:
    assert (emphasis.detail_map([], 16, 3.0) == 1).all()
    assert (emphasis.detail_map([(3, 5, 70, 90)], 16, 1.0) == 1).all()


def test_overlapping_boxes_count_once() -> None:
    box = (8.0, 8.0, 40.0, 43.0)
    assert np.array_equal(emphasis.detail_map([box, box], 16, 3.0), emphasis.detail_map([box], 16, 3.0))


def test_only_faces_are_weighted() -> None:
    face = Truth(SimpleNamespace(glasses="none"), (), False, ((40, 40, 80, 90),))  # type: ignore[arg-type]
    scene = Truth(None, (), False, ((40, 40, 80, 90),))
    assert emphasis.face_weights(face, 16, 3.0).max() == 3
    assert (emphasis.face_weights(scene, 16, 3.0) == 1).all()


def test_noise_levels_of_cube_scenes_lean_to_high_noise() -> None:
    even = (np.arange(1000) + 0.5) / 1000
    assert np.array_equal(emphasis.noise_levels(even, np.zeros(1000, bool), 2.0), np.arange(1000))
    assert np.array_equal(emphasis.noise_levels(even, np.ones(1000, bool), 0.0), np.arange(1000))
    leaning = emphasis.noise_levels(even, np.ones(1000, bool), 2.0)
    assert (leaning < 500).mean() == pytest.approx(0.125, abs=0.01) and leaning.max() == 999
    assert emphasis.noise_levels(np.array([1.0]), np.array([True]), 2.0)[0] == 999


def test_gain_at_high_noise() -> None:
    abar = denoiser.alphas_cumprod()
    assert (emphasis.noise_gain(abar, 0.0) == 1).all()
    gain = emphasis.noise_gain(abar, 0.5)
    assert (gain[abar > 0.5] == 1).all() and (gain.diff() >= 0).all()
    assert gain[-1].item() == pytest.approx(((1 - abar[-1]) / abar[-1]).sqrt().item())
    assert torch.allclose(emphasis.noise_gain(abar, 1.0)[600:], ((1 - abar) / abar)[600:])
