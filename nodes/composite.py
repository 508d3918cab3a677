"""Pasting the conditions' own pixels back into host pictures."""

from __future__ import annotations

from torch import Tensor

from ..sow_core.errors import SowError
from ..sow_core.method.condition import Layout, kept_mask
from ..sow_core.pictures.composite import feathered, laid_over


def paste_back(image: Tensor, layout: Layout, feather: int, strength: float) -> tuple[Tensor, Tensor]:
    """IMAGE [B, H, W, 3] with the conditions' pixels, and the mask [1, H, W] by which they were mixed in.

    Raises SowError if the pictures are not of the layout's size.
    """
    if tuple(image.shape[1:3]) != (layout.height, layout.width):
        raise SowError(f"Bad image size. Expected {layout.width}x{layout.height}, as the layout, "
                       f"got {image.shape[2]}x{image.shape[1]}.")
    alpha = feathered(kept_mask(layout), feather) * strength
    return laid_over(image[..., :3].movedim(-1, 1), layout.canvas, alpha).movedim(1, -1), alpha[None]
