"""Training-free composition: the picture's direction plus the words', less what is not wanted."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import SowError
from .encoders import unit
from .guidance import check_weight


def fuse(
    image: Tensor | None,
    text: Tensor | None,
    without: Tensor | None = None,
    image_weight: float = 1.0,
    text_weight: float = 1.0,
) -> Tensor:
    """norm(w_I e_image + w_T (e_text - e_without)), all [D] and taken as unit vectors; None is left out.

    Raises SowError if nothing is left, or a weight is negative or not finite.
    """
    check_weight("image weight", image_weight)
    check_weight("text weight", text_weight)
    parts = [(image, image_weight), (text, text_weight), (without, -text_weight)]
    given = [weight * unit(vector) for vector, weight in parts if vector is not None]
    made = torch.stack(given).sum(0) if given else torch.zeros(1)
    if made.norm() < 1e-4:
        raise SowError("Nothing to search for: the picture and the words cancel out, or their weights are 0.")
    return unit(made)
