"""The size that a host's model was trained at. ComfyUI keeps it nowhere, so that it follows from the family."""

from __future__ import annotations

from typing import Any

from .checks import check_model, text_width

TRAINED = "sow_trained_size"
"""Under which name a MODEL from a folder carries the (width, height) of its config."""
SD1, SD2_V, SDXL = 512, 768, 1024


def trained_size(model: Any) -> tuple[int, int]:
    """(width, height) in px that a MODEL was trained at: a folder's own, else what is usual for its family.

    Stable Diffusion 1.x and 2.x base 512, 2.x with v-prediction 768, SDXL 1024, flow transformers as `Family.size`.
    Raises SowError for a model that does not run here.
    """
    own = model.get_attachment(TRAINED)
    if own is not None:
        return own
    family = check_model(model)
    side = _unet_side(model.model) if family is None else family.size
    return side, side


def _unet_side(base: Any) -> int:
    from comfy.model_base import SDXL as Large
    from comfy.model_base import ModelType, SDXLRefiner

    if isinstance(base, (Large, SDXLRefiner)):
        return SDXL
    second = text_width(base.model_config.unet_config) == 1024
    return SD2_V if second and base.model_type == ModelType.V_PREDICTION else SD1


def attach_size(model: Any, cells: Any, cell: int = 8) -> None:
    """Write on a MODEL the size of its config, in latent cells: a side, or height and width; None: it has none."""
    if cells:
        height, width = cells if isinstance(cells, (list, tuple)) else (cells, cells)
        model.set_attachments(TRAINED, (int(width) * cell, int(height) * cell))
