from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sow_core.errors import SowError
from sow_core.method.config import Predecessor, SowConfig
from sow_core.method.modulation import Modulation
from sow_core.method.plan import Cost, Denoise, Invert, Place, Renoise, build_plan
from sow_core.method.presets import PRESETS, preset


def cost(conditions: int = 1, **changes: object) -> Cost:
    return build_plan(replace(SowConfig(), **changes), conditions).cost  # type: ignore[arg-type]


def test_costs_of_the_presets() -> None:
    assert build_plan(preset("normal")).cost == Cost(19, 32, 0)
    assert build_plan(preset("cow_official")).cost == Cost(37, 100, 14)
    assert build_plan(preset("fast")).cost == Cost(10, 14, 0)
    for name in ("paper", "paper_attribute", "paper_style"):
        assert build_plan(preset(name)).cost == Cost(37, 60, 14)


def test_costs_of_the_published_variants() -> None:
    """The table of calls and rows, from inverting the crop with guidance down to no inversion at all."""
    written = {"unguided_tail": 0, "inversion_stride": 1, "cycles": 10}
    assert cost(**written, invert_on="crop", inversion_guidance=7.5) == Cost(37, 60, 14)
    assert cost(**written, invert_on="crop") == Cost(37, 55, 7)
    assert cost(**written) == Cost(32, 57, 0)
    assert cost(**written, trajectory="noise", init="noise") == Cost(25, 50, 0)
    assert cost(**written | {"cycles": 5}, trajectory="noise", init="noise") == Cost(15, 30, 0)


def test_a_stride_saves_inversion_calls() -> None:
    full = cost(inversion_stride=1)
    assert [cost(inversion_stride=n).rows - full.rows for n in (1, 2, 3, 7, 9)] == [0, -3, -4, -6, -6]
    assert cost(inversion_stride=2, invert_on="crop", unguided_tail=0, cycles=10) == Cost(32, 53, 4)
    invert = build_plan(SowConfig(inversion_stride=3)).ops[1]
    assert isinstance(invert, Invert) and invert.stops == (3, 6, 7)


def test_each_crop_is_inverted_but_the_canvas_once() -> None:
    assert cost(3, invert_on="crop") == cost(1, invert_on="crop") + Cost(8, 0, 8)
    assert cost(3) == cost(1)


def test_presets_are_the_papers_three_tasks() -> None:
    assert preset("normal").preserve == (4, 3) and preset("normal").refine_eta == 0
    assert preset("attribute").preserve == (4,) and preset("attribute").refine_eta == 0.1
    assert preset("style").preserve == (4,) and preset("style").refine_eta == 1
    for name in ("normal", "attribute", "style"):
        config = preset(name)
        assert (config.steps, config.hi, config.lo, config.cycles, config.guidance) == (10, 7, 5, 5, 7.5)


def test_the_papers_own_settings_to_the_letter() -> None:
    tasks = {"paper": ((4, 3), 0.0), "paper_attribute": ((4,), 0.1), "paper_style": ((4,), 1.0)}
    for name, (levels, eta) in tasks.items():
        config = preset(name)
        assert (config.preserve, config.refine_eta) == (levels, eta)
        assert (config.steps, config.hi, config.lo, config.cycles, config.fill) == (10, 7, 5, 10, "gray")
        assert config.guidance == config.inversion_guidance == 7.5 and config.guidance_inside is None
        assert (config.inversion_stride, config.unguided_tail, config.invert_on) == (1, 0, "crop")
        assert all(op.guidance.scale == 7.5 and len(op.guidance.rows) == 2
                   for op in build_plan(config).ops if isinstance(op, (Invert, Denoise)))  # fmt: skip


def test_picture_guidance_costs_a_single_row_a_cycle_call() -> None:
    more = cost(picture_guidance=1.0)
    assert (more.calls - cost().calls, more.rows - cost().rows) == (10, 10)
    ops = [op for op in build_plan(SowConfig(picture_guidance=2.0)).ops if isinstance(op, Denoise)]
    assert [op.guidance.picture for op in ops] == [2.0] * 10 + [0.0] * 5


@pytest.mark.parametrize(
    ("preserve", "levels"), [((4, 3), [3, 2, 1]), ((4,), [4, 3, 2, 1]), ((), [5, 4, 3, 2, 1]), ((4, 3, 2, 1, 0), [])]
)
def test_suppression_in_the_refine_starts_below_the_last_level_written_back(preserve: tuple, levels: list) -> None:
    config = SowConfig(preserve=preserve, modulation=Modulation(suppress=0, enhance=0, suppress_refine=2))
    ops = [op for op in build_plan(config).ops if isinstance(op, Denoise)]
    assert [op.level for op in ops if op.modulate] == levels and all(op.cycle is None for op in ops if op.modulate)
    assert not any(op.modulate for op in build_plan(SowConfig()).ops if isinstance(op, Denoise) and op.cycle is None)


