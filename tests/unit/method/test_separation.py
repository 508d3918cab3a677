"""Separate and enhance: the losses on maps made by hand, the signs of their gradients, steps, words and tokens."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sow_core.errors import SowError
from sow_core.method import separation as S


def spot(row: int, column: int, value: float = 0.8, heads: int = 2) -> torch.Tensor:
    """[heads, 8, 8]: attention in one cell, a little everywhere."""
    made = torch.full((heads, 8, 8), 0.01)
    made[:, row, column] = value
    return made


def test_apart_costs_less_than_together():
    together = torch.stack([spot(2, 2), spot(2, 2)])
    apart = torch.stack([spot(2, 2), spot(6, 6)])
    assert S.separation_loss(together).item() == pytest.approx(0.4, abs=1e-3)  # a a / 2a
    assert S.separation_loss(apart).item() == pytest.approx(0.8 * 0.01 / 0.81, abs=1e-3)


def test_the_worst_pair_of_three_and_four_counts():
    three = torch.stack([spot(1, 1), spot(6, 6), spot(1, 6)])
    merged = torch.stack([spot(1, 1), spot(6, 6), spot(6, 6), spot(1, 6)])
    assert S.separation_loss(three) < 0.02 < S.separation_loss(merged)
    assert S.separation_loss(merged).item() == pytest.approx(0.4, abs=1e-3)
    assert S.separation_loss(three[:1]).item() == 0.0


def test_separation_lies_between_0_and_half_of_the_least():
    """a b / (a + b) is at most min(a, b) / 2 and, for probabilities that share one sum, at most 1/4."""
    a = torch.rand(1, 2, 8, 8)
    both = torch.cat([a, 1.0 - a])
    assert 0.0 <= S.separation_loss(both) <= 0.25 + 1e-6


def test_the_weakest_concept_is_enhanced():
    strong, weak = spot(2, 2), spot(5, 5, value=0.05)
    loss = S.enhancement_loss(torch.stack([strong, weak]))
    peak = 0.5761**2 * 0.05 + (1 - 0.5761**2) * 0.01
    assert loss.item() == pytest.approx(1 - peak, abs=2e-3)
    assert S.enhancement_loss(torch.stack([strong, spot(5, 5)])) < loss


def test_gradients_push_the_right_way():
    maps = torch.stack([spot(2, 2), spot(2, 3, 0.3)])
    maps[0, :, 2, 3] = 0.3  # both want (2, 3)
    maps.requires_grad_(True)
    (push,) = torch.autograd.grad(S.separation_loss(maps), maps)
    assert push[:, :, 2, 3].sum() > 0, "less of both there lowers the loss"
    (pull,) = torch.autograd.grad(S.enhancement_loss(maps), maps)
    assert pull[1].sum() < 0 and pull[0].abs().sum() == 0, "more of the weakest lowers it"


def test_maps_average_tokens_and_layers_and_keep_heads():
    layer = torch.zeros(2, 4, 5)
    layer[0, 1, 2], layer[1, 3, 3] = 1.0, 0.5
    maps = S.concept_maps([layer, layer], [(2, 3), (4,)], (2, 2))
    assert maps.shape == (2, 2, 2, 2)
    assert maps[0, 0, 0, 1] == 0.5 and maps[0, 1, 1, 1] == 0.25 and maps[1].abs().sum() == 0
    assert S.concept_maps([layer, layer[:1]], [(2,)], (2, 2)).shape == (1, 1, 2, 2)


@given(st.integers(1, 30), st.floats(0, 10))
def test_steps_fall_from_the_strength_to_its_root_half(steps, strength):
    sizes = S.step_sizes(strength, steps)
    assert len(sizes) == steps and sizes[0] == strength
    assert sizes[-1] == pytest.approx(strength * (0.5**0.5 if steps > 1 else 1.0))
    assert all(a >= b for a, b in zip(sizes, sizes[1:], strict=False))


def test_a_step_moves_the_free_cells_by_its_size_and_no_others():
    generator = torch.Generator().manual_seed(0)
    x, g = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 4, 8, 8, generator=generator)
    free = torch.ones(1, 1, 8, 8)
    free[..., :4] = 0
    moved = S.step(x, g, 0.3, free) - x
    assert moved[..., :4].abs().max() == 0
    assert moved[..., 4:].square().mean(dim=(1, 2, 3)).sqrt() == pytest.approx([0.3, 0.3], abs=1e-4)
    assert ((moved * g) <= 0).all(), "downhill"
    assert torch.equal(S.step(x, torch.zeros_like(g), 0.3, free), x)
    assert torch.equal(S.step(x, g * float("nan"), 0.3, free), x)


@given(st.lists(st.integers(0, 5), max_size=12), st.lists(st.integers(0, 5), max_size=3))
def test_tokens_are_found_where_they_stand(prompt, concept):
    found = S.find_tokens(prompt, concept)
    if found:
        assert [prompt[i] for i in found] == concept and list(found) == list(range(found[0], found[0] + len(found)))
    else:
        assert not concept or all(prompt[i : i + len(concept)] != concept for i in range(len(prompt)))


def test_words():
    assert S.parse_concepts(" hat, red glasses ,hat,") == ("hat", "red glasses")
    for wrong in ("", " , ", ",".join("abcdefghi")):
        with pytest.raises(SowError, match="Bad --separate"):
            S.parse_concepts(wrong)


WRONG = [{"strength": -1}, {"strength": "x"}, {"until": 0}, {"depth": 1.5}, {"beta": float("nan")}, {"power": 1}]


@pytest.mark.parametrize("wrong", WRONG)
def test_bad_settings(wrong):
    with pytest.raises(SowError, match="(?i)" + next(iter(wrong))):
        S.Separation.from_dict(wrong)


def test_grids():
    assert S.grid_of((64, 64), 2) == (16, 16) and S.grid_of((61, 23), 2) == (16, 6)
    assert S.grid_of((16, 16), 0) == (16, 16)
