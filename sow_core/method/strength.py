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

Form = Literal["bias", "minmax"]
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
      rate 0 switches that decay off.
    distance_rate, distance_floor: decay of E over the distance to the condition's centre.
    threshold: of the indicator, 0..1; E is scaled by (threshold - I) / threshold. 0 switches the gate off.
    form: "bias" adds a rank-2 term to the logits; "minmax" is Eq. 8 to the letter, with N x N tensors.
    rows: modulate the conditional rows only (as DenseDiffusion does) or all.
    """

    suppress: float = 2.0
    enhance: float = 1.0
    suppress_rate: float = 0.3
    suppress_floor: float = 0.0
    enhance_rate: float = 0.3
    enhance_floor: float = 0.0
    distance_rate: float = 2.0
    distance_floor: float = 0.2
    threshold: float = 0.3
    form: Form = "bias"
    rows: ModulatedRows = "cond"

    def __post_init__(self) -> None:
        """Raises SowError for a value of another type or out of its range."""
        check_record(self, "modulation ")
        for name, kind in (("form", Form), ("rows", ModulatedRows)):
            value = getattr(self, name)
            require(value in get_args(kind), f"modulation {name}", value, " | ".join(get_args(kind)))
        top = 20.0 if self.form == "bias" else 1.0
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
        ):
            value = getattr(self, name)
            require(0.0 <= value <= high, f"modulation {name}", value, f"0 to {high:g} for the form {self.form}")

    @property
    def active(self) -> bool:
        return self.suppress > 0 or self.enhance > 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Modulation:
        """Raises SowError on an unknown key or a value of the wrong type or out of range."""
        return read_record(cls, values, strict=True)

    def suppression(self, maps: RegionMaps, cycle: int) -> Tensor:
        """Eq. 4's factor of the rows i in C: [K, T]."""
        return self.suppress * decay(cycle, self.suppress_rate, self.suppress_floor) * maps.condition

    def enhancement(self, maps: RegionMaps, cycle: int) -> Tensor:
        """Eq. 5's factor of the rows i in R: [K, T], before the indicator's gate."""
        over_distance = decay(maps.distance, self.distance_rate, self.distance_floor)
        return self.enhance * decay(cycle, self.enhance_rate, self.enhance_floor) * over_distance * maps.related