def test_the_order_of_ops() -> None:
    ops = build_plan(SowConfig(cycles=2)).ops
    places = [(op.level, op.cycle) for op in ops if isinstance(op, Place)]
    assert places == [(7, 0), (6, 0), (5, 0), (7, 1), (6, 1), (5, 1), (4, None), (3, None)]
    calls = [(op.level, op.cycle, op.eta) for op in ops if isinstance(op, Denoise)]
    assert calls[:4] == [(7, 0, 1.0), (6, 0, 1.0), (7, 1, 1.0), (6, 1, 1.0)]
    assert calls[4:] == [(level, None, 0.0) for level in (5, 4, 3, 2, 1)]
    assert [(op.lo, op.hi) for op in ops if isinstance(op, Renoise)] == [(5, 7), (5, 7)]


def test_a_noised_seed_starts_at_the_top() -> None:
    ops = build_plan(SowConfig(cycles=2, init="noise")).ops
    assert [op.cycle for op in ops if isinstance(op, Renoise)] == [1]


def test_the_literal_grid_is_one_level_higher() -> None:
    ops = build_plan(SowConfig(cycles=1, predecessor=Predecessor(grid_shift=1))).ops
    assert [op.level for op in ops if isinstance(op, Denoise) and op.cycle == 0] == [8, 7]
    assert [op.level for op in ops if isinstance(op, Denoise) and op.cycle is None] == [6, 5, 4, 3, 2, 1]
    assert [op.level for op in ops if isinstance(op, Place) and op.cycle is None] == [5, 4]


def test_modulation_off_marks_no_op() -> None:
    for off in (None, Modulation(suppress=0, enhance=0)):
        assert not any(op.modulate for op in build_plan(SowConfig(modulation=off)).ops if isinstance(op, Denoise))
    assert sum(op.modulate for op in build_plan(SowConfig()).ops if isinstance(op, Denoise)) == 10


def test_without_cycles_nothing_is_noised_up() -> None:
    ops = build_plan(SowConfig(cycles=0, init="noise")).ops
    assert not any(isinstance(op, Renoise) for op in ops)
    assert [op.level for op in ops if isinstance(op, Place)] == [5, 4, 3]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("hi", 11),
        ("lo", 7),
        ("lo", -1),
        ("cycles", -1),
        ("preserve", (5,)),
        ("cycle_eta", 1.5),
        ("refine_eta", float("nan")),
        ("guidance", 0.5),
        ("guidance", float("inf")),
        ("inversion_guidance", 0.0),
        ("trajectory", "magic"),
        ("invert_on", "sofa"),
        ("init", "black"),
        ("fill", "red"),
        ("coverage", 0.0),
        ("grid_shift", 2),
        ("renoise_shift", 4),
        ("negative_in", ("sleep",)),
        ("unguided_tail", -1),
        ("picture_guidance", -1.0),
        ("level_shift", 0.0),
        ("inversion_stride", 0),
        ("tolerance", 2.0),
    ],
)
def test_a_bad_setting_is_named(name: str, value: object) -> None:
    with pytest.raises(SowError, match=f"Bad {name}"):
        SowConfig().changed(**{name: value})


def test_an_unknown_preset_lists_the_known() -> None:
    with pytest.raises(SowError, match="expected one of normal, attribute"):
        preset("nice")


@pytest.mark.parametrize("name", PRESETS)
def test_configs_survive_json(name: str) -> None:
    config = preset(name)
    assert SowConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config
    with pytest.raises(SowError, match="Unknown setting 'speed'"):
        SowConfig.from_dict({"speed": 9})


@given(steps=st.integers(2, 200), name=st.sampled_from(sorted(PRESETS)))
def test_any_number_of_steps_gives_a_plan(steps: int, name: str) -> None:
    config = preset(name)
    try:
        finer = config.with_steps(steps)
    except SowError:
        assert steps < 10  # too coarse for the cycle's ends to differ
        return
    assert finer.lo < finer.hi <= steps and finer.hi / steps == pytest.approx(0.7, abs=1.5 / steps)
    plan = build_plan(finer)
    assert plan.cost.calls == sum(op.cost.calls for op in plan.ops)
    top = max(op.level for op in plan.ops if isinstance(op, Invert))
    assert all(op.level <= top for op in plan.ops if isinstance(op, Place))


def test_twice_the_steps_keep_the_same_range() -> None:
    config = preset("normal").with_steps(20)
    assert (config.hi, config.lo, config.preserve) == (14, 10, (8, 7, 6))
    assert preset("normal").with_steps(10) is preset("normal")


def test_the_description_ends_with_the_cost() -> None:
    lines = list(build_plan(preset("normal")).describe())
    assert lines[-1] == "total: 19 calls, 32 rows at canvas size, 0 at crop size"
    assert "... the same until cycle 4" in lines
    assert sum("Denoise" in line for line in lines) == 2 + 5


def test_what_is_unguided_is_so_for_a_model_that_is_told_its_guidance() -> None:
    """The inversion and the tail; in a run at guidance 1 the cycle's rows are alike, and told as ever."""
    ops = build_plan(SowConfig(guidance=1.0)).ops
    told = {(type(op).__name__, op.level): op.guidance.embedded for op in ops if isinstance(op, (Invert, Denoise))}
    assert told == {("Invert", 7): False} | {("Denoise", k): k > 2 for k in range(1, 8)}
    assert build_plan(SowConfig(inversion_guidance=2.0)).guidances[0].embedded
