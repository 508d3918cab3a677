"""Resizing a picture together with its mask, so that what the mask hides never shows. PIL and numpy alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, Any]

BAND = 256
"""Rows that are floating point at a time: a large picture never is as a whole."""


def resize_plane(plane: Array, size: tuple[int, int], weights: Array | None = None) -> Array:
    """A plane [h, w], times its weights [h, w] if given, as float32 [H, W], size (H, W): bicubic with antialiasing.

    uint8, of either, is 0..1. Pillow resizes rows before columns, so that this takes the rows band by band.
    """
    height, width = plane.shape
    narrow = np.empty((height, size[1]), np.float32)
    for top in range(0, height, BAND):
        rows = slice(top, top + BAND)
        band = _floats(plane[rows])
        if weights is not None:
            band = band * _floats(weights[rows])
        narrow[rows] = band if width == size[1] else _resized(band, (len(band), size[1]))
    return narrow if height == size[0] else np.array(_resized(narrow, size))


def _resized(plane: Array, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(plane).resize((size[1], size[0]), Image.Resampling.BICUBIC)


def _floats(plane: Array) -> Array:
    values = np.ascontiguousarray(plane, np.float32)
    return values / np.float32(255) if plane.dtype == np.uint8 else values


def resize_kept(planes: Sequence[Array], mask: Array | None, size: tuple[int, int]) -> tuple[list[Array], Array | None]:
    """The planes [h, w] of a picture and its mask [h, w] (1, or 255 of uint8, = keep) as float32 0..1, size (H, W).

    Colours are averaged by how much of them the mask keeps: where it keeps at least half, hidden pixels have no
    share in them. Elsewhere they are the plain average.
    """
    plain = [resize_plane(plane, size).clip(0, 1) for plane in planes]
    if mask is None:
        return plain, None
    kept = resize_plane(mask, size)
    if mask.shape != size and mask.min() != mask.max():
        inside = kept >= 0.5
        for plane, made in zip(planes, plain, strict=True):
            weighted = resize_plane(plane, size, mask)
            np.divide(weighted, kept, out=made, where=inside)
    return [made.clip(0, 1) for made in plain], kept
