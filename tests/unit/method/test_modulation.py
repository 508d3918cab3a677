from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sow_core.errors import SowError
from sow_core.method.attention import attend_minmax, attend_reference
from sow_core.method.box import Box
from sow_core.method.modulation import AttentionControl, Modulation, decay, indicator
from sow_core.method.regions import Regions

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


def written_out(made: AttentionControl) -> torch.Tensor:
    """Eqs. 4, 5 and 8 as an N x N matrix of logits for each image, straight from the definitions."""
    maps, strength = made.regions.at(GRID), made.modulation
    c, r = maps.condition[0], maps.related[0]
    fade = [0.3 + 0.7 * math.exp(-0.1 * (made.cycle or 0)) for _ in range(2)]
    floor = strength.distance_floor
    near = floor + (1 - floor) * torch.exp(-strength.distance_rate * maps.distance[0])
    suppress = strength.suppress * fade[0] * c[:, None] * (1 - c)[None, :]
    enhance = strength.enhance * fade[1] * (near * r)[:, None] * c[None, :]
    return made.gate[:, 0, None, None] * enhance - suppress


@pytest.mark.parametrize("cycle", [0, 3])
def test_the_one_channel_bias_is_the_written_out_one(cycle: int) -> None:
    made = control()
    made.begin(cycle)
    made.gate[1] = 0.4
    vectors = made.vectors(GRID, ROWS, torch.float32)
    assert vectors.u.shape == (2, 256, 1) and vectors.w.shape == (256, 1)
    logits = torch.randn(2, 256, 256)
    expected = (logits + written_out(made)).softmax(-1)
    assert torch.allclose((logits + vectors.u @ vectors.w.T).softmax(-1), expected, atol=1e-6)


def qkv(batch: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, 3, 256, 8, generator=generator) for _ in range(3)]


@pytest.mark.parametrize("rows", [("negative", "positive"), ("positive", "negative"), ("positive",), ("negative",)])
def test_only_the_positive_row_is_modulated(rows: tuple[str, ...]) -> None:
    """Whatever its place; the other rows are the plain kernel's, bit for bit."""
    made = control()
    q, k, v = qkv(2 * len(rows))
    out = made.attend(q, k, v, GRID, rows)
    plain = F.scaled_dot_product_attention(q, k, v)
    for index, name in enumerate(rows):
        chunk = slice(2 * index, 2 * index + 2)
        if name == "positive":
            expected = attend_reference(q[chunk], k[chunk], v[chunk], written_out(made))[0]
            assert torch.allclose(out[chunk], expected, atol=1e-5)
            assert not torch.allclose(out[chunk], plain[chunk], atol=1e-3)
        else:
            assert torch.equal(out[chunk], plain[chunk])
    assert out.shape == q.shape and (made.end() is None) == ("positive" not in rows)


def test_all_rows_can_be_modulated() -> None:
    made = control(Modulation(rows="all"))
    q, k, v = qkv(4)
    expected = attend_reference(q, k, v, written_out(made).repeat(2, 1, 1))[0]
    assert torch.allclose(made.attend(q, k, v, GRID, ROWS), expected, atol=1e-5)


@pytest.mark.parametrize("rows", ["cond", "all"])
def test_a_hosts_kernel_sees_the_whole_batch(rows: str) -> None:
    seen = []

    def kernel(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(q.shape))
        return F.scaled_dot_product_attention(q, k, v)

    q, k, v = qkv(4)
    ours, theirs = control(Modulation(rows=rows)), control(Modulation(rows=rows))  # type: ignore[arg-type]
    expected = ours.attend(q, k, v, GRID, ROWS)
    assert torch.allclose(theirs.attend(q, k, v, GRID, ROWS, kernel=kernel), expected, atol=1e-5)
    assert seen == [(4, 3, 256, 16)]
    assert torch.allclose(ours.end(), theirs.end(), atol=1e-5)  # type: ignore[arg-type]


def test_the_written_out_form_of_equation_8() -> None:
    made = control(Modulation(suppress=0.3, enhance=0.3, form="minmax"))
    q, k, v = qkv(4)
    suppress, enhance, _ = made.matrices(GRID, ROWS)
    expected = attend_minmax(q[2:], k[2:], v[2:], suppress, enhance)[0]
    out = made.attend(q, k, v, GRID, ROWS)
    assert torch.allclose(out[2:], expected, atol=1e-6)
    assert torch.equal(out[:2], F.scaled_dot_product_attention(q[:2], k[:2], v[:2]))


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
    assert torch.allclose(later, first * (0.3 + 0.7 * math.exp(-0.3)), atol=1e-6)
    steady = control(Modulation(suppress_rate=0, enhance_rate=0))
    before = steady.vectors(GRID, ROWS, torch.float32).u
    steady.begin(9)
    assert torch.equal(steady.vectors(GRID, ROWS, torch.float32).u, before)


