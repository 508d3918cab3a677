"""The one picture, mask and set of prompts of the comparisons with the predecessor."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

PROMPTS = {  # all but the first are fixed in the official code
    "positive": "a person in the forest",
    "negative": "a bad quality and low resolution image,extra fingers,deformed hands",
    "suppress": "human face",
    "diverse": "a high quality and colorful image",
}


def picture_and_mask(size: int) -> tuple[Image.Image, Image.Image]:
    """Smooth random colours, and an off-centre round mask (white = keep) of whole 8-px cells; size >= 64."""
    noise = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    cells = size // 8
    keep = Image.new("L", (cells, cells), 0)
    ImageDraw.Draw(keep).ellipse((cells // 8, 1, cells - cells // 5 - 1, cells - 3), fill=255)
    smooth = Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)
    return smooth, keep.resize((size, size), Image.Resampling.NEAREST)
