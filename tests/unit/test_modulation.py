from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sow_core.box import Box
from sow_core.errors import SowError
from sow_core.modulation import AttentionControl, Modulation, decay, indicator
from sow_core.regions import Regions

GRID = (16, 16)
ROWS = ("negative", "positive")


def regions(related: bool = True) -> Regions:
    below = [Box(32, 64, 64, 64)] if related else []
    return Regions.build([torch.ones(4, 4)], [Box(48, 32, 32, 32)], [below], *GRID)


def control(modulation: Modulation | None = None, images: int = 2, related: bool = True) -> AttentionControl:
    made = AttentionControl(regions(related), modulation or Modulation(), images)
    made.begin(0)
    return made


@given(x=st.floats(0, 50), step=st.floats(0.01, 5), rate=st.floats(0, 5), floor=st.floats(0, 1))
def test_decay_falls_from_one_to_its_floor(x: float, step: float, rate: float, floor: float) -> None:
    assert decay(0.0, rate, floor) == pytest.approx(1.0)
    assert floor - 1e-9 <= decay(x + step, rate, floor) <= decay(x, rate, floor) + 1e-9
    assert decay(x, 0.0, floor) == pytest.approx(1.0)


def test_the_bias_is_minus_s_from_c_outwards_and_plus_e_from_r_to_c() -> None:
    made = control()
    vectors = made.vectors(GRID, ROWS, torch.float32)
    bias = vectors.u @ vectors.w.T
    inside = made.regions.any_condition.flatten() > 0.5
    around = made.regions.related[0].flatten() > 0.5
    positive = bias[2]
    assert torch.equal(bias[:2], torch.zeros_like(bias[:2])), "the unconditional rows stay as they are"
    assert torch.allclose(positive[inside][:, ~inside], torch.tensor(-2.0))
    assert torch.equal(positive[inside][:, inside], torch.zeros(16, 16))
    strength = positive[around][:, inside]
    assert (strength > 0).all() and strength.max() <= 1.0
    assert torch.equal(positive[~inside & ~around], torch.zeros_like(positive[~inside & ~around]))
    assert torch.equal(positive[around][:, ~inside], torch.zeros_like(positive[around][:, ~inside]))


def test_enhancement_fades_with_distance() -> None:
    made = control()
    maps = made.regions.at(GRID)
    strength = made.modulation.enhancement(maps, 0)[0]
    around = maps.related[0] > 0.5
    order = maps.distance[0][around].argsort()
    fading = strength[around][order]
    assert (fading.diff() <= 1e-6).all() and fading[0] > fading[-1]
    assert fading[-1] == pytest.approx(0.2 + 0.8 * math.exp(-2.0), abs=1e-4)
    flat = replace(made.modulation, distance_rate=0.0).enhancement(maps, 0)[0][around]
    assert torch.allclose(flat, torch.ones_like(flat))


def test_both_strengths_fade_over_cycles() -> None:
    made = control()
    first = made.vectors(GRID, ROWS, torch.float32).u
    made.begin(3)
    later = made.vectors(GRID, ROWS, torch.float32).u
    assert torch.allclose(later, first * math.exp(-0.9), atol=1e-6)
    steady = control(Modulation(suppress_rate=0, enhance_rate=0))
    before = steady.vectors(GRID, ROWS, torch.float32).u
    steady.begin(9)
    assert torch.equal(steady.vectors(GRID, ROWS, torch.float32).u, before)


def test_all_rows_can_be_modulated() -> None:
    u = control(Modulation(rows="all")).vectors(GRID, ROWS, torch.float32).u
    assert torch.equal(u[:2], u[2:]) and u.abs().sum() > 0


def test_rows_are_found_by_name_in_any_order() -> None:
    u = control().vectors(GRID, ("positive", "negative"), torch.float32).u
    assert u[:2].abs().sum() > 0 and u[2:].abs().sum() == 0


def test_uniform_attention_gives_a_fifth() -> None:
    maps = regions().at(GRID)
    uniform = torch.full((2, 3, 256, 1), 0.1)
    assert indicator(uniform, maps)[0, 0] == pytest.approx(0.2, abs=0.02)
    near_only = maps.near.T[None, None].expand(1, 3, -1, -1)
    assert indicator(near_only, maps)[0, 0] == pytest.approx(1.0)


