"""Pictures to keep: loading, resizing to their box, pasting on the canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..errors import SowError
from ..pictures.reading import Source, load_kept, nothing_kept
from ..pictures.resizing import resize_kept
from .box import CELL, Box, check_inside, check_size
from .config import Fill
from .regions import Regions, cell_coverage

GRAY = 128 / 255
"""The canvas and the surroundings of a condition [paper: gray]."""


def reach(cell: int) -> int:
    """px that fill="extend" carries the kept colours outward: past the cell at the edge and its neighbour."""
    return 2 * cell


@dataclass(frozen=True)
class Condition:
    """One picture to keep.

    image: [3, h, w] in 0..1; mask: [h, w], 1 = keep (values >= .5 are kept); box: where it goes, px;
    related: boxes of what continues it in the finished picture (the paper's condition-related region).
    Raises SowError if the mask is of another size or empty, or a value is not finite.
    """

    image: Tensor
    mask: Tensor
    box: Box
    related: tuple[Box, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[0] != 3:
            raise SowError(f"Bad condition: expected an RGB picture [3, h, w], got {list(self.image.shape)}.")
        size, mask_size = self.image.shape[-2:], self.mask.shape
        if tuple(size) != tuple(mask_size):
            got = "x".join(str(n) for n in reversed(mask_size))
            raise SowError(f"Bad mask size. Expected {size[1]}x{size[0]}, as its picture, got {got}.")
        if not (torch.isfinite(self.image).all() and torch.isfinite(self.mask).all()):
            raise SowError("Bad condition: the picture or its mask contains NaN or infinite values.")
        if not (self.mask >= 0.5).any():
            raise nothing_kept("mask", float(self.mask.max()))


def to_tensor(picture: Image.Image) -> Tensor:
    """PIL RGB -> [3, h, w], PIL gray -> [h, w]; float32 in 0..1."""
    array = torch.from_numpy(np.array(picture, dtype=np.uint8)).float() / 255.0
    return array.permute(2, 0, 1) if array.ndim == 3 else array


def to_picture(image: Tensor) -> Image.Image:
    """[3, h, w] or [h, w] in 0..1 -> PIL."""
    array = (image.detach().float().cpu().clamp(0, 1) * 255.0).round().to(torch.uint8).numpy()
    return Image.fromarray(array.transpose(1, 2, 0) if array.ndim == 3 else array)


def load_condition(
    image: Source,
    mask: Source | None,
    box: Box,
    related: Sequence[Box] = (),
) -> Condition:
    """A condition from files or PIL pictures, at the size of its box. Without a mask the picture's alpha is it, else
    all is kept. Raises SowError as `load_kept` does.

    A photograph of 48 megapixels would take 0.6 GB as floats: it is resized before it becomes a tensor.
    """
    loaded = load_kept(image, mask)
    size = box.snap().height, box.snap().width
    planes, kept = resize_kept(loaded.planes(), loaded.weights(), size)
    weights = torch.ones(size) if kept is None else torch.from_numpy(kept)
    return Condition(torch.from_numpy(np.stack(planes)), weights, box, tuple(related))


@dataclass(frozen=True)
class PreparedCondition:
    """A condition at its size on the canvas: picture [3, H, W], mask [H, W] of 0 or 1, box on the layout's grid."""

    picture: Tensor
    mask: Tensor
    box: Box
    cells: Tensor
    fill: Fill
    cell: int = CELL

    @cached_property
    def image(self) -> Tensor:
        """What is kept, on gray."""
        return torch.where(self.mask > 0.5, self.picture, torch.tensor(GRAY))

    @cached_property
    def filled(self) -> Tensor:
        """The picture as it is encoded; made when a run reads the crops, which few do."""
        if self.fill == "extend":
            return extend(self.image, self.mask, reach(self.cell))
        return self.picture if self.fill == "keep" else self.image


@dataclass(frozen=True)
class Layout:
    """What a run starts from: the pasted canvas [3, H, W], the prepared conditions, and their regions.

    cell: px per latent cell; snap: px of the grid that the boxes lie on, a multiple of it (a transformer's tokens).
    """

    canvas: Tensor
    conditions: tuple[PreparedCondition, ...]
    regions: Regions
    background: Tensor
    fill: Fill
    cell: int = CELL
    snap: int = CELL

    @cached_property
    def filled(self) -> Tensor:
        """The canvas as it is encoded, with something other than its background around what is kept."""
        if self.fill == "gray":
            return self.canvas
        kept = kept_mask(self)
        if self.fill == "extend":
            return extend(self.canvas, kept, reach(self.cell))
        filled = self.canvas.clone()
        for item in self.conditions:
            window = _window(filled, item.box)
            window.copy_(torch.where(_window(kept, item.box) > 0.5, window, item.picture))
        return filled

    @property
    def width(self) -> int:
        return self.canvas.shape[-1]

    @property
    def height(self) -> int:
        return self.canvas.shape[-2]


def kept_mask(layout: Layout) -> Tensor:
    """[H, W] of 0 or 1: the pixels of every condition, at full resolution."""
    mask = torch.zeros(layout.height, layout.width)
    for condition in layout.conditions:
        window = _window(mask, condition.box)
        window.copy_(torch.maximum(window, condition.mask))
    return mask


def make_layout(
    conditions: Sequence[Condition],
    width: int,
    height: int,
    *,
    background: Tensor | tuple[float, float, float] | None = None,
    coverage: float = 0.5,
    fill: Fill = "extend",
    cell: int = CELL,
    snap: int = CELL,
) -> Layout:
    """Resize, snap and paste: the paper's condition preprocessing, for several conditions.

    width, height: canvas px, multiples of `snap`. background: a colour 0..1, a picture [3, H, W], or gray.
    cell, snap: see `Layout`. A box is snapped to the grid *before* pasting, so that pixels and latents agree. Later
    conditions lie on top of earlier ones. fill: what surrounds the kept pixels, see `SowConfig`; it never covers
    another condition's. Raises SowError for a box outside the canvas or a mask that keeps no whole latent cell.
    """
    check_size(width, height, snap)
    if not conditions:
        raise SowError("No condition: expected at least one picture to keep.")
    check_inside(width, height, [c.box for c in conditions], (c.related for c in conditions))
    canvas = _background(background, width, height)
    under = canvas.clone()
    prepared = []
    for condition in conditions:
        item = prepare(condition, condition.box.snap_inside(width, height, snap), coverage, fill, cell)
        prepared.append(item)
        window = _window(canvas, item.box)
        window.copy_(torch.where(item.mask > 0.5, item.picture, window))
    regions = Regions.build(
        [c.cells for c in prepared],
        [c.box for c in prepared],
        [c.related for c in conditions],
        height // cell,
        width // cell,
        cell,
    )
    return Layout(canvas, tuple(prepared), regions, under, fill, cell, snap)


def _window(x: Tensor, box: Box) -> Tensor:
    """The part of [..., H, W] that a box covers, as a view."""
    return x[..., box.y : box.bottom, box.x : box.right]


def prepare(condition: Condition, box: Box, coverage: float, fill: Fill, cell: int = CELL) -> PreparedCondition:
    """Resize a condition to its snapped box; what its mask hides has no share in what it keeps."""
    planes = list(condition.image.detach().float().cpu().numpy())
    resized, kept = resize_kept(planes, condition.mask.detach().float().cpu().numpy(), (box.height, box.width))
    image, mask = torch.from_numpy(np.stack(resized)), (torch.tensor(kept) >= 0.5).float()
    cells = cell_coverage(mask, coverage, cell)
    if not cells.any():
        raise SowError(
            f"The mask keeps no whole {cell}-px cell at {box.width}x{box.height} px ({mask.mean():.2%} of the pixels); "
            "enlarge the box or the mask, or lower coverage."
        )
    return PreparedCondition(image, mask, box, cells, fill, cell)


def extend(image: Tensor, mask: Tensor, reach: int = 2 * CELL) -> Tensor:
    """The picture [3, h, w] with the colours inside the mask [h, w] (0 or 1) carried outward by `reach` px.

    Ring by ring: each pixel next to known ones takes their mean. Pixels inside and beyond stay as they are.
    """
    ys, xs = (mask > 0.5).nonzero(as_tuple=True)
    near = (slice(max(int(ys.min()) - reach, 0), int(ys.max()) + reach + 1),
            slice(max(int(xs.min()) - reach, 0), int(xs.max()) + reach + 1))  # fmt: skip
    known = mask[near][None].float()
    grown = torch.cat([image[:, near[0], near[1]] * known, known])[None]
    for _ in range(reach):
        pooled = F.avg_pool2d(grown, 3, stride=1, padding=1)
        grown = torch.where(grown[:, 3:] > 0.5, grown, pooled / pooled[:, 3:].clamp(min=1e-6))
    out = image.clone()
    window = out[:, near[0], near[1]]
    window.copy_(torch.where(grown[0, 3:] > 0.5, grown[0, :3], window))
    return out


def _background(value: Tensor | tuple[float, float, float] | None, width: int, height: int) -> Tensor:
    if isinstance(value, Tensor):
        if tuple(value.shape) != (3, height, width):
            got = "x".join(str(n) for n in reversed(value.shape[-2:]))
            raise SowError(f"Bad background size. Expected {width}x{height}, as the canvas, got {got}.")
        if not torch.isfinite(value).all():
            raise SowError("Bad background: the picture contains NaN or infinite values.")
        return value.float().clone()
    colour = torch.tensor(value if value is not None else (GRAY,) * 3, dtype=torch.float32)
    return colour[:, None, None].expand(3, height, width).clone()
