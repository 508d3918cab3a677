"""Pasting the conditions' own pixels back into host pictures."""

from __future__ import annotations

import torch
from torch import Tensor

from ..sow_core.errors import SowError
from ..sow_core.method.box import Box
from ..sow_core.method.condition import prepare
from ..sow_core.pictures.composite import feathered, laid_over
from .layout import LayoutSpec

COVERAGE = 0.5
"""Any will do: cells play no part in pixels."""
SLACK = 0.01
"""By how much the proportions of an enlarged picture may differ from the layout's."""


def paste_back(image: Tensor, spec: LayoutSpec, feather: int, strength: float) -> tuple[Tensor, Tensor]:
    """IMAGE [B, H, W, 3] with the conditions' pixels, and the mask [1, H, W] by which they were mixed in.

    A picture that was enlarged in the layout's proportions takes the conditions at its own size, from the pictures
    that were connected. Raises SowError if the proportions differ.
    """
    height, width = (int(n) for n in image.shape[1:3])
    if abs(width * spec.height / (height * spec.width) - 1) > SLACK:
        raise SowError(f"Bad image size. Expected {spec.width}x{spec.height}, as the layout, or its proportions, got "
                       f"{width}x{height}; put SOW Composite before the node that crops or stretches.")
    pixels, kept = _pasted(spec, width, height)
    alpha = feathered(kept, feather) * strength
    return laid_over(image[..., :3].movedim(-1, 1), pixels, alpha).movedim(1, -1), alpha[None]


def _pasted(spec: LayoutSpec, width: int, height: int) -> tuple[Tensor, Tensor]:
    """The conditions on a page of width x height px: their pixels [3, H, W], and [H, W], 1 = kept."""
    pixels, kept = torch.zeros(3, height, width), torch.zeros(height, width)
    for source, item in zip(spec.conditions, spec.build().conditions, strict=True):
        left, right = (round(x * width / spec.width) for x in (item.box.x, item.box.right))
        top, bottom = (round(y * height / spec.height) for y in (item.box.y, item.box.bottom))
        box = Box(left, top, right - left, bottom - top)
        shown = item if box == item.box else prepare(source, box, COVERAGE, "gray")
        window = (..., slice(top, bottom), slice(left, right))
        pixels[window] = torch.where(shown.mask > 0.5, shown.picture, pixels[window])
        kept[window] = torch.maximum(kept[window], shown.mask)
    return pixels, kept