@pytest.mark.parametrize("cycles", [5, 10, 20])
def test_the_last_cycle_still_has_a_third_of_the_first(cycles: int) -> None:
    """The cycle forgets what the one before has done: what has faded by the last one is not in the picture."""
    maps = regions().at(GRID)
    for strength in (Modulation().suppression, Modulation().enhancement):
        assert strength(maps, cycles - 1).max() >= 0.3 * strength(maps, 0).max()


def test_the_refine_has_its_own_suppression_and_no_enhancement() -> None:
    maps = regions().at(GRID)
    assert Modulation().suppression(maps, None).max() == 0
    assert Modulation(suppress=5, suppress_refine=2).suppression(maps, None).max() == 2
    assert Modulation(enhance=3, suppress_refine=2).enhancement(maps, None).abs().max() == 0


def test_cut_leaves_no_attention_between_the_condition_and_the_rest() -> None:
    made = control(Modulation(form="cut", rows="all", suppress=0, enhance=0))
    q, k, _ = qkv(4)
    inside = made.regions.at(GRID).condition[0]
    mass = made.attend(q, k, inside[None, None, :, None].expand_as(k).contiguous(), GRID, ROWS)[..., 0]
    assert mass[:, :, inside > 0.5].min() > 1 - 1e-4 and mass[:, :, inside < 0.5].max() < 1e-4
    assert not made.enhances


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
    made.observe(torch.rand(2, 2, 256, 1), GRID, ROWS)
    assert made.end() is None and torch.equal(made.gate, torch.ones(2, 1))


@pytest.mark.parametrize(("share", "gate"), [(0.25, 0.5), (0.3, 0.0), (0.9, 0.0), (0.2, 1.0), (0.0, 1.0)])
def test_the_gate_closes_where_the_attention_near_the_condition_is_high(share: float, gate: float) -> None:
    made = control(Modulation(threshold=0.3, width=0.1))
    maps = made.regions.at(GRID)
    near, around = maps.near[0], (maps.related[0] >= 0.5).float()
    per_token = near * share / near.sum() + (around - near) * (1 - share) / (around - near).sum()
    mass = per_token[None, None, :, None].expand(2, 2, -1, -1)
    made.observe(mass, GRID, ROWS)
    value = made.end()
    assert value is not None and value[0, 0] == pytest.approx(share, abs=1e-5)
    assert made.gate[0, 0] == pytest.approx(gate, abs=1e-4)
    made.begin(0)
    enhanced = made.vectors(GRID, ROWS, torch.float32).u[0, around > 0.5, 0]
    assert enhanced.max() == pytest.approx(gate * made.modulation.enhancement(maps, 0).max().item(), abs=1e-5)


def test_the_gate_is_open_where_no_model_is_calibrated() -> None:
    made = control()
    made.observe(torch.rand(2, 2, 256, 1), GRID, ROWS)
    assert made.end() is not None and torch.equal(made.gate, torch.ones(2, 1))


def test_only_middling_layers_count() -> None:
    made = control()
    made.observe(torch.rand(2, 2, 16, 1), (4, 4), ROWS)
    assert made.end() is None


def test_the_indicator_reads_the_positive_row_when_all_are_modulated() -> None:
    mass = torch.rand(4, 2, 256, 1)
    values = []
    for scale in (1.0, 0.0):
        made = control(Modulation(rows="all"))
        made.observe(torch.cat([mass[:2] * scale, mass[2:]]), GRID, ROWS)
        values.append(made.end())
    assert torch.equal(values[0], values[1])


def test_images_are_gated_apart_and_can_be_dropped() -> None:
    made = control(Modulation(threshold=0.3))
    maps = made.regions.at(GRID)
    attentive = maps.near.T[None, None].expand(1, 2, -1, -1)
    mass = torch.cat([attentive, torch.full((1, 2, 256, 1), 0.1)])
    made.observe(mass, GRID, ROWS)
    made.end()
    assert made.gate[0, 0] == 0.0 and made.gate[1, 0] > 0.8
    made.select([1])
    made.begin(1)
    assert made.vectors(GRID, ROWS, torch.float32).u.shape[0] == 1
    assert made.gate.shape == (1, 1)


@pytest.mark.parametrize(
    "changes",
    [{"suppress": -1.0}, {"enhance": 21.0}, {"form": "minmax"}, {"threshold": 1.5}, {"distance_floor": -0.1},
     {"suppress_rate": float("nan")}, {"form": "fancy"}, {"rows": "some"}, {"width": 0.0}, {"suppress_refine": -1.0}],
)  # fmt: skip
def test_bad_strengths_are_named(changes: dict) -> None:
    with pytest.raises(SowError, match="Bad modulation"):
        Modulation(**changes)


def test_modulations_survive_json() -> None:
    assert Modulation.from_dict(Modulation(suppress=3).as_dict()) == Modulation(suppress=3)
    with pytest.raises(SowError, match="Unknown setting 'x'"):
        Modulation.from_dict({"x": 1})
