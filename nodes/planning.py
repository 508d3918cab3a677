"""From the host's pictures and settings to the planners, and from a plan to what nodes give out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..sow_core.errors import SowError
from ..sow_core.planning.config import Config
from ..sow_core.planning.draw import draw_plan
from ..sow_core.planning.errors import PlannerError
from ..sow_core.planning.planner import PlannerOptions, has_gemini, plan_layout
from ..sow_core.planning.request import ConditionPicture, PlanRequest
from ..sow_core.planning.schema import LayoutPlan
from .cutout import Meaning
from .draw import from_picture
from .layout import cut_to_mask, mask_of, picture_of

SYSTEM_USER = "sow"
"""Name of the host's system-user folder for keys, profiles and cached plans: no address of the server leads there."""


def host_config() -> Config:
    """The user's settings. Raises SowError if the file is broken."""
    import folder_paths

    return Config.load(folder_paths.get_system_user_directory(SYSTEM_USER))


def readiness() -> str:
    """Whether Gemini can be asked, as text that changes when a key or a package is added: a node that planned
    offline for want of one then runs again.
    """
    try:
        return "gemini" if has_gemini(host_config()) else "offline"
    except SowError as error:
        return str(error)


def plan_in_host(request: PlanRequest, options: PlannerOptions) -> LayoutPlan:
    """`plan_layout` with the host's settings and its cancel button. Raises SowError, or the host's own interruption."""
    from comfy import model_management

    try:
        return plan_layout(request, options, host_config(), model_management.processing_interrupted)
    except PlannerError as error:
        if error.kind == "cancelled":
            model_management.throw_exception_if_processing_interrupted()
        raise


def pictures(
    images: Sequence[Tensor | None],
    masks: Sequence[Tensor | None],
    invert: bool,
    crop: bool,
    shows: Meaning = "auto",
    names: str = "",
    descriptions: str = "",
    kind: str = "auto",
) -> tuple[ConditionPicture, ...]:
    """The conditions in order. names: separated by commas; descriptions: one a line. Raises SowError."""
    named = [part.strip() for part in names.split(",")]
    described = [line.strip() for line in descriptions.split("\n")]
    made: list[ConditionPicture] = []
    for number, (image, mask) in enumerate(zip(images, masks, strict=True), 1):
        if image is None:
            if mask is not None:
                raise SowError(f"mask_{number} has no picture: connect condition_{number} too.")
            continue
        label = "condition" if number == 1 else f"condition_{number}"
        picture = picture_of(image, label, "connect one picture to each condition input")
        kept = mask_of(mask, picture, invert, shows).mask
        if crop:
            picture, kept = cut_to_mask(picture, kept)
        index = len(made)
        made.append(
            ConditionPicture(
                (picture.clamp(0, 1) * 255).round().to(torch.uint8).movedim(0, -1).numpy(),
                kept.numpy().astype(np.float32),
                named[index] if index < len(named) else "",
                described[index] if index < len(described) else "",
                kind=kind,
            )
        )
    return tuple(made)


def token_counter(clip: Any) -> Callable[[str], int] | None:
    """Tokens of a text as the connected CLIP counts them, without its begin, end and padding marks."""
    if clip is None:
        return None

    def count(text: str) -> int:
        chunks = clip.tokenize(text, return_word_ids=True)
        # A mark's word id is 0.
        return max(sum(word != 0 for chunk in batch for *_, word in chunk) for batch in chunks.values())

    return count


def results(plan: LayoutPlan, conditions: Sequence[ConditionPicture] = ()) -> tuple[Any, ...]:
    """prompt, plan, boxes, plan_json, report, preview."""
    first = plan.conditions[0]
    boxes = [first.box.as_dict(), *(region.box.as_dict() for region in first.related)]
    preview = from_picture(draw_plan(plan, conditions))
    return plan.prompt, plan, boxes, plan.to_json(), plan.report(), preview


def shareable_batch(conditions: Sequence[ConditionPicture]) -> Tensor:
    """What a language model is shown: [K, H, W, 3] in 0..1, gray around the smaller ones."""
    from PIL import Image

    shown = [condition.shareable() for condition in conditions]
    size = max(s.width for s in shown), max(s.height for s in shown)
    batch = []
    for picture in shown:
        sheet = Image.new("RGB", size, (128, 128, 128))
        sheet.paste(picture, ((size[0] - picture.width) // 2, (size[1] - picture.height) // 2))
        batch.append(from_picture(sheet))
    return torch.cat(batch)
