"""What a model folder recommends for itself (sow.json): settings that suit its weights and no other model's."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import SowError
from ..outside.records import read_record
from .config import SowConfig
from .presets import PRESETS, preset
from .separation import Separation


@dataclass(frozen=True)
class Gate:
    """The calibration of the modulation's gate: `Modulation.threshold` and `width` for one model's attention."""

    threshold: float = 0.0
    width: float = 0.1


@dataclass(frozen=True)
class Advice:
    """guidance 1..100 and negative prompt; the gate's calibration; changes of presets, by preset and setting;
    how named things are kept apart, where they are;
    most_things: how many things the model can have in one picture, 1..1000 (None: any number), for turns;
    turns: changes of the settings that turns are painted with;
    believed: score of a turn's own check from which its picture is believed, -1..1, see `turns.own_match`.

    None and nothing: the preset's own value, or the program's. Raises SowError for what no run could use.
    """

    guidance: float | None = None
    negative: str | None = None
    gate: Gate | None = None
    presets: dict[str, dict[str, Any]] = field(default_factory=dict)
    separate: Separation | None = None
    most_things: int | None = None
    turns: dict[str, Any] = field(default_factory=dict)
    believed: float | None = None

    def __post_init__(self) -> None:
        if self.most_things is not None and not 1 <= self.most_things <= 1000:
            raise SowError(f"Bad most_things {self.most_things}: expected 1 to 1000, or none.")
        if self.believed is not None and not -1 <= self.believed <= 1:
            raise SowError(f"Bad believed {self.believed}: expected -1 to 1, or none.")
        for name in (*self.presets, *PRESETS):
            self.config(name)
        self.edited(SowConfig())

    @classmethod
    def from_dict(cls, values: dict[str, Any], source: str = "sow.json") -> Advice:
        """Raises SowError, naming `source`, on an unknown key or a value of the wrong type or out of range."""
        return read_record(cls, values, f"Bad {source}", strict=True)

    def config(self, name: str) -> SowConfig:
        """A preset as this model wants it. Raises SowError if the preset is unknown."""
        config = preset(name)
        if name in self.presets:
            config = SowConfig.from_dict(config.as_dict() | self.presets[name])
        return self.applied(config)

    def applied(self, config: SowConfig) -> SowConfig:
        """Any config with this model's guidance and calibration."""
        if self.guidance is not None:
            config = guided(config, self.guidance)
        if self.gate is not None and config.modulation is not None:
            calibrated = replace(config.modulation, threshold=self.gate.threshold, width=self.gate.width)
            config = replace(config, modulation=calibrated)
        return config

    def edited(self, config: SowConfig) -> SowConfig:
        """The settings of turns as this model wants them: with its guidance and calibration, then with `turns`."""
        config = self.applied(config)
        return SowConfig.from_dict(config.as_dict() | self.turns) if self.turns else config


def guided(config: SowConfig, guidance: float) -> SowConfig:
    """At another guidance scale; an inversion that was guided at the old one, as the paper's, follows."""
    follows = config.inversion_guidance == config.guidance != 1.0
    inversion = guidance if follows else config.inversion_guidance
    return replace(config, guidance=float(guidance), inversion_guidance=float(inversion))
