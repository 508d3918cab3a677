"""How turns are painted unless the user says otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from ..method.advice import Advice
from ..method.config import SowConfig
from ..method.guidance import Guidance
from ..method.overrides import override
from ..method.plan import Decode, Denoise, Encode, Op, Plan, SeedCanvas
from .painting import EditOptions

EDIT = SowConfig(fill="gray")
"""The preset `edit`, chosen on validation turns. What is encoded in the region decides: a kept floor stays a floor,
gray becomes anything."""
FEATHER = 8
"""px inside a region, on a picture of 512 px and more; smaller pictures take their share of it, at least 4."""


def edit_config(advice: Advice, settings: Sequence[str] = ()) -> SowConfig:
    """The preset `edit` as a model's folder advises, then the user's NAME=VALUE. Raises SowError."""
    return override(advice.edited(EDIT), settings)


def edit_options(
    advice: Advice, frame: tuple[int, int], feather: int | None, negative: str | None
) -> EditOptions:
    """What a model's folder advises and the canvas wants, where the user says nothing else. Raises SowError."""
    own = max(round(FEATHER * min(min(frame) / 512, 1.0)), 4)
    told = advice.negative or "" if negative is None else negative
    return EditOptions(own if feather is None else feather, advice.most_things or 0, told)


def text_plan(config: SowConfig) -> Plan:
    """Plain sampling from noise, for the first picture of a history that begins with words."""
    guide = Guidance(config.guidance)
    ops: list[Op] = [Encode(canvas=True, crops=False), SeedCanvas("none", config.steps)]
    ops += [Denoise(k, 0.0, guide, False, None) for k in range(config.steps, 0, -1)]
    return Plan(config, (*ops, Decode()))
