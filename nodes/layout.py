"""What a SOW_LAYOUT carries, and how pictures from the host become conditions on a canvas."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ..sow_core.errors import SowError
from ..sow_core.method.box import CELL, Box
from ..sow_core.method.condition import Condition, Layout, make_layout
from ..sow_core.method.config import SowConfig
from ..sow_core.planning.schema import LayoutPlan
from .boxes import Placement
from .cutout import Meaning, shows_cut_away

Fit = Literal["fit", "crop", "stretch"]
FITS: tuple[str, ...] = get_args(Fit)


class LayoutSpec(NamedTuple):
    """Conditions on a canvas of width x height px, before a config has said how they are prepared.

    background: [3, height, width] in 0..1, or None for gray.
    """

    conditions: tuple[Condition, ...]
    width: int
    height: int
    background: Tensor | None

    def build(self, config: SowConfig | None = None, grid: tuple[int, int] = (CELL, CELL)) -> Layout:
        """The engine's layout, prepared as the config (default: the paper's) wants it.

        grid: px per latent cell and per step of the boxes, of the model that will sample.
        """
        config = config or SowConfig()
        cell, snap = grid
        return make_layout(
            self.conditions, self.width, self.height,
            background=self.background, coverage=config.coverage, fill=config.fill, cell=cell, snap=snap,
        )  # fmt: skip


def picture_of(image: Tensor, name: str, advice: str) -> Tensor:
    """The one picture of a host IMAGE [1, H, W, C >= 3] as [3, H, W]. Raises SowError for a batch."""
    if image.ndim != 4 or image.shape[-1] < 3:
        raise SowError(f"Bad {name}: expected an IMAGE [1, height, width, 3], got {list(image.shape)}.")
    if image.shape[0] != 1:
        raise SowError(f"Bad {name} batch. Expected 1 picture, got {image.shape[0]}; {advice}.")
    return image[0, ..., :3].movedim(-1, 0).float().cpu()


class Kept(NamedTuple):
    """mask: [h, w], 1 = keep; remark: a line for the user where the mask was not taken as it came ("" else)."""

    mask: Tensor
    remark: str


TURNED = ("The mask marks the border and leaves out the middle, as Load Image gives it for a cut-out, so it was turned "
          "round. To keep the border instead, set mask_shows to: what is kept.")


def mask_of(mask: Tensor | None, image: Tensor, invert: bool, shows: Meaning = "auto") -> Kept:
    """What a host MASK keeps of the picture [3, h, w]; without a mask everything is kept.

    Load Image answers an empty 64 x 64 mask for a picture without transparency: that counts as no mask.
    shows: what the mask marks; "auto" looks at it, unless `invert` says that it marks what is cut away.
    Raises SowError for a batch or another size.
    """
    height, width = image.shape[-2:]
    whole = Kept(torch.ones(height, width), "")
    if mask is None:
        return whole
    mask = mask[None] if mask.ndim == 2 else mask
    if mask.ndim != 3 or mask.shape[0] != 1:
        raise SowError(f"Bad mask batch. Expected 1 mask, got {list(mask.shape)}; chain one SOW Layout per condition.")
    plane = mask[0].float().cpu()
    if tuple(plane.shape) == (64, 64) != (height, width) and not plane.any():
        return whole
    if tuple(plane.shape) != (height, width):
        raise SowError(f"Bad mask size. Expected {width}x{height}, as the condition, "
                       f"got {plane.shape[1]}x{plane.shape[0]}.")
    if 0 < float(plane.max()) <= 1.01 / 255:  # a file of the values 0 and 1, read as 0 and 1/255
        plane = (plane > 0).float()
    if shows == "what is cut away" or (shows == "auto" and invert):
        return Kept(1.0 - plane, "")
    if shows == "auto" and shows_cut_away(plane, image):
        return Kept(1.0 - plane, TURNED)
    return Kept(plane, "")


def make_condition(image: Tensor, mask: Tensor, placement: Placement, fit: Fit, crop_to_mask: bool) -> Condition:
    """A condition at its box. image [3, h, w] and mask [h, w] in 0..1.

    crop_to_mask: first cut away what lies outside the mask's bounds. fit: "fit" shrinks the box about its
    centre to the picture's proportions, "crop" cuts the picture to the box's, "stretch" distorts it.
    Raises SowError for an empty mask.
    """
    if crop_to_mask:
        image, mask = cut_to_mask(image, mask)
    box = placement.box
    if fit == "fit":
        box = fit_box(box, image.shape[-1], image.shape[-2])
    elif fit == "crop":
        height, width = image.shape[-2:]
        inner = fit_box(Box(0, 0, width, height), box.width, box.height)
        rows, columns = slice(inner.y, inner.bottom), slice(inner.x, inner.right)
        image, mask = image[:, rows, columns], mask[rows, columns]
    return Condition(image.contiguous(), mask.contiguous(), box, placement.related)


def cut_to_mask(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Picture [3, h, w] and mask [h, w] without what lies outside the mask's bounds; unchanged if it is empty."""
    kept = (mask >= 0.5).nonzero()
    if not len(kept):
        return image, mask
    (top, left), (bottom, right) = kept.amin(0).tolist(), kept.amax(0).tolist()
    rows, columns = slice(top, bottom + 1), slice(left, right + 1)
    return image[:, rows, columns], mask[rows, columns]


