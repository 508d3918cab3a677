from __future__ import annotations

import math

import pytest
import torch
from gaussian import sd_alphas
from hypothesis import given
from hypothesis import strategies as st

from sow_core.errors import SowError
from sow_core.method.schedule import (
    Schedule,
    add_noise,
    ddim_step,
    invert_step,
    pure_noise,
    renoise,
    step_std,
    to_x0,
)

VP = Schedule.from_alphas_cumprod(sd_alphas(), 10)
VE = Schedule((1.0,) * 6, (0.04, 0.3, 0.6, 1.2, 2.3, 5.0), tuple(map(float, range(6))))
FLOW = Schedule.from_flow([0.0, 0.2, 0.4, 0.6, 0.8, 0.95])
MATCHED = Schedule.matched_flow(6, 2.0)
ANY = [VP, VE, FLOW, MATCHED]


def test_the_grid_is_the_papers() -> None:
    assert VP.t == (0, 1, 101, 201, 301, 401, 501, 601, 701, 801, 901)
    squares = {1: 0.9983, 2: 0.8930, 3: 0.7521, 4: 0.5888, 5: 0.4229, 6: 0.2750, 7: 0.1598, 8: 0.0819, 10: 0.0140}
    for level, square in squares.items():
        assert VP.a[level] ** 2 == pytest.approx(square, abs=5e-5)
    assert VP.a[0] ** 2 == pytest.approx(1 - 0.00085)
    assert VP.sigma(5) == pytest.approx(1.168, abs=1e-3)
    assert VP.sigma(7) == pytest.approx(2.293, abs=1e-3)


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_impossible_steps_are_refused(steps: int) -> None:
    with pytest.raises(SowError, match="number of steps"):
        Schedule.from_alphas_cumprod(sd_alphas(), steps)


def test_zero_signal_is_refused() -> None:
    with pytest.raises(SowError, match="zero signal"):
        Schedule.from_flow([0.0, 0.5, 1.0])


@pytest.mark.parametrize("schedule", ANY, ids=["vp", "ve", "flow", "matched"])
def test_a_step_down_undoes_a_step_up(schedule: Schedule) -> None:
    x, eps = torch.randn(2, 4, 3, 5), torch.randn(2, 4, 3, 5)
    for level in range(schedule.steps - 1):
        up = invert_step(x, eps, schedule, level, level + 1)
        assert torch.allclose(ddim_step(up, eps, schedule, level + 1, level), x, atol=1e-4)


@pytest.mark.parametrize("schedule", ANY, ids=["vp", "ve", "flow", "matched"])
@pytest.mark.parametrize("eta", [0.0, 0.1, 1.0])
def test_steps_keep_the_marginal(schedule: Schedule, eta: float) -> None:
    """With the true noise, x' = a' z0 + b' (unit noise): the mean is exact and the variance b'^2."""
    generator = torch.Generator().manual_seed(0)
    z0 = torch.full((200_000,), 0.7)
    eps, fresh = torch.randn(2, 200_000, generator=generator)
    for level in range(2, schedule.steps):
        out = ddim_step(add_noise(z0, eps, schedule, level), eps, schedule, level, level - 1, eta, fresh)
        assert out.mean().item() == pytest.approx(0.7 * schedule.a[level - 1], abs=0.02 * max(schedule.b))
        assert out.std().item() == pytest.approx(schedule.b[level - 1], rel=0.01)


def test_full_eta_is_the_ddpm_posterior() -> None:
    for level, expected in ((7, 0.601), (6, 0.528)):
        assert step_std(VP, level, level - 1, 1.0) == pytest.approx(expected, abs=1e-3)
        a, a2 = VP.a[level] ** 2, VP.a[level - 1] ** 2
        posterior = (1 - a2) / (1 - a) * (1 - a / a2)
        assert step_std(VP, level, level - 1, 1.0) ** 2 == pytest.approx(posterior)


@pytest.mark.parametrize("schedule", ANY)
def test_pure_noise_is_as_large_as_a_state(schedule: Schedule) -> None:
    """Of unit-variance data; bit for bit the noise itself where the variance is preserved."""
    noise = torch.randn(4000, generator=torch.Generator().manual_seed(0))
    for level in range(1, schedule.steps + 1):
        state = add_noise(torch.randn(4000, generator=torch.Generator().manual_seed(1)), noise, schedule, level)
        assert float(pure_noise(noise, schedule, level).std()) == pytest.approx(float(state.std()), rel=0.05)
    if schedule is VP:
        assert torch.equal(pure_noise(noise, VP, 7), noise)


def test_eta_without_noise_is_a_defect() -> None:
    with pytest.raises(ValueError, match="needs noise"):
        ddim_step(torch.zeros(1), torch.zeros(1), VP, 5, 4, 1.0)


@pytest.mark.parametrize("schedule", ANY, ids=["vp", "ve", "flow", "matched"])
def test_renoising_has_the_exact_marginal(schedule: Schedule) -> None:
    lo, hi = 2, 4
    ratio = schedule.a[hi] / schedule.a[lo]
    one, zero = torch.ones(1), torch.zeros(1)
    kept, fresh = renoise(one, zero, schedule, lo, hi).item(), renoise(zero, one, schedule, lo, hi).item()
    assert kept == pytest.approx(ratio)
    assert kept**2 * schedule.b[lo] ** 2 + fresh**2 == pytest.approx(schedule.b[hi] ** 2)


