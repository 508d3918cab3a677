"""A picture of a plan: the canvas, the conditions in their boxes, the related regions with their labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from ..method.box import Box
from ..pictures.boxdraw import Corners, colour, dashed, label_all
from ..pictures.resizing import resize_kept
from .request import ConditionPicture
from .schema import LayoutPlan

CANVAS = (233, 233, 233)
SHADE = 38
"""Opacity of a related region, of 255."""


def draw_plan(plan: LayoutPlan, conditions: Sequence[ConditionPicture] = (), longest: int = 768) -> Image.Image:
    """An RGB picture with the canvas's proportions, its longer side `longest` px. `conditions` in the plan's order
    are shown in their boxes, with their masks; without them the boxes stay empty.
    """
    scale = longest / max(plan.frame.width, plan.frame.height)
    size = round(plan.frame.width * scale), round(plan.frame.height * scale)
    picture = Image.new("RGB", size, CANVAS)
    for placed, condition in zip(plan.conditions, conditions, strict=False):
        _paste(picture, condition, _corners(placed.box, scale))
    draw = ImageDraw.Draw(picture, "RGBA")
    labels = []
    for index, placed in enumerate(plan.conditions):
        rgb = colour(index)
        corners = _corners(placed.box, scale)
        labels.append((corners, f"{index + 1}  {placed.box}", rgb))
        for region in placed.related:
            area = _corners(region.box, scale)
            draw.rectangle(area, fill=(*rgb, SHADE))
            dashed(draw, area, rgb)
            labels.append((area, region.label, rgb))
        draw.rectangle(corners, outline=rgb, width=3)
    label_all(draw, size, labels, max(longest // 40, 10))
    return picture


def _paste(picture: Image.Image, condition: ConditionPicture, corners: Corners) -> None:
    left, top, right, bottom = corners
    planes, kept = resize_kept(
        [condition.image[..., c] for c in range(3)], condition.mask, (bottom - top + 1, right - left + 1)
    )
    pixels = Image.fromarray((np.stack(planes, -1) * 255).round().astype(np.uint8))
    mask = None if kept is None else Image.fromarray((kept.clip(0, 1) * 255).astype(np.uint8))
    picture.paste(pixels, (left, top), mask)


def _corners(box: Box, scale: float) -> Corners:
    return round(box.x * scale), round(box.y * scale), round(box.right * scale) - 1, round(box.bottom * scale) - 1
