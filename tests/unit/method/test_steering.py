"""Guidance from outside the model: where the steps stand in a plan, and what one of them moves."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from gaussian import GaussianBackend
from torch import Tensor

from sow_core.backends.painting import encode_layout, paint
from sow_core.errors import SowError
from sow_core.method.box import Box
from sow_core.method.condition import Condition, Layout, make_layout
from sow_core.method.config import Predecessor, SowConfig
from sow_core.method.engine import run
from sow_core.method.plan import Denoise, Plan, Steer, build_plan, with_steering
from sow_core.method.steering import Steering

CONFIG = SowConfig(modulation=None, cycles=3)
GOAL = 0.8
"""Of every latent value, in the toy that is steered toward."""


def layout() -> Layout:
    generator = torch.Generator().manual_seed(1)
    image, box = torch.rand(3, 24, 32, generator=generator), Box(16, 16, 32, 24)
    return make_layout([Condition(image, torch.ones(24, 32), box)], 96, 64)


def quadratic(x0: Tensor) -> Tensor:
    """The gradient of -1/2 |x0 - GOAL|^2."""
    return GOAL - x0


def steered(config: SowConfig, wanted: Steering, toward=quadratic, seeds=(1, 2)) -> Tensor:
    plan = with_steering(build_plan(config), wanted, toward)
    return paint(plan, GaussianBackend(), layout(), list(seeds)).latents


def outside(x: Tensor) -> Tensor:
    return x[:, :, layout().regions.any_condition < 0.5]


def distance(x: Tensor) -> Tensor:
    return (outside(x) - GOAL).square().mean((1, 2))


def test_a_step_follows_every_denoising_from_its_level_up():
    plan = build_plan(CONFIG)
    ops = with_steering(plan, Steering(0.1, until=4), quadratic).ops
    for at, op in enumerate(ops):
        follows = isinstance(op, Denoise) and op.level >= 4
        assert isinstance(ops[at + 1] if at + 1 < len(ops) else None, Steer) == follows
    made = [op for op in ops if isinstance(op, Steer)]
    assert [op.level for op in made] == [7, 6, 7, 6, 7, 6, 5, 4]
    assert [op.cycle for op in made] == [0, 0, 1, 1, 2, 2, None, None]
    assert {op.phase for op in made} == {"cycle", "refine"}
    assert tuple(op for op in ops if not isinstance(op, Steer)) == plan.ops
    shifted = build_plan(replace(CONFIG, predecessor=Predecessor(grid_shift=1)))
    moved = with_steering(shifted, Steering(0.1, until=4), quadratic).ops
    assert [op.level for op in moved if isinstance(op, Steer)] == [op.level + 1 for op in made]


def test_steps_cost_no_model_call_and_are_shown_without_their_function():
    plain = build_plan(CONFIG)
    plan = with_steering(plain, Steering(0.25), quadratic)
    assert plan.cost == plain.cost
    shown = [line.strip() for line in plan.describe() if "Steer" in line]
    assert shown == ["Steer level=7, size=0.25", "Steer level=6, size=0.25"]
    assert plan == with_steering(plain, Steering(0.25), None), "as data the function is no part of the plan"


def test_no_strength_is_the_same_plan():
    plan = build_plan(CONFIG)
    assert with_steering(plan, Steering(), quadratic) is plan and with_steering(plan, None) is plan


def test_a_plan_without_a_function_does_not_run():
    with pytest.raises(ValueError, match="toward what"):
        steered(CONFIG, Steering(0.1), None)


def test_the_stronger_the_nearer():
    distances = torch.stack([distance(steered(CONFIG, Steering(s, until=1))) for s in (0.0, 0.05, 0.1)])
    assert (distances[1:] < 0.9 * distances[:-1]).all()


def test_only_what_is_free_moves():
    kept = replace(CONFIG, preserve=(4, 3, 2, 1, 0))
    plain, moved = steered(kept, Steering()), steered(kept, Steering(0.3, until=1))
    inside = layout().regions.any_condition > 0.5
    assert torch.equal(plain[:, :, inside], moved[:, :, inside])
    assert (outside(plain) != outside(moved)).all()


def test_a_step_itself_leaves_the_condition_alone():
    """Also where nothing is placed afterwards: after the last denoising."""
    config = replace(CONFIG, preserve=())
    plain = build_plan(config)
    last = [op for op in plain.ops if isinstance(op, Denoise)][-1]
    ops = tuple(o for op in plain.ops for o in ((op, Steer(1, 0.3, None, quadratic)) if op is last else (op,)))
    inside = layout().regions.any_condition > 0.5
    before, after = (paint(p, GaussianBackend(), layout(), [1]).latents for p in (plain, Plan(config, ops)))
    assert torch.equal(before[:, :, inside], after[:, :, inside]) and not torch.equal(before, after)


def test_one_step_moves_the_prediction_by_its_size_and_the_state_with_it():
    """x_{k-1} = a_{k-1} x0' + b_{k-1} eps: the noise that the model saw stays."""
    config = replace(CONFIG, cycles=0, init="noise")
    backend, plain = GaussianBackend(), build_plan(config)
    last = [op for op in plain.ops if isinstance(op, Denoise)][-1]
    ops = list(plain.ops)
    ops.insert(ops.index(last) + 1, Steer(last.level, 0.2, None, torch.ones_like))
    a = backend.schedule(config.steps).a[last.level - 1]
    before, after = (list(run(p, backend, encode_layout(backend, layout(), p), [1]))[-1].result.latents
                     for p in (plain, Plan(config, tuple(ops))))  # fmt: skip
    torch.testing.assert_close(outside(after - before), torch.full_like(outside(before), 0.2 * a), atol=1e-5, rtol=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0])
def test_a_gradient_that_says_nothing_moves_nothing_and_only_its_own_picture(bad):
    def toward(x0: Tensor) -> Tensor:
        gradient = quadratic(x0)
        if bad == 0.0:
            gradient[0] = 0.0
        else:
            gradient[0, 0, 0, 0] = bad  # outside the condition
        return gradient

    wanted = Steering(0.1, until=1)
    mixed, plain, full = steered(CONFIG, wanted, toward), steered(CONFIG, Steering()), steered(CONFIG, wanted)
    torch.testing.assert_close(mixed[0], plain[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(mixed[1], full[1], atol=1e-6, rtol=0)


def test_pictures_that_have_stopped_cycling_are_not_moved():
    config = replace(CONFIG, cycles=40, adaptive=True, tolerance=0.05)
    counts: list[int] = []

    def toward(x0: Tensor) -> Tensor:
        counts.append(len(x0))
        return quadratic(x0)

    made = steered(config, Steering(0.01, until=1), toward, range(4))
    assert torch.isfinite(made).all() and counts[0] == counts[-1] == 4 and min(counts) < 4


@pytest.mark.parametrize("values", [{"strength": -0.1}, {"strength": float("nan")}, {"strength": 11.0}, {"until": 0},
                                    {"strength": "much"}, {"unknown": 1}])  # fmt: skip
def test_bad_settings_are_one_line(values):
    with pytest.raises(SowError) as error:
        Steering.from_dict(values)
    assert "\n" not in str(error.value) and next(iter(values)) in str(error.value)
