from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from sow_core.method.attention import attend, attend_minmax, attend_reference


def qkv(batch: int = 2, heads: int = 3, tokens: int = 20, d: int = 8, dtype: torch.dtype = torch.float32) -> tuple:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(batch, heads, tokens, d, generator=generator).to(dtype) for _ in range(3))


@settings(max_examples=40)
@given(tokens=st.integers(1, 30), d=st.sampled_from([4, 8, 40, 64]), rank=st.integers(1, 9), probes=st.integers(1, 5))
def test_rank_two_equals_the_written_out_bias(tokens: int, d: int, rank: int, probes: int) -> None:
    q, k, v = qkv(tokens=tokens, d=d)
    u, w, probe = torch.randn(2, tokens, rank) * 2, torch.randn(tokens, rank), torch.rand(tokens, probes)
    out, mass = attend(q, k, v, u, w, probe)
    expected, expected_mass = attend_reference(q, k, v, u @ w.T, probe)
    assert out.shape == v.shape and mass is not None and mass.shape == (2, 3, tokens, probes)
    assert torch.allclose(out, expected, atol=2e-5)
    assert torch.allclose(mass, expected_mass, atol=2e-5)


def test_without_bias_the_kernel_is_the_plain_one_bit_for_bit() -> None:
    q, k, v = qkv()
    plain = F.scaled_dot_product_attention(q, k, v)
    assert torch.equal(attend(q, k, v)[0], plain)
    out, mass = attend(q, k, v, probe=torch.ones(20, 1))
    assert torch.equal(out, plain)
    assert mass is not None and torch.allclose(mass, torch.ones_like(mass), atol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 4e-3), (torch.bfloat16, 3e-2)])
def test_half_precision_is_no_worse_than_a_mask(dtype: torch.dtype, tolerance: float) -> None:
    q, k, v = qkv(tokens=64, d=64)
    inside = (torch.arange(64) < 20).float()
    u = torch.stack([-2.0 * inside, 1.5 * (1 - inside)], -1)[None].expand(2, -1, -1)
    w = torch.stack([1 - inside, inside], -1)
    exact = attend_reference(q, k, v, u @ w.T)[0]
    ours = attend(q.to(dtype), k.to(dtype), v.to(dtype), u.to(dtype), w.to(dtype))[0]
    masked = F.scaled_dot_product_attention(
        q.to(dtype), k.to(dtype), v.to(dtype), attn_mask=(u @ w.T)[:, None].to(dtype)
    )
    error = (ours.float() - exact).square().mean().sqrt()
    assert error < tolerance
    assert error < 2 * (masked.float() - exact).square().mean().sqrt()


def test_a_custom_scale_is_kept() -> None:
    q, k, v = qkv()
    u, w = torch.randn(2, 20, 2), torch.randn(20, 2)
    expected = attend_reference(q, k, v, u @ w.T, scale=0.3)[0]
    assert torch.allclose(attend(q, k, v, u, w, scale=0.3)[0], expected, atol=1e-5)


def test_minmax_is_the_normalised_form_of_equation_8() -> None:
    q, k, v = qkv()
    suppress, enhance = torch.rand(2, 20, 20) * 0.4, torch.rand(2, 20, 20) * 0.4
    logits = q @ k.transpose(-1, -2) / 8**0.5
    low, high = logits.amin(-1, keepdim=True), logits.amax(-1, keepdim=True)
    unit = (logits - low) / (high - low)
    unit = unit + enhance[:, None] * (1 - unit) - suppress[:, None] * unit
    expected = (unit * (high - low) + low).softmax(-1) @ v
    assert torch.allclose(attend_minmax(q, k, v, suppress, enhance)[0], expected, atol=1e-5)


def test_minmax_of_zero_strength_is_plain() -> None:
    q, k, v = qkv()
    zero = torch.zeros(2, 20, 20)
    out, mass = attend_minmax(q, k, v, zero, zero, torch.ones(20, 1))
    assert torch.allclose(out, F.scaled_dot_product_attention(q, k, v), atol=1e-6)
    assert mass is not None and torch.allclose(mass, torch.ones_like(mass), atol=1e-6)
