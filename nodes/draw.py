"""Pictures for people: the layout's preview, sheets, heat maps and curves. PIL on the CPU."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ..sow_core.method.box import Box
from ..sow_core.method.condition import Layout, kept_mask, to_picture
from ..sow_core.pictures.boxdraw import colour, dashed, font, label_all
from ..sow_core.turns.things import Thing

PREVIEW_SIDE = 512
"""Pictures with text are enlarged to at least this shorter side, or their labels could not be read."""


def from_picture(picture: Image.Image) -> Tensor:
    """PIL -> the host's IMAGE [1, H, W, 3]."""
    return torch.from_numpy(np.asarray(picture.convert("RGB"), dtype=np.float32) / 255.0)[None]


def draw_layout(layout: Layout, related: Sequence[Sequence[Box]]) -> Image.Image:
    """The canvas with the pasted conditions, the outlines of their masks, and all boxes with labels.

    Colours and numbers are those that the host's drawing field shows. What is kept is in colour; the rest of each
    picture is shown pale and gray, so that a mask that keeps the wrong part is seen. related: the related boxes of
    every condition, px on the canvas.
    """
    scale = max(1, math.ceil(PREVIEW_SIDE / min(layout.width, layout.height)))
    size = layout.width * scale, layout.height * scale
    picture = to_picture(_with_the_rest(layout)).resize(size, Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture)
    several = len(layout.conditions) > 1
    for index, (item, areas) in enumerate(zip(layout.conditions, related, strict=True)):
        for area in areas:
            dashed(draw, _corners(area.clip(layout.width, layout.height), scale), colour(index))
        _outline(picture, item.mask, item.box, scale, colour(index))
        x, y, right, bottom = _corners(item.box, scale)
        draw.rectangle((x, y, right, bottom), outline=colour(index), width=2)
    labels = []
    for index, (item, areas) in enumerate(zip(layout.conditions, related, strict=True)):
        of = f"{index + 1}-" if several else ""
        boxes = [(item.box, f"{of}01 condition {item.box}")]
        boxes += [(area.clip(layout.width, layout.height), f"{of}{n:02} related {area}")
                  for n, area in enumerate(areas, start=2)]
        labels += [(_corners(box, scale), text, colour(index)) for box, text in boxes]
    label_all(draw, picture.size, labels)
    return picture


def draw_turn(picture: Tensor, free: Tensor, regions: Sequence[Box], things: Sequence[Thing]) -> Image.Image:
    """A turn before it is painted: what may change in colour, the rest of picture [3, H, W] gray and pale.

    free: 1 where the picture may change [H, W]; regions: its boxes, dashed; things: with boxes, where known.
    """
    height, width = picture.shape[-2:]
    scale = max(1, math.ceil(PREVIEW_SIDE / min(width, height)))
    gray = picture.mean(0, keepdim=True).expand_as(picture)
    pale = torch.lerp(torch.ones_like(picture), gray, PALE)
    shown = to_picture(torch.where(free > 0.5, picture, pale)).resize((width * scale, height * scale),
                                                                      Image.Resampling.NEAREST)  # fmt: skip
    draw, labels = ImageDraw.Draw(shown), []
    for region in regions:
        dashed(draw, _corners(region, scale), colour(0))
        labels.append((_corners(region, scale), f"region {region}", colour(0)))
    for index, thing in enumerate((t for t in things if t.box), start=1):
        corners = _corners(thing.box.clip(width, height), scale)
        draw.rectangle(corners, outline=colour(index), width=2)
        labels.append((corners, f"{thing.name} {thing.box}", colour(index)))
    label_all(draw, shown.size, labels)
    return shown


PALE = 0.45
"""How much of what is not kept shows through, as gray."""


