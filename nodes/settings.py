"""From widgets and option sockets to the engine's config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..sow_core.errors import SowError
from ..sow_core.method.advice import Advice, guided
from ..sow_core.method.config import SowConfig
from ..sow_core.method.modulation import Modulation
from ..sow_core.method.presets import preset

FROM_PRESET = -1
"""The value of `cycles` that leaves the number to the preset."""
ATTACHED = "sow_advice"
"""Under which name a MODEL carries what its folder recommends."""


def advice_of(model: Any) -> Advice | None:
    """What the MODEL's loader has attached to it; clones and LoRAs keep it."""
    return model.get_attachment(ATTACHED) if hasattr(model, "get_attachment") else None


def make_config(
    preset_name: str,
    steps: int,
    cfg: float,
    cycles: int = FROM_PRESET,
    attention: float = 1.0,
    cycle_options: Mapping[str, Any] | None = None,
    attention_options: Modulation | None = None,
    advice: Advice | None = None,
) -> SowConfig:
    """The config of a run: the preset, as the model's advice wants it, then the options, then the widgets.

    Levels in the options count steps of a 10-step run, as the presets' do; `steps` moves them to its own
    grid. `attention` multiplies both strengths of the modulation; 0 switches it off. Raises SowError for an
    unknown preset and for values out of range.
    """
    check_ranges(steps=steps, cfg=cfg, cycles=cycles, attention=attention)
    chosen = preset(preset_name) if advice is None else advice.config(preset_name)
    config = guided(chosen, cfg).changed(**(cycle_options or {}))
    config = config.with_steps(steps)
    if cycles != FROM_PRESET:
        config = replace(config, cycles=cycles)
    return replace(config, modulation=scaled(attention_options or config.modulation, attention))


def scaled(modulation: Modulation | None, factor: float) -> Modulation | None:
    """A modulation with all its strengths multiplied; None where nothing is left of it."""
    if modulation is None or factor == 0:
        return None
    strengths = {name: getattr(modulation, name) * factor for name in ("suppress", "enhance", "suppress_refine")}
    return replace(modulation, **strengths)


def parse_levels(text: str) -> tuple[int, ...]:
    """"4, 3" -> (4, 3); nothing -> (). Raises SowError for anything but whole numbers."""
    parts = [part for part in text.replace(";", ",").replace(" ", ",").split(",") if part]
    try:
        return tuple(dict.fromkeys(int(part) for part in parts))
    except ValueError as error:
        raise SowError(f"Bad preserve {text!r}: expected levels like 4,3, or nothing.") from error


RANGES = {"steps": (2, 200), "cfg": (1, 30), "cycles": (FROM_PRESET, 100), "attention": (0, 5)}
"""Of the samplers' widgets."""


def check_ranges(**values: float) -> None:
    """Raise SowError for a sampler's value out of range. The host checks widgets itself, but not linked values."""
    for name, value in values.items():
        low, high = RANGES[name]
        if not low <= value <= high:
            raise SowError(f"Bad {name} {value}: expected {low} to {high}.")


def seeds_from(seed: int, count: int) -> list[int]:
    """seed, seed + 1, ...: one seed per picture, wrapping at 64 bits."""
    return [(seed + index) % 2**64 for index in range(count)]
