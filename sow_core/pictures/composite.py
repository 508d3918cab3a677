"""Pixel paste-back: the condition's own pixels over the result, feathered. Not in the paper."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def paste_back(images: Tensor, canvas: Tensor, kept: Tensor, feather: int = 8) -> Tensor:
    """[N, 3, H, W] with the kept pixels (mask [H, W] of 0 or 1) of the canvas [3, H, W] laid over.

    The edge is blended over `feather` px inside the mask, so nothing of the condition's surroundings comes along.
    """
    return laid_over(images, canvas, feathered(kept, feather))


def laid_over(images: Tensor, canvas: Tensor, alpha: Tensor) -> Tensor:
    """[N, 3, H, W] mixed with the canvas [3, H, W] by `alpha` [H, W], 0..1."""
    return torch.lerp(images, canvas[None].to(images).expand_as(images), alpha[None, None].to(images))


def feathered(mask: Tensor, feather: int) -> Tensor:
    """A mask [H, W] of 0 or 1 that falls to 0 over `feather` px inside its edge (the picture's edge is none)."""
    if feather <= 0:
        return mask
    # Eroded by half the feather, then averaged over it: 0 at the edge, 1 where the erosion ended.
    half = -(-feather // 2)
    size = 2 * half + 1
    padded = F.pad(mask[None, None], (2 * half,) * 4, mode="replicate")
    eroded = -F.max_pool2d(-padded, size, stride=1)
    return (F.avg_pool2d(eroded, size, stride=1)[0, 0] * mask).clamp(0.0, 1.0)
