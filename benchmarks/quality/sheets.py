"""Contact sheets: a case a row, a method a column, with the methods' names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from sow_core.method.condition import Layout, to_picture

from .cases import Case

TILE, GAP, HEAD, FOOT = 128, 6, 16, 14


def method_sheet(
    cases: Sequence[Case], layouts: Sequence[Layout], columns: dict[str, list[Path | None]]
) -> Image.Image:
    """given, canvas, then a column per method; under each row the case's text. A missing picture stays white."""
    font = ImageFont.load_default(size=10)
    heads = ["given", "canvas", *columns]
    width = GAP + len(heads) * (TILE + GAP)
    sheet = Image.new("RGB", (width, HEAD + len(cases) * (TILE + FOOT + GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    for n, head in enumerate(heads):
        draw.text((GAP + n * (TILE + GAP), 2), head[: TILE // 6], fill="black", font=font)
    for row, (case, layout) in enumerate(zip(cases, layouts, strict=True)):
        y = HEAD + row * (TILE + FOOT + GAP)
        tiles: list[Image.Image | None] = [to_picture(case.source), to_picture(layout.canvas)]
        for paths in columns.values():
            path = paths[row]
            tiles.append(Image.open(path).convert("RGB") if path is not None else None)
        for n, tile in enumerate(tiles):
            if tile is not None:
                sheet.paste(tile.resize((TILE, TILE)), (GAP + n * (TILE + GAP), y))
        draw.text((GAP, y + TILE + 1), case.prompt[: width // 5], fill="black", font=font)
    return sheet
