"""A picture of a plan: the canvas, the conditions in their boxes, the related regions with their labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..box import Box
from .request import ConditionPicture
from .schema import LayoutPlan

COLOURS = ("#2f7bd9", "#d9622f", "#2fa36b", "#9a4fd0", "#c79a1c", "#d0407f", "#3f9aa8", "#7a7a2e")
"""Of the conditions, in order; their related regions have the same, dashed."""

CANVAS = "#e9e9e9"


def draw_plan(
    plan: LayoutPlan,
    conditions: Sequence[ConditionPicture] = (),
    longest: int = 768,
    background: Image.Image | None = None,
) -> Image.Image:
    """An RGB picture with the canvas's proportions, its longer side `longest` px. `conditions` in the plan's order
    are shown in their boxes, with their masks; without them the boxes stay empty.
    """
    scale = longest / max(plan.frame.width, plan.frame.height)
    size = round(plan.frame.width * scale), round(plan.frame.height * scale)
    picture = background.convert("RGB").resize(size) if background else Image.new("RGB", size, CANVAS)
    for placed, condition in zip(plan.conditions, conditions, strict=False):
        _paste(picture, condition, placed.box, scale)
    draw = ImageDraw.Draw(picture, "RGBA")
    font = ImageFont.load_default(max(longest // 34, 10))
    labels = []  # drawn last, so that no line runs through them
    for i, placed in enumerate(plan.conditions):
        colour = COLOURS[i % len(COLOURS)]
        for region in placed.related:
            corners = _corners(region.box, scale)
            draw.rectangle(corners, fill=f"{colour}26")
            _dashed(draw, corners, colour)
            labels.append(((corners[0], corners[3]), region.label, colour))
        corners = _corners(placed.box, scale)
        draw.rectangle(corners, outline=colour, width=3)
        labels.append((corners[:2], f"{i + 1}  {placed.box}", colour))
    for corner, text, colour in labels:
        _label(draw, corner, text, colour, font, size)
    return picture


def _paste(picture: Image.Image, condition: ConditionPicture, box: Box, scale: float) -> None:
    left, top, right, bottom = _corners(box, scale)
    size = max(right - left, 1), max(bottom - top, 1)
    mask = None
    if condition.mask is not None:
        mask = Image.fromarray((condition.mask.clip(0, 1) * 255).astype(np.uint8)).resize(size)
    picture.paste(Image.fromarray(condition.image).resize(size), (left, top), mask)


def _corners(box: Box, scale: float) -> tuple[int, int, int, int]:
    return round(box.x * scale), round(box.y * scale), round(box.right * scale), round(box.bottom * scale)


def _dashed(
    draw: ImageDraw.ImageDraw, corners: tuple[int, int, int, int], colour: str, dash: int = 8
) -> None:
    left, top, right, bottom = corners[0], corners[1], corners[2] - 1, corners[3] - 1
    for x in range(left, right, 2 * dash):
        for y in (top, bottom):
            draw.line((x, y, min(x + dash, right), y), fill=colour, width=2)
    for y in range(top, bottom, 2 * dash):
        for x in (left, right):
            draw.line((x, y, x, min(y + dash, bottom)), fill=colour, width=2)


def _label(
    draw: ImageDraw.ImageDraw,
    corner: Sequence[int],
    text: str,
    colour: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> None:
    """White text on the colour, standing on `corner` and kept inside the picture."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    wide, high = int(right - left) + 8, int(bottom - top) + 6
    x = min(max(corner[0], 0), max(size[0] - wide, 0))
    y = min(max(corner[1] - high, 0), max(size[1] - high, 0))
    draw.rectangle((x, y, x + wide, y + high), fill=colour)
    draw.text((x + 4 - left, y + 3 - top), text, fill="white", font=font)
