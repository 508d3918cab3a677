"""How strongly picture and words count, and how a prior is sampled: settings without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import SowError


@dataclass(frozen=True)
class Guidance:
    """How a composed query is sampled; the defaults are the published ones.

    steps: network passes (three rows each: the published code counts one more and makes the same passes);
    samples: embeddings drawn and averaged; eta: 1 adds the full noise of each step, 0 none;
    source: share of the reference laid over the result, 0 to 1; None: .1, .05 with a mask, 0 without a reference.
    Raises SowError for what is out of range.
    """

    image: float = 1.5
    text: float = 7.5
    steps: int = 10
    samples: int = 2
    eta: float = 1.0
    source: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("image weight", self.image), ("text weight", self.text)):
            check_weight(name, value)
        if not 1 <= self.steps <= 998:
            raise SowError(f"Bad steps {self.steps}: expected 1 to 998.")
        if not 1 <= self.samples <= 64:
            raise SowError(f"Bad samples {self.samples}: expected 1 to 64.")
        if not (math.isfinite(self.eta) and 0 <= self.eta <= 1):
            raise SowError(f"Bad eta {self.eta}: expected 0 to 1.")
        if self.source is not None and not (math.isfinite(self.source) and 0 <= self.source <= 1):
            raise SowError(f"Bad source weight {self.source}: expected 0 to 1.")


def check_weight(name: str, value: float) -> None:
    """Raises SowError unless it is a finite number from 0 to 100."""
    if not (math.isfinite(value) and 0 <= value <= 100):
        raise SowError(f"Bad {name} {value}: expected a number from 0 to 100.")
