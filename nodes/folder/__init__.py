"""A small diffusers folder as ComfyUI's own MODEL, CLIP and VAE.

ComfyUI recognises checkpoints by the channel counts of the released models and builds every group norm
with 32 groups, so it cannot load a 20 MB model of another shape by itself. This package reads the folder's
config files instead and builds ComfyUI's own UNet and text encoder at the sizes found there; only the
autoencoder is written anew (`vae.py`), because ComfyUI's fixes its group norms inside the module.

Nothing here imports diffusers. ComfyUI (`comfy.*`) and torch are imported when a model is loaded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...sow_core.errors import SowError

WEIGHTS = ("diffusion_pytorch_model.safetensors", "model.safetensors", "diffusion_pytorch_model.fp16.safetensors",
           "model.fp16.safetensors")  # fmt: skip


def load_folder(folder: str | Path) -> tuple[Any, Any, Any]:
    """(MODEL, CLIP, VAE) of a Stable Diffusion 1.x / 2.x shaped diffusers folder, in float32.

    The folder needs model_index.json, unet/, vae/, text_encoder/, tokenizer/ and scheduler/, with
    safetensors weights. Any channel counts, depths, group counts and vocabulary sizes will do.
    Raises SowError for a missing file or a model of another family.
    """
    from .clip import load_clip
    from .unet import load_unet
    from .vae import load_vae, preview_factors

    root = Path(folder)
    if "text_encoder_2" in read_json(root / "model_index.json"):
        raise SowError(
            f"{root} is an SDXL folder: only folders with one text encoder can be loaded natively."
        )
    vae_config = read_json(root / "vae" / "config.json")
    scale = float(vae_config.get("scaling_factor") or 0.18215)
    vae = load_vae(vae_config, read_weights(root / "vae"))
    clip = load_clip(
        root, read_json(root / "text_encoder" / "config.json"), read_weights(root / "text_encoder")
    )
    model = load_unet(
        read_json(root / "unet" / "config.json"),
        read_json(root / "scheduler" / "scheduler_config.json"),
        read_weights(root / "unet"),
        scale,
        preview_factors(vae, scale),
    )
    return model, clip, vae


def read_json(path: Path) -> dict[str, Any]:
    """A config file of the folder. Raises SowError if it is missing or is not a JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SowError(f"Not a diffusers model folder: {path} is missing.") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SowError(f"Cannot read {path}: {error}.") from None
    if not isinstance(value, dict):
        raise SowError(f"Cannot use {path}: expected a JSON object, got {type(value).__name__}.")
    return value


def read_weights(folder: Path) -> dict[str, Any]:
    """The safetensors weights of one part as float32. Raises SowError if there are none."""
    import safetensors.torch

    for name in WEIGHTS:
        if (folder / name).is_file():
            try:
                state = safetensors.torch.load_file(folder / name)
            except Exception as error:  # safetensors raises its own, undocumented type for a damaged file
                raise SowError(f"Cannot read {folder / name}: {error}. Fetch the file again.") from None
            return {
                key: value.float() if value.is_floating_point() else value for key, value in state.items()
            }
    raise SowError(f"No weights in {folder}: expected one of {', '.join(WEIGHTS)}.")


def check_loaded(part: str, missing: list[str], unexpected: list[str]) -> None:
    """Raise SowError where weights and config disagree: a half-loaded model only draws noise."""
    if missing or unexpected:
        raise SowError(
            f"The {part} weights do not fit their config.json: {len(missing)} missing ({', '.join(missing[:2])}), "
            f"{len(unexpected)} unexpected ({', '.join(unexpected[:2])}). Use a complete, unmodified folder."
        )
