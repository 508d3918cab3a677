"""Settings as text: every config can be written as assignments and as JSON, and nothing else crashes."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image

from sow_core.errors import SowError
from sow_core.method.config import MOST_CALLS, Predecessor, SowConfig
from sow_core.method.overrides import override
from sow_core.method.presets import PRESETS, preset
from sow_core.method.strength import Modulation
from sow_core.settings import png_bytes, read_settings

SHARE = st.floats(0, 1)


@st.composite
def modulations(draw: st.DrawFn) -> Modulation:
    form = draw(st.sampled_from(["bias", "minmax"]))
    strength = st.floats(0, 20 if form == "bias" else 1)
    rate = st.floats(0, 100)
    return Modulation(
        draw(strength), draw(strength), draw(rate), draw(SHARE), draw(rate), draw(SHARE), draw(rate), draw(SHARE),
        draw(SHARE), form, draw(st.sampled_from(["cond", "all"])),
    )  # fmt: skip


@st.composite
def configs(draw: st.DrawFn) -> SowConfig:
    steps = draw(st.integers(2, 1000))
    shift = draw(st.integers(0, 1))
    hi = draw(st.integers(1, steps - shift))
    lo = draw(st.integers(0, hi - 1))
    return SowConfig(
        steps=steps,
        hi=hi,
        lo=lo,
        cycles=draw(st.integers(0, min(1000, MOST_CALLS // (hi - lo)))),
        preserve=tuple(draw(st.lists(st.integers(0, lo - 1), max_size=4))) if lo else (),
        cycle_eta=draw(SHARE),
        refine_eta=draw(SHARE),
        guidance=draw(st.floats(1, 100)),
        guidance_inside=draw(st.none() | st.floats(0, 100)),
        unguided_tail=draw(st.integers(0, 1000)),
        inversion_guidance=draw(st.floats(1, 100)),
        inversion_stride=draw(st.integers(1, 1000)),
        trajectory=draw(st.sampled_from(["invert", "noise", "noise_fresh"])),
        invert_on=draw(st.sampled_from(["crop", "canvas"])),
        init=draw(st.sampled_from(["invert", "noise", "none"])),
        fill=draw(st.sampled_from(["gray", "keep", "extend"])),
        coverage=draw(st.floats(0.01, 1)),
        modulation=draw(st.none() | modulations()),
        predecessor=Predecessor(
            shift,
            draw(st.integers(0, steps - hi - shift)),
            draw(st.booleans()),
            tuple(draw(st.lists(st.sampled_from(["invert", "cycle", "refine"]), unique=True))),
        ),
        adaptive=draw(st.booleans()),
        min_cycles=draw(st.integers(1, 1000)),
        tolerance=draw(SHARE),
    )


def written(config: SowConfig, prefix: str) -> list[str]:
    """The config as the assignments that a user would type."""

    def text(value: Any) -> str:
        return ",".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)

    values = config.as_dict()
    parts, group = values.pop("modulation"), values.pop("predecessor")
    made = [f"{name}={text(value)}" for name, value in values.items()]
    made += [f"{prefix}{name}={text(value)}" for name, value in group.items()]
    if parts is None:
        return [*made, "modulation=none"]
    return made + [f"modulation.{name}={text(value)}" for name, value in parts.items()]


@given(configs(), st.sampled_from(["", "predecessor."]), st.sampled_from(sorted(PRESETS)),
       st.randoms(use_true_random=False))
def test_any_config_can_be_written_as_assignments_in_any_order(config, prefix, start, random):
    assignments = written(config, prefix)
    random.shuffle(assignments)
    assert override(preset(start), assignments) == config


@given(configs())
def test_any_config_survives_json(config):
    assert SowConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config


@given(configs())
def test_any_config_of_a_version_without_the_predecessors_group_is_read(config):
    values = json.loads(json.dumps(config.as_dict()))
    values |= values.pop("predecessor")
    assert SowConfig.from_dict(values) == config


@given(st.sampled_from([*SowConfig().as_dict(), "modulation.enhance", "modulation.form", "modulation.x", "x",
                        "grid_shift", "grid_shift.x", "predecessor.negative_in", "predecessor.x"]),
       st.one_of(st.text(max_size=8), st.sampled_from(["none", "1e999", "nan", "-1", "2.5", "²", "4,x", "on", "1_0"])))
@examples(max_examples=400)
def test_whatever_is_typed_gives_a_config_or_one_line(name, value):
    try:
        made = override(SowConfig(), [f"{name}={value}"])
    except SowError as error:
        assert len(str(error)) < 500
    else:
        assert isinstance(made, SowConfig)


@given(st.sampled_from(sorted({*SowConfig().as_dict(), *Predecessor().__dict__})),
       st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
                    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner)))
def test_whatever_a_file_says_gives_a_config_or_one_line(name, value):
    try:
        made = SowConfig.from_dict({**SowConfig().as_dict(), name: value})
    except SowError:
        return
    assert isinstance(made, SowConfig)


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("cycles", "expected NAME=VALUE"),
        ("cycle=3", "Unknown setting 'cycle': expected one of adaptive, "),
        ("modulation.strength=3", "Unknown setting 'modulation.strength': expected one of distance_floor"),
        ("cycles.x=3", "cycles has no parts"),
        ("grid_shift.x=1", "Unknown setting 'grid_shift.x'"),
        ("grid_shift=x", "Bad grid_shift 'x': expected a whole number."),
        ("predecessor.renoise_shift=9", "Bad renoise_shift 9: expected 0 to 3"),
        ("predecessor=none", "expected on, or NAME.PART=VALUE"),
        ("cycles=2.5", "Bad cycles '2.5': expected a whole number."),
        ("cycles=none", "Bad cycles 'none': expected a whole number."),
        ("guidance=much", "Bad guidance 'much': expected a finite number."),
        ("adaptive=perhaps", "expected true or false"),
        ("preserve=4;3", "expected whole numbers separated by commas, or none"),
        ("modulation=3", "expected on, or NAME.PART=VALUE, or none"),
        ("trajectory=forward", "Bad trajectory 'forward': expected invert | noise | noise_fresh."),
        ("hi=12", "Bad hi 12: expected at most 10"),
    ],
)
def test_one_clear_line(assignment, said):
    with pytest.raises(SowError) as caught:
        override(SowConfig(), [assignment])
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_assignments_take_effect_together():
    """hi and lo may pass through a state that would be refused alone; a part switches its whole on."""
    assert override(SowConfig(), ["lo=8", "hi=9", "preserve=none"]).lo == 8
    off = replace(SowConfig(), modulation=None)
    assert override(off, ["modulation=on"]).modulation == Modulation()
    assert override(off, ["modulation.enhance=3"]).modulation == Modulation(enhance=3.0)
    assert override(SowConfig(), ["modulation.enhance=3", "modulation=none"]).modulation is None
    both = override(preset("cow_official"), ["grid_shift=1", "predecessor.renoise_shift=0"]).predecessor
    assert both == Predecessor(1, 0, True, ("cycle",))


def test_a_png_carries_its_settings(tmp_path):
    values = {"prompt": "Grüße 🐱 <&>", "n": [1, 2.5, None]}
    (tmp_path / "a.png").write_bytes(png_bytes(Image.new("RGB", (8, 8), "red"), values))
    assert read_settings(tmp_path / "a.png") == values
    again = Image.open(io.BytesIO((tmp_path / "a.png").read_bytes()))
    assert again.getpixel((3, 3)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "There is no picture"),
        (b"", "Cannot read"),
        (b"no picture at all", "Cannot read"),
        (png_bytes(Image.new("RGB", (8, 8))), "carries no settings"),
        (png_bytes(Image.new("RGB", (8, 8)), []), "damaged"),
    ],
)
def test_pngs_without_settings(content, said, tmp_path):
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SowError, match=said):
        read_settings(path)
