"""Widgets and option sockets to the engine's config; validation before a run."""

from __future__ import annotations

import inspect

import pytest

from .pack import node, node_list, part, run_node, sow_error

S = part("nodes.settings")
A = part("sow_core.method.advice")
C = part("sow_core.method.config")
P = part("sow_core.method.presets")
build_plan = part("sow_core.method.plan").build_plan
M = part("sow_core.method.modulation")


def test_defaults_are_the_presets():
    for name, config in P.PRESETS.items():
        assert S.make_config(name, config.steps, config.guidance) == config


def test_widgets_win_over_the_preset():
    made = S.make_config("style", 20, 5.0, 2, 0.5)
    assert (made.steps, made.guidance, made.cycles) == (20, 5.0, 2)
    assert made.refine_eta == P.PRESETS["style"].refine_eta and made.hi == 14
    usual = P.PRESETS["style"].modulation
    assert (made.modulation.suppress, made.modulation.enhance) == (usual.suppress / 2, usual.enhance / 2)
    assert S.make_config("normal", 10, 7.5, attention=0.0).modulation is None
    assert S.make_config("normal", 10, 7.5, 0).cycles == 0


def test_a_models_advice_changes_its_presets_and_the_widgets_still_win():
    class Model:
        def get_attachment(self, key):
            return {S.ATTACHED: advice}.get(key)

    advice = A.Advice(guidance=5.0, gate=A.Gate(0.4, 0.2), presets={"normal": {"cycles": 3, "unguided_tail": 5}})
    told = S.advice_of(Model())
    made = S.make_config("normal", 10, 6.0, advice=told)
    assert (made.cycles, made.unguided_tail, made.guidance) == (3, 5, 6.0)
    assert (made.modulation.threshold, made.modulation.width) == (0.4, 0.2)
    assert S.make_config("normal", 10, 6.0, 4, advice=told).cycles == 4
    options = run_node("SOW_CycleOptions", unguided_tail=1).args[0]
    assert S.make_config("normal", 10, 6.0, cycle_options=options, advice=told).unguided_tail == 1
    assert S.advice_of(object()) is None


def test_a_guided_inversion_follows_the_cfg_widget():
    assert S.make_config("paper", 10, 5.0).inversion_guidance == 5.0
    assert S.make_config("normal", 10, 5.0).inversion_guidance == 1.0
    options = run_node("SOW_CycleOptions", inversion_guidance=3.0).args[0]
    assert S.make_config("paper", 10, 5.0, cycle_options=options).inversion_guidance == 3.0


def test_options_replace_the_presets_parts():
    options = run_node("SOW_CycleOptions", preserve="4; 2", refine_eta=0.3, guidance_inside=1.0, grid="t 701").args[0]
    attention = run_node("SOW_AttentionOptions", suppress=3.0, rows="all").args[0]
    made = S.make_config("style", 10, 7.5, -1, 2.0, options, attention)
    assert (made.preserve, made.refine_eta, made.guidance_inside, made.predecessor.grid_shift) == ((4, 2), 0.3, 1.0, 1)
    assert (made.modulation.suppress, made.modulation.rows) == (6.0, "all")
    assert made.cycles == P.PRESETS["style"].cycles
    official = S.make_config("cow_official", 10, 7.5, cycle_options=options).predecessor
    assert (official.grid_shift, official.extra_rows) == (1, True), "one of the group leaves the others alone"


def test_the_options_defaults_are_the_normal_preset():
    options = run_node("SOW_CycleOptions").args[0]
    assert C.SowConfig().changed(**options) == P.PRESETS["normal"]
    assert run_node("SOW_AttentionOptions").args[0] == M.Modulation()


def test_options_move_with_the_steps():
    options = run_node("SOW_CycleOptions", hi=8, lo=6, preserve="5").args[0]
    made = S.make_config("normal", 20, 7.5, cycle_options=options)
    assert (made.hi, made.lo, made.preserve) == (16, 12, (10,))


@pytest.mark.parametrize(("text", "levels"), [("4,3", (4, 3)), ("", ()), (" 4 3 ", (4, 3)), ("4;3;4", (4, 3))])
def test_levels(text, levels):
    assert S.parse_levels(text) == levels


def test_bad_levels():
    with pytest.raises(sow_error(), match="expected levels like 4,3"):
        S.parse_levels("four")


@pytest.mark.parametrize(("values", "message"), [
    (("nice", 10, 7.5), "Unknown preset 'nice': expected one of normal"), (("normal", 1, 7.5), "Bad steps 1"),
    (("normal", 10, 0.5), "Bad cfg 0.5"), (("normal", 10, 7.5, -2), "Bad cycles -2"),
    (("normal", 10, 7.5, -1, 9.0), "Bad attention 9.0"),
])
def test_linked_values_out_of_range(values, message):
    with pytest.raises(sow_error(), match=message):
        S.make_config(*values)


@pytest.mark.parametrize(("node_id", "widgets", "message"), [
    ("SOW_CycleOptions", {"hi": 4, "lo": 5}, "Bad lo 5"), ("SOW_CycleOptions", {"preserve": "9"}, "Bad preserve"),
    ("SOW_CycleOptions", {"preserve": "x"}, "expected levels"), ("SOW_CycleOptions", {"coverage": 0.0}, "Bad coverage"),
    ("SOW_CycleOptions", {"trajectory": "jump"}, "Bad trajectory"),
    ("SOW_AttentionOptions", {"form": "minmax", "suppress": 2.0}, "0 to 1 for the form minmax"),
])
def test_options_that_do_not_fit_each_other(node_id, widgets, message):
    with pytest.raises(sow_error(), match=message):
        run_node(node_id, **widgets)


@pytest.mark.parametrize("node_id", [cls.define_schema().node_id for cls in node_list()])
def test_no_node_validates_several_inputs(node_id):
    """The host repeats a refusal for every input that a check names: one wrong widget would be several errors."""
    check = getattr(node(node_id), "validate_inputs", None)
    assert check is None or len(inspect.signature(check).parameters) <= 1


def test_seeds():
    assert S.seeds_from(7, 3) == [7, 8, 9]
    assert S.seeds_from(2**64 - 1, 2) == [2**64 - 1, 0]


@pytest.mark.parametrize("steps", [2, 3, 5, 7, 10, 25, 50, 200])
@pytest.mark.parametrize("preset", list(P.PRESETS))
def test_every_number_of_steps_works_with_every_preset(preset, steps):
    if preset == "cow_official" and steps < 4:  # its shifted re-noising has no level left above hi
        with pytest.raises(sow_error(), match="renoise_shift"):
            S.make_config(preset, steps, 7.5)
        return
    plan = build_plan(S.make_config(preset, steps, 7.5))
    assert plan.cost.calls > 0
