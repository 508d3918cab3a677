"""The size that a model was trained at: a folder's own, a family's, a checkpoint's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import comfy.model_base

from native_cases.common import both, case, native, pack
from native_cases.tiny_flow import tiny_flow

FLOWS = ("sd3", "flux", "qwen", "flux2")


def unet(kind: str, width: int, prediction: str = "EPS") -> Any:
    """What the size of a checkpoint's UNet follows from; weights have no part in it."""
    base = object.__new__(getattr(comfy.model_base, kind))
    base.__dict__["model_config"] = SimpleNamespace(unet_config={"context_dim": width})
    base.__dict__["model_type"] = comfy.model_base.ModelType[prediction]
    return base


@case
def trained_sizes() -> dict[str, Any]:
    sizes = pack("nodes.native.sizes")
    model = both().model
    found = {"folder": sizes.trained_size(model), "clone": sizes.trained_size(model.clone())}
    found |= {name: sizes.trained_size(tiny_flow(name)) for name in FLOWS}
    found["cell"] = native.grid_of(tiny_flow("flux2"))[0]
    found |= {
        "sd1": sizes._unet_side(unet("BaseModel", 768)),
        "sd1_v": sizes._unet_side(unet("BaseModel", 768, "V_PREDICTION")),
        "sd2": sizes._unet_side(unet("BaseModel", 1024)),
        "sd2_v": sizes._unet_side(unet("BaseModel", 1024, "V_PREDICTION")),
        "sdxl": sizes._unet_side(unet("SDXL", 2048)),
        "refiner": sizes._unet_side(unet("SDXLRefiner", 1280)),
    }
    return found
