"""Contact sheets: condition, canvas, one picture per cycle, result."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont, ImageOps

MARGIN, LABEL = 8, 18


def contact_sheet(pictures: Sequence[tuple[str, Image.Image]], tile: int = 192, columns: int = 0) -> Image.Image:
    """Labelled pictures in rows, each fitted into a tile of `tile` px; columns 0: about 3:2."""
    columns = columns or max(math.ceil(math.sqrt(len(pictures) * 1.5)), 1)
    rows = math.ceil(len(pictures) / columns)
    step_x, step_y = tile + MARGIN, tile + LABEL + MARGIN
    sheet = Image.new("RGB", (columns * step_x + MARGIN, rows * step_y + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default()
    for index, (label, picture) in enumerate(pictures):
        x, y = MARGIN + index % columns * step_x, MARGIN + index // columns * step_y
        fitted = ImageOps.contain(picture.convert("RGB"), (tile, tile), Image.Resampling.LANCZOS)
        sheet.paste(fitted, (x + (tile - fitted.width) // 2, y + LABEL + (tile - fitted.height) // 2))
        draw.text((x, y + 2), label[: tile // 6], fill="black", font=font)
    return sheet