def _with_the_rest(layout: Layout) -> Tensor:
    """The canvas with each picture's unkept part, gray and pale, wherever nothing is kept."""
    canvas, kept = layout.canvas.clone(), kept_mask(layout)
    for item in layout.conditions:
        rows, columns = slice(item.box.y, item.box.bottom), slice(item.box.x, item.box.right)
        gray = item.picture.mean(0, keepdim=True)
        window = canvas[:, rows, columns]
        pale = torch.lerp(window, gray.expand_as(window), PALE)
        canvas[:, rows, columns] = torch.where(kept[rows, columns] > 0.5, window, pale)
    return canvas


def _corners(box: Box, scale: int) -> tuple[int, int, int, int]:
    return box.x * scale, box.y * scale, box.right * scale - 1, box.bottom * scale - 1


def _outline(picture: Image.Image, mask: Tensor, box: Box, scale: int, rgb: tuple[int, int, int]) -> None:
    """The mask's edge, white on the colour, where the mask is not simply its whole box."""
    if bool((mask > 0.5).all()):
        return
    plane = np.kron(mask.numpy() > 0.5, np.ones((scale, scale), bool))
    padded = np.pad(plane, 1)
    eroded = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    edge = Image.fromarray((plane & ~eroded).astype(np.uint8) * 255)
    picture.paste((255, 255, 255), (box.x * scale, box.y * scale), edge)


HEAT = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], np.float32)
"""Five stops of the perceptually ordered map "inferno"."""


def heat(values: Tensor, size: tuple[int, int]) -> Image.Image:
    """A map [h, w] in 0..1 as colours, enlarged to size (width, height)."""
    plane = values.clamp(0, 1).numpy().astype(np.float32)
    grown = np.asarray(Image.fromarray(plane, mode="F").resize(size, Image.Resampling.BICUBIC)).clip(0, 1)
    position = grown * (len(HEAT) - 1)
    low = np.floor(position).astype(int).clip(0, len(HEAT) - 2)
    part = (position - low)[..., None]
    return Image.fromarray((HEAT[low] * (1 - part) + HEAT[low + 1] * part).round().astype(np.uint8))


def curve(series: Sequence[Sequence[float]], names: Sequence[str], title: str, line: float | None = None,
          line_name: str = "") -> Image.Image:
    """Curves over 1, 2, 3, ... with values in 0..1, and a level line. NaN leaves a gap."""
    width, height, left, top = 720, 360, 52, 40
    page = Image.new("RGB", (width, height), (250, 250, 250))
    draw = ImageDraw.Draw(page)
    right, bottom = width - 16, height - 36
    count = max((len(s) for s in series), default=1)
    peak = max([v for s in series for v in s if v == v] + [line or 0.0, 0.1])
    top_value = min(math.ceil(peak * 10 + 0.5) / 10, 1.0)

    def at(step: int, value: float) -> tuple[float, float]:
        share = step / max(count - 1, 1)
        return left + share * (right - left), bottom - min(value / top_value, 1.0) * (bottom - top)

    draw.text((left, 10), title, fill=(20, 20, 20), font=font(15))
    for tick in range(5):
        value = top_value * tick / 4
        y = at(0, value)[1]
        draw.line((left, y, right, y), (222, 222, 222))
        draw.text((8, y - 8), f"{value:.2f}", fill=(90, 90, 90), font=font(12))
    draw.text((right - 110, bottom + 10), f"{count} model calls", fill=(90, 90, 90), font=font(12))
    if line is not None:
        y = at(0, line)[1]
        draw.line((left, y, right, y), (30, 30, 30), 1)
        draw.text((right - 150, y - 16), line_name, fill=(30, 30, 30), font=font(12))
    for index, values in enumerate(series):
        points = [at(step, value) if value == value else None for step, value in enumerate(values)]
        for first, second in zip(points, points[1:], strict=False):
            if first is not None and second is not None:
                draw.line((*first, *second), colour(index), 2)
        for point in points:
            if point is not None:
                draw.ellipse((point[0] - 2, point[1] - 2, point[0] + 2, point[1] + 2), fill=colour(index))
        draw.text((left + 8 + 130 * index, bottom + 10), names[index], fill=colour(index), font=font(13))
    return page
