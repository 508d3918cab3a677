"""Whether a mask shows what is kept, or what was cut away: the host's Load Image gives both on one socket."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Meaning = Literal["auto", "what is kept", "what is cut away"]
MEANINGS: tuple[str, ...] = get_args(Meaning)

RIM = 0.02
"""Share of the shorter side that counts as the picture's border."""
BORDER, GAP = 0.4, 0.3
"""A cut-out's mask covers at least BORDER of the border, and GAP more of it than of the picture's middle."""
FLAT = 2.5 / 255
"""Largest spread of one colour: what a cut-out hides under its transparency is mostly black or white."""
FLAT_BORDER = 0.25


def shows_cut_away(mask: Tensor, image: Tensor) -> bool:
    """Whether mask [h, w] (1 = marked) of a picture [3, h, w] marks the surroundings of a cut-out.

    Load Image gives a painted mask as 1 = painted, and a cut-out's transparency as 1 = transparent. The second
    covers the border and leaves out the middle, where a mask of a subject does the opposite; or it covers one
    flat colour, which nobody keeps, along at least a quarter of the border.
    """
    marked = mask >= 0.5
    if bool(marked.all()) or not bool(marked.any()):
        return False
    height, width = marked.shape
    rim = max(round(RIM * min(height, width)), 1)
    inner = torch.zeros_like(marked)
    inner[rim : height - rim, rim : width - rim] = True
    border = float(marked[~inner].float().mean())
    middle = float(marked[height // 4 : height - height // 4, width // 4 : width - width // 4].float().mean())
    if border >= BORDER and border - middle >= GAP:
        return True
    return border >= FLAT_BORDER and _flat(image[:, mask >= 0.99]) and not _flat(image[:, ~marked])


def _flat(colours: Tensor) -> bool:
    """Whether the colours [3, n] are one."""
    return colours.shape[1] > 0 and float((colours.amax(1) - colours.amin(1)).max()) <= FLAT