def test_no_related_region_has_no_indicator() -> None:
    maps = regions(related=False).at(GRID)
    assert indicator(torch.rand(1, 2, 256, 1), maps).isnan().all()
    made = control(related=False)
    made.observe(torch.rand(4, 2, 256, 1), GRID, ROWS)
    assert made.end() is None and torch.equal(made.gate, torch.ones(2, 1))


@pytest.mark.parametrize(("share", "gate"), [(0.15, 0.5), (0.3, 0.0), (0.9, 0.0), (0.0, 1.0)])
def test_the_gate_closes_where_the_outline_continues(share: float, gate: float) -> None:
    made = control(Modulation(threshold=0.3))
    maps = made.regions.at(GRID)
    near, around = maps.near[0], (maps.related[0] >= 0.5).float()
    per_token = near * share / near.sum() + (around - near) * (1 - share) / (around - near).sum()
    mass = per_token[None, None, :, None].expand(4, 2, -1, -1)
    made.observe(mass, GRID, ROWS)
    value = made.end()
    assert value is not None and value[0, 0] == pytest.approx(share, abs=1e-5)
    assert made.gate[0, 0] == pytest.approx(gate, abs=1e-4)
    made.begin(0)
    enhanced = made.vectors(GRID, ROWS, torch.float32).u[2, :, 1]
    assert enhanced.max() == pytest.approx(gate * made.modulation.enhancement(maps, 0).max().item(), abs=1e-5)


def test_the_gate_can_be_switched_off() -> None:
    made = control(Modulation(threshold=0.0))
    made.observe(torch.rand(4, 2, 256, 1), GRID, ROWS)
    assert made.end() is not None and torch.equal(made.gate, torch.ones(2, 1))


def test_only_positive_rows_and_middling_layers_count() -> None:
    made = control()
    made.observe(torch.rand(4, 2, 16, 1), (4, 4), ROWS)
    made.observe(torch.rand(2, 2, 256, 1), GRID, ("negative",))
    assert made.end() is None
    first = torch.rand(4, 2, 256, 1)
    other = first.clone()
    other[:2] = 7.0  # the unconditional rows
    values = []
    for mass in (first, other):
        made.begin(0)
        made.observe(mass, GRID, ROWS)
        values.append(made.end())
    assert torch.equal(values[0], values[1])


def test_images_are_gated_apart_and_can_be_dropped() -> None:
    made = control(Modulation(threshold=0.3))
    maps = made.regions.at(GRID)
    attentive = maps.near.T[None, None].expand(1, 2, -1, -1)
    mass = torch.cat([torch.rand(2, 2, 256, 1), attentive, torch.full((1, 2, 256, 1), 0.1)])
    made.observe(mass, GRID, ROWS)
    made.end()
    assert made.gate[0, 0] == 0.0 and made.gate[1, 0] > 0.2
    made.select([1])
    made.begin(1)
    assert made.vectors(GRID, ROWS, torch.float32).u.shape[0] == 2
    assert made.gate.shape == (1, 1)


def test_matrices_are_the_same_factors_written_out() -> None:
    modulation = Modulation(suppress=0.3, enhance=0.3, form="minmax")
    made = control(modulation)
    suppress, enhance, probe = made.matrices(GRID, ROWS)
    vectors = made.vectors(GRID, ROWS, torch.float32)
    assert torch.allclose(enhance - suppress, vectors.u @ vectors.w.T, atol=1e-6)
    assert torch.equal(probe, vectors.probe)


@pytest.mark.parametrize(
    "changes",
    [{"suppress": -1.0}, {"enhance": 21.0}, {"form": "minmax"}, {"threshold": 1.5}, {"distance_floor": -0.1},
     {"suppress_rate": float("nan")}, {"form": "fancy"}, {"rows": "some"}],
)  # fmt: skip
def test_bad_strengths_are_named(changes: dict) -> None:
    with pytest.raises(SowError, match="Bad modulation"):
        Modulation(**changes)


def test_modulations_survive_json() -> None:
    assert Modulation.from_dict(Modulation(suppress=3).as_dict()) == Modulation(suppress=3)
    with pytest.raises(SowError, match="Unknown modulation setting 'x'"):
        Modulation.from_dict({"x": 1})
