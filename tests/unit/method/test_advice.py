from __future__ import annotations

import json

import pytest

from sow_core.errors import SowError
from sow_core.method.advice import Advice, Gate, guided
from sow_core.method.presets import PRESETS, preset

TOLD = {
    "guidance": 5.0,
    "negative": "",
    "gate": {"threshold": 0.4, "width": 0.2},
    "presets": {"normal": {"cycles": 3, "preserve": [4, 3, 2]}},
}


def test_no_advice_leaves_every_preset_as_it_is() -> None:
    assert all(Advice().config(name) == config for name, config in PRESETS.items())


def test_a_models_presets_are_its_own_and_nobody_elses() -> None:
    advice = Advice.from_dict(TOLD)
    normal, style = advice.config("normal"), advice.config("style")
    assert (normal.cycles, normal.preserve, normal.guidance) == (3, (4, 3, 2), 5.0)
    assert style.cycles == preset("style").cycles
    for config in (normal, style):
        assert config.modulation is not None
        assert (config.modulation.threshold, config.modulation.width) == (0.4, 0.2)
    assert preset("normal").cycles == 5 and preset("normal").modulation.threshold == 0  # type: ignore[union-attr]
    assert advice.config("cow_official").modulation is None


def test_turns_are_painted_as_the_model_wants_them_and_nothing_else_is() -> None:
    advice = Advice.from_dict(TOLD | {"turns": {"hi": 9, "guidance": 6.0}})
    plain = preset("normal")
    edited = advice.edited(plain)
    assert (edited.hi, edited.guidance, edited.lo, edited.cycles) == (9, 6.0, plain.lo, plain.cycles)
    assert edited.modulation is not None and edited.modulation.threshold == 0.4
    assert advice.config("normal") == Advice.from_dict(TOLD).config("normal")
    assert Advice.from_dict(TOLD).edited(plain) == Advice.from_dict(TOLD).applied(plain)


def test_a_guided_inversion_follows_the_guidance() -> None:
    advice = Advice(guidance=5.0)
    assert advice.config("paper").inversion_guidance == 5.0 and advice.config("normal").inversion_guidance == 1.0
    assert guided(guided(preset("paper"), 3.0), 7.5) == preset("paper")


@pytest.mark.parametrize(
    "values",
    [
        {"guidance": "much"},
        {"guidance": 0.5},
        {"guidance": True},
        {"negative": 3},
        {"gate": 0.3},
        {"gate": {"threshold": 2}},
        {"gate": {"threshold": 0.3, "width": 0}},
        {"gate": {"tau": 0.3}},
        {"presets": []},
        {"presets": {"nice": {}}},
        {"presets": {"normal": []}},
        {"presets": {"normal": {"cycles": "many"}}},
        {"presets": {"normal": {"speed": 9}}},
        {"presets": {"normal": {"cycles": -1}}},
        {"turns": {"speed": 9}},
        {"turns": {"hi": 3}},
        {"turns": [9]},
        {"colour": "red"},
    ],
)
def test_what_no_run_could_use_is_refused_by_name(values: dict) -> None:
    with pytest.raises(SowError, match=r"^Bad folder/sow\.json: ") as caught:
        Advice.from_dict(values, "folder/sow.json")
    assert "\n" not in str(caught.value)


def test_the_demos_own_advice() -> None:
    from sow_core.assets import asset_folder

    values = json.loads((asset_folder("models") / "demo" / "sow.json").read_text())
    advice = Advice.from_dict(values)
    assert advice.gate is not None and advice.gate != Gate() and advice.guidance == 5.0
