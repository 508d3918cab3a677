"""Guidance from outside the model: after a denoising the clean prediction is moved along a gradient.

Of what, is no business of the method: whoever runs a plan brings a function of the clean latents (turns bring the
gradient of a match, after CDD-ICM, arXiv 2304.02192). The prediction moves and the predicted noise stays, so that
nothing is differentiated through the model: the manifold-preserving form (He et al. 2023, arXiv 2311.16424, algorithm
1) of universal guidance (Bansal et al. 2023, arXiv 2302.07121). Classifier-free guidance stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..outside.records import check_record, read_record, require

if TYPE_CHECKING:
    from torch import Tensor

Toward = Callable[["Tensor"], "Tensor"]
"""Clean latents [N, C, h, w] -> the gradient [N, C, h, w], each picture's own, of what is to rise. Its length does not
count."""

MOST_STRENGTH = 10.0


@dataclass(frozen=True)
class Steering:
    """How strongly, and how far down, the clean prediction is moved.

    strength: the length of a step, rms over the cells outside the conditions, in units of a latent's deviation, 0..10;
      0: off. until: the lowest level after whose denoising a step is made, 1..1000: above the config's `lo` only in the
      cycle, 1: to the end of the refine.
    """

    strength: float = 0.0
    until: int = 6

    def __post_init__(self) -> None:
        """Raises SowError for a value of another type or out of its range."""
        check_record(self, "steering.")
        require(0 <= self.strength <= MOST_STRENGTH, "steering.strength", self.strength, f"0 to {MOST_STRENGTH:g}")
        require(1 <= self.until <= 1000, "steering.until", self.until, "1 to 1000")

    @property
    def active(self) -> bool:
        return self.strength > 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Steering:
        """Raises SowError on an unknown key or a bad value."""
        return read_record(cls, dict(values), strict=True)
