"""Boxes with labels on a picture: what the preview of a layout and the drawing of a plan share. PIL alone."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import ImageDraw, ImageFont

Colour = tuple[int, int, int]
Corners = tuple[int, int, int, int]
"""left, top, right, bottom in px of the picture."""

PALETTE: tuple[Colour, ...] = (
    (255, 92, 92),
    (82, 156, 255),
    (255, 196, 61),
    (92, 214, 122),
    (206, 120, 255),
    (64, 214, 214),
)
"""One colour per condition, told apart on gray and on photographs."""
MARGIN = 4


def colour(index: int) -> Colour:
    return PALETTE[index % len(PALETTE)]


def font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    try:
        return ImageFont.load_default(size)
    except TypeError:  # Pillow < 10.1 has one size
        return ImageFont.load_default()


def dashed(draw: ImageDraw.ImageDraw, corners: Corners, rgb: Colour) -> None:
    """The outline of a related region."""
    left, top, right, bottom = corners
    for start in range(left, right, 12):
        end = min(start + 6, right)
        draw.line((start, top, end, top), rgb, 2)
        draw.line((start, bottom, end, bottom), rgb, 2)
    for start in range(top, bottom, 12):
        end = min(start + 6, bottom)
        draw.line((left, start, left, end), rgb, 2)
        draw.line((right, start, right, end), rgb, 2)


def label_all(
    draw: ImageDraw.ImageDraw, page: tuple[int, int], labels: Sequence[tuple[Corners, str, Colour]], size: int = 14
) -> None:
    """Write each text on its colour into a corner of its box where no earlier label is. Call it last, so that no
    line runs through a label. page: (width, height) of the picture; size: of the font in px.
    """
    taken: list[Corners] = []
    for corners, text, rgb in labels:
        taken.append(_label(draw, page, corners, text, rgb, taken, size))


def _label(
    draw: ImageDraw.ImageDraw,
    page: tuple[int, int],
    corners: Corners,
    text: str,
    rgb: Colour,
    taken: Sequence[Corners],
    size: int,
) -> Corners:
    face = font(size)
    left, top, right, low = draw.textbbox((0, 0), text, font=face)
    width, height = int(right - left) + 2 * MARGIN, int(low - top) + 2 * MARGIN
    x1, y1, x2, y2 = corners

    def place(x: int, y: int) -> Corners:
        x, y = min(max(x, 0), max(page[0] - width, 0)), min(max(y, 0), max(page[1] - height, 0))
        return x, y, x + width, y + height

    choices = [place(x1, y1), place(x1, y2 - height), place(x2 - width, y1), place(x2 - width, y2 - height)]
    free = [c for c in choices if not any(_overlap(c, other) for other in taken)]
    spot = (free or choices)[0]
    draw.rectangle(spot, fill=rgb)
    draw.text((spot[0] + MARGIN - left, spot[1] + MARGIN - top), text, fill=(0, 0, 0), font=face)
    return spot


def _overlap(a: Corners, b: Corners) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
