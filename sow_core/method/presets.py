"""Settings by name."""

from __future__ import annotations

from ..errors import SowError
from .config import Predecessor, SowConfig

PRESETS: dict[str, SowConfig] = {
    "normal": SowConfig(),
    "attribute": SowConfig(preserve=(4,), refine_eta=0.1),
    "style": SowConfig(preserve=(4,), refine_eta=1.0),
    "fast": SowConfig(cycles=2, init="noise", inversion_stride=7, unguided_tail=5),
    "cow_official": SowConfig(
        cycles=10,
        preserve=(4,),
        refine_eta=0.1,
        unguided_tail=0,
        inversion_guidance=7.5,
        inversion_stride=1,
        invert_on="crop",
        fill="gray",
        modulation=None,
        predecessor=Predecessor(renoise_shift=1, extra_rows=True, negative_in=("cycle",)),
    ),
}
"""Settings by name. normal, attribute, style: the paper's three tasks. fast: ours. cow_official: the predecessor."""


def preset(name: str) -> SowConfig:
    """The config of a preset. Raises SowError, with the names there are, if it is unknown."""
    if name not in PRESETS:
        raise SowError(f"Unknown preset {name!r}: expected one of {', '.join(PRESETS)}.")
    return PRESETS[name]
