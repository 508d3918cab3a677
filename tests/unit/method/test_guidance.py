from __future__ import annotations

import torch

from sow_core.method.guidance import Guidance, all_rows


def test_unguided_calls_need_one_row() -> None:
    assert Guidance(1.0).rows == ("positive",)
    assert Guidance(1.0, inside=1.0).rows == ("positive",)
    assert Guidance(1.0, inside=3.0).rows == ("negative", "positive")
    assert Guidance(7.5, negative="empty").rows == ("empty", "positive")


def test_classifier_free_guidance() -> None:
    eps = torch.randn(2, 3, 4, 5, 6)
    assert torch.allclose(Guidance(7.5).combine(eps, None), eps[0] + 7.5 * (eps[1] - eps[0]))
    assert torch.equal(Guidance(1.0).combine(eps[:1], None), eps[0])


def test_guidance_map_acts_by_cell() -> None:
    eps, inside = torch.randn(2, 1, 4, 2, 2), torch.tensor([[1.0, 0.0], [0.0, 1.0]])[None, None]
    out = Guidance(7.5, inside=1.0).combine(eps, inside)
    full = Guidance(7.5).combine(eps, None)
    assert torch.allclose(out[..., 0, 0], eps[1, :, :, 0, 0], atol=1e-6)
    assert torch.allclose(out[..., 0, 1], full[..., 0, 1])


def test_four_rows_are_a_shift_outside_the_condition() -> None:
    """neg' = neg + sup - div outside C is CFG plus (w - 1)(div - sup) there."""
    eps, inside = torch.randn(4, 2, 4, 3, 3), (torch.rand(1, 1, 3, 3) > 0.5).float()
    guidance = Guidance(7.5, extra=True)
    assert guidance.rows == ("negative", "positive", "suppress", "diverse")
    plain = eps[0] + 7.5 * (eps[1] - eps[0])
    expected = plain + (1 - inside) * 6.5 * (eps[3] - eps[2])
    assert torch.allclose(guidance.combine(eps, inside), expected, atol=1e-5)


def test_all_rows_names_each_once() -> None:
    assert all_rows([Guidance(1.0), Guidance(2.0), Guidance(2.0, extra=True)]) == (
        "positive",
        "negative",
        "suppress",
        "diverse",
    )


def test_picture_guidance_adds_what_the_condition_makes_of_its_surroundings() -> None:
    eps, blank, inside = torch.randn(2, 3, 4, 2, 2), torch.randn(3, 4, 2, 2), torch.zeros(1, 1, 2, 2)
    inside[..., 0, 0] = 1
    plain = Guidance(7.5).combine(eps, inside)
    pushed = Guidance(7.5, picture=2.0).combine(eps, inside, blank)
    assert torch.equal(pushed[..., 0, 0], plain[..., 0, 0])
    assert torch.allclose(pushed[..., 1, :], (plain + 2 * (eps[1] - blank))[..., 1, :], atol=1e-5)
    alone = Guidance(1.0, picture=1.0).combine(eps[:1], inside, blank)
    assert torch.allclose(alone[..., 1, 1], (2 * eps[0] - blank)[..., 1, 1], atol=1e-5)
