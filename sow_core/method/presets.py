"""Settings by name."""

from __future__ import annotations

from dataclasses import replace

from ..errors import SowError
from .config import Predecessor, SowConfig

PAPER = SowConfig(
    cycles=10,
    unguided_tail=0,
    inversion_guidance=7.5,
    inversion_stride=1,
    invert_on="crop",
    fill="gray",
)
"""What the paper states, to the letter, where it states it: the strengths of the modulation it does not."""

PRESETS: dict[str, SowConfig] = {
    "normal": SowConfig(),
    "attribute": SowConfig(preserve=(4,), refine_eta=0.1),
    "style": SowConfig(preserve=(4,), refine_eta=1.0),
    "fast": SowConfig(cycles=2, init="noise", inversion_stride=7, unguided_tail=5),
    "paper": PAPER,
    "paper_attribute": replace(PAPER, preserve=(4,), refine_eta=0.1),
    "paper_style": replace(PAPER, preserve=(4,), refine_eta=1.0),
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
"""Settings by name. normal, attribute, style: the paper's three tasks, in our settings; fast: ours; paper,
paper_attribute, paper_style: the three tasks in the paper's own settings; cow_official: the predecessor.

They are for any model. What suits one model's weights is in its folder (sow.json: see `advice`)."""


def preset(name: str) -> SowConfig:
    """The config of a preset. Raises SowError, with the names there are, if it is unknown."""
    if name not in PRESETS:
        raise SowError(f"Unknown preset {name!r}: expected one of {', '.join(PRESETS)}.")
    return PRESETS[name]