def test_renoising_of_the_cycle_is_mostly_fresh() -> None:
    kept = renoise(torch.ones(1), torch.zeros(1), VP, 5, 7).item()
    fresh = renoise(torch.zeros(1), torch.ones(1), VP, 5, 7).item()
    assert (kept, fresh) == (pytest.approx(0.615, abs=1e-3), pytest.approx(0.789, abs=1e-3))
    assert fresh**2 / VP.b[7] ** 2 == pytest.approx(0.74, abs=0.01)


def test_ve_and_vp_are_one_schedule_in_two_scales() -> None:
    """Divided by a, every VP state is the VE state of the same sigma."""
    ve = Schedule((1.0,) * 11, tuple(VP.sigma(k) for k in range(11)), VP.t)
    x, eps, noise = torch.randn(3, 64)
    for vp_x, ve_x in (
        (ddim_step(x, eps, VP, 7, 6, 1.0, noise) / VP.a[6], ddim_step(x / VP.a[7], eps, ve, 7, 6, 1.0, noise)),
        (renoise(x, noise, VP, 5, 7) / VP.a[7], renoise(x / VP.a[5], noise, ve, 5, 7)),
        (invert_step(x, eps, VP, 3, 4) / VP.a[4], invert_step(x / VP.a[3], eps, ve, 3, 4)),
    ):
        assert torch.allclose(vp_x, ve_x, atol=1e-5)


def test_inversion_approaches_the_exact_flow_as_steps_grow() -> None:
    """On N(m, s^2) data DDIM inversion is an ODE with a known end: (z0 - m)/s carried to the level's own std."""

    def error(steps: int) -> float:
        schedule = Schedule.from_alphas_cumprod(sd_alphas(), steps)
        top, mean, std = round(steps * 0.7), 0.3, 0.5
        z = z0 = torch.linspace(-1.5, 1.5, 31)
        for level in range(top):
            a, b = schedule.a[level + 1], schedule.b[level + 1]
            eps = b * (z - a * mean) / (a * a * std**2 + b * b)
            z = invert_step(z, eps, schedule, level, level + 1)
        a, b = schedule.a[top], schedule.b[top]
        first = math.hypot(schedule.a[0] * std, schedule.b[0])
        exact = a * mean + (z0 - schedule.a[0] * mean) / first * math.hypot(a * std, b)
        return (z - exact).abs().max().item()

    assert error(10) > 1.5 * error(50) > 2 * error(250)
    assert error(250) < 0.03


@given(level=st.integers(1, 10), scale=st.floats(-3, 3), value=st.floats(-3, 3))
def test_clean_prediction_inverts_the_interpolant(level: int, scale: float, value: float) -> None:
    z0, eps = torch.tensor([value], dtype=torch.float64), torch.tensor([scale], dtype=torch.float64)
    assert torch.allclose(to_x0(add_noise(z0, eps, VP, level), eps, VP, level), z0, atol=1e-9)


@pytest.mark.parametrize("steps", [1, 5, 10, 25])
@pytest.mark.parametrize("shift", [1.0, 2.0])
def test_matched_levels_have_stable_diffusions_noise(steps: int, shift: float) -> None:
    """Equal log-SNR, moved by the shift alone; level 0 is clean."""
    flow, vp = Schedule.matched_flow(steps, shift), Schedule.from_alphas_cumprod(sd_alphas(), steps)
    assert (flow.a[0], flow.b[0], flow.t[0]) == (1.0, 0.0, 0.0)
    for level in range(1, steps + 1):
        moved = 2 * math.log(flow.sigma(level)) - 2 * math.log(vp.sigma(level))
        assert moved == pytest.approx(2 * math.log(shift), abs=1e-9)
        assert flow.t[level] == flow.b[level] == pytest.approx(1 - flow.a[level])


def test_matched_times_at_ten_steps() -> None:
    assert Schedule.matched_flow(10).t == pytest.approx(
        (0, 0.040, 0.257, 0.365, 0.455, 0.539, 0.619, 0.696, 0.770, 0.837, 0.894), abs=6e-4
    )
    doubled = Schedule.matched_flow(10, 2.0)
    assert (doubled.t[5], doubled.t[7]) == pytest.approx((0.700, 0.821), abs=6e-4)


def test_a_flow_step_without_fresh_noise_is_eulers() -> None:
    flow, x, v = Schedule.matched_flow(10), torch.randn(2, 4, 3, 5), torch.randn(2, 4, 3, 5)
    eps = x + flow.a[7] * v
    assert torch.allclose(ddim_step(x, eps, flow, 7, 6), x + (flow.t[6] - flow.t[7]) * v, atol=1e-6)


def test_a_cycle_forgets_as_much_of_a_flow_as_of_stable_diffusion() -> None:
    """Of level 7's variance, 74 % is fresh after the noising from level 5, whatever the model."""
    for schedule in (Schedule.matched_flow(10), VP):
        ratio = schedule.a[7] / schedule.a[5]
        assert 1 - (ratio * schedule.b[5] / schedule.b[7]) ** 2 == pytest.approx(0.741, abs=1e-3)
