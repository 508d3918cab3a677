"""Settings of the dynamic attention modulation (paper Eqs. 4-6). Torch-free, as plans are.

The paper's numbers for these equations are in no source; every default here is a reading and is ours.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from ..outside.records import check_record, read_record, require

if TYPE_CHECKING:
    from torch import Tensor

    from .regions import RegionMaps

Form = Literal["bias", "minmax", "cut"]
CUT = 20.0
"""Nats between a condition and the rest that leave no attention between them (form "cut")."""
ModulatedRows = Literal["cond", "all"]


def decay(x: Tensor | float, rate: float, floor: float) -> Tensor | float:
    """Eq. 6 as read: floor + (1 - floor) exp(-rate x); 1 at x = 0, falling to `floor`."""
    fall = math.exp(-rate * x) if isinstance(x, (int, float)) else (-rate * x).exp()
    return floor + (1.0 - floor) * fall


@dataclass(frozen=True)
class Modulation:
    """Strengths and decays. None of these numbers is from the paper.

    suppress, enhance: S and E; nats added to the logits (form "bias", 0..20) or shares of each row's
      logit range (form "minmax", 0..1).
    suppress_rate, suppress_floor, enhance_rate, enhance_floor: decay over cycles (rate >= 0, floor 0..1);
      rate 0 switches that decay off. Gentle, because every cycle forgets most of what the one before has done:
      what fades to nothing by the last cycle is not in the picture.
    distance_rate, distance_floor: decay of E over the distance to the condition's centre.
    threshold: of the indicator, 0..1; E is scaled by clip((threshold - I) / width, 0, 1). What attention a model
      pays to a joined outline differs from model to model: 0, an uncalibrated model's, leaves the gate open;
      `benchmarks.quality.calibrate` measures a model's own.
    form: "bias" adds a rank-2 term to the logits; "minmax" is Eq. 8 to the letter, with N x N tensors; "cut" is a
      control for benchmarks, no attention between a condition and the rest in either direction, at any strength.
    rows: modulate the conditional rows only (as DenseDiffusion does) or all.
    width: of the gate's slope, above 0 to 1.
    suppress_refine: S in the refine below its last ID level, where nothing is written over the condition any
      more; in the unit of `suppress`, without decay. Ours.
    """

    suppress: float = 2.0
    enhance: float = 1.0
    suppress_rate: float = 0.1
    suppress_floor: float = 0.3
    enhance_rate: float = 0.1
    enhance_floor: float = 0.3
    distance_rate: float = 2.0
    distance_floor: float = 0.2
    threshold: float = 0.0
    form: Form = "bias"
    rows: ModulatedRows = "cond"
    width: float = 0.1
    suppress_refine: float = 0.0

    def __post_init__(self) -> None:
        """Raises SowError for a value of another type or out of its range."""
        check_record(self, "modulation ")
        for name, kind in (("form", Form), ("rows", ModulatedRows)):
            value = getattr(self, name)
            require(value in get_args(kind), f"modulation {name}", value, " | ".join(get_args(kind)))
        top = 1.0 if self.form == "minmax" else 20.0
        for name, high in (
            ("suppress", top),
            ("enhance", top),
            ("suppress_rate", 100.0),
            ("enhance_rate", 100.0),
            ("distance_rate", 100.0),
            ("suppress_floor", 1.0),
            ("enhance_floor", 1.0),
            ("distance_floor", 1.0),
            ("threshold", 1.0),
            ("width", 1.0),
            ("suppress_refine", top),
        ):
            value = getattr(self, name)
            require(0.0 <= value <= high, f"modulation {name}", value, f"0 to {high:g} for the form {self.form}")
        require(self.width > 0, "modulation width", self.width, "above 0, at most 1 (threshold=0 opens the gate)")

    @property
    def active(self) -> bool:
        """Does it do anything in the cycle?"""
        return self.suppress > 0 or self.enhance > 0 or self.form == "cut"

    def idle(self, cycle: int | None) -> bool:
        """Does it add nothing in this cycle, or in the refine (None)?"""
        suppress, enhance = (self.suppress_refine, 0.0) if cycle is None else (self.suppress, self.enhance)
        return suppress == enhance == 0 and self.form != "cut"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Modulation:
        """Raises SowError on an unknown key or a value of the wrong type or out of range."""
        return read_record(cls, values, strict=True)

    def suppression(self, maps: RegionMaps, cycle: int | None) -> Tensor:
        """Eq. 4's factor of the rows i in C: [K, T]. cycle None: the refine."""
        if self.form == "cut":
            return CUT * maps.condition
        fade = decay(0 if cycle is None else cycle, self.suppress_rate, self.suppress_floor)
        strength = self.suppress_refine if cycle is None else self.suppress * fade
        return strength * maps.condition

    def enhancement(self, maps: RegionMaps, cycle: int | None) -> Tensor:
        """Eq. 5's factor of the rows i in R: [K, T], before the indicator's gate; none in the refine."""
        if self.form == "cut":
            return -CUT * (1.0 - maps.condition)
        over_distance = decay(maps.distance, self.distance_rate, self.distance_floor)
        strength = 0.0 if cycle is None else self.enhance * decay(cycle, self.enhance_rate, self.enhance_floor)
        return strength * over_distance * maps.related

    def gate(self, indicator: Tensor) -> Tensor:
        """Eq. 8's factor of E for an indicator, 0 (closed) to 1; 1 where there is none (NaN)."""
        if self.threshold == 0 or self.form == "cut":
            return indicator.new_ones(indicator.shape)
        return ((self.threshold - indicator) / self.width).clamp(0.0, 1.0).nan_to_num(1.0)