def fit_box(box: Box, width: int, height: int) -> Box:
    """The largest box of the proportions width : height inside `box`, about the same centre."""
    scale = min(box.width / width, box.height / height)
    w, h = max(round(width * scale), 1), max(round(height * scale), 1)
    return Box(box.x + (box.width - w) // 2, box.y + (box.height - h) // 2, w, h)


def background_of(image: Tensor | None, width: int, height: int) -> Tensor | None:
    """A background picture at the canvas's size, stretched as the drawing canvas shows it."""
    if image is None:
        return None
    picture = picture_of(image, "background", "pick one picture of the batch")
    if tuple(picture.shape[-2:]) != (height, width):
        picture = F.interpolate(picture[None], (height, width), mode="bicubic", antialias=True)[0].clamp(0, 1)
    return picture


def planned(plan: LayoutPlan, index: int, width: int, height: int) -> Placement:
    """Where a plan puts condition `index` (0, 1, ... in the order of the chained layouts).

    Raises SowError if the plan is for another canvas or for fewer conditions.
    """
    if (plan.frame.width, plan.frame.height) != (width, height):
        raise SowError(f"Bad plan size. Expected {width}x{height}, as the canvas, got "
                       f"{plan.frame.width}x{plan.frame.height}; give planner and layout the same size.")
    if index >= len(plan.conditions):
        raise SowError(f"The plan places {len(plan.conditions)} condition(s), this is number {index + 1}; "
                       "draw a box for it or plan again with all conditions.")
    condition = plan.conditions[index]
    return Placement(condition.box, tuple(region.box for region in condition.related))


def extend(previous: LayoutSpec | None, condition: Condition, width: int, height: int,
           background: Tensor | None) -> LayoutSpec:
    """`previous` and one more condition on top of its others. Raises SowError if the canvases differ."""
    if previous is None:
        return LayoutSpec((condition,), width, height, background)
    if (previous.width, previous.height) != (width, height):
        raise SowError(f"Bad canvas size. Expected {previous.width}x{previous.height}, as the connected layout, "
                       f"got {width}x{height}; set the same width and height in both.")
    under = previous.background if background is None else background
    return LayoutSpec((*previous.conditions, condition), width, height, under)


def moved(spec: LayoutSpec, layout: Layout) -> str:
    """A line on the boxes that the model's tokens, coarser than 8 px, have moved; "" for none."""
    shifted = [f"{item.box.snap()} to {made.box}"
               for item, made in zip(spec.conditions, layout.conditions, strict=True) if item.box.snap() != made.box]
    if not shifted:
        return ""
    return f"This model's tokens are {layout.snap} px: moved {', '.join(shifted)}."


def condition_masks(layout: Layout) -> Tensor:
    """Each condition's kept pixels on the canvas [K, H, W], 1 = kept; a later one covers an earlier one."""
    masks = torch.zeros(len(layout.conditions), layout.height, layout.width)
    for index, item in enumerate(layout.conditions):
        rows, columns = slice(item.box.y, item.box.bottom), slice(item.box.x, item.box.right)
        masks[:index, rows, columns] *= 1.0 - item.mask
        masks[index, rows, columns] = item.mask
    return masks


def describe_kept(mask: Tensor, box: Box) -> str:
    """What a mask [h, w] keeps of its picture, and where it lies on the canvas, for a person."""
    share = float((mask >= 0.5).float().mean())
    what = "the whole picture" if share == 1 else f"{share:.0%} of the picture"
    return f"Keeps {what} at {box}, in colour in the preview."


def covered(layout: Layout) -> list[str]:
    """Lines about earlier conditions of which the last one covers a part."""
    *earlier, last = layout.conditions
    top = torch.zeros(layout.height, layout.width)
    top[last.box.y : last.box.bottom, last.box.x : last.box.right] = last.mask
    lines = []
    for number, item in enumerate(earlier, start=1):
        window = top[item.box.y : item.box.bottom, item.box.x : item.box.right]
        share = float((window * item.mask).sum() / item.mask.sum())
        if share > 0:
            lines.append(f"It covers {max(share, 0.01):.0%} of condition {number}; move one to keep all of both.")
    return lines


def to_image(canvas: Tensor) -> Tensor:
    """[3, H, W] -> the host's IMAGE [1, H, W, 3]."""
    return canvas.movedim(0, -1)[None].contiguous()
