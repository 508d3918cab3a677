"""A small diffusers folder as ComfyUI's own MODEL, CLIP and VAE.

ComfyUI recognises checkpoints by the channel counts of the released models and builds every group norm
with 32 groups, so it cannot load a 20 MB model of another shape by itself. This package reads the folder's
config files instead and builds ComfyUI's own UNet and text encoder at the sizes found there; only the
autoencoder is written anew (`vae.py`), because ComfyUI's fixes its group norms inside the module.

Nothing here imports diffusers. ComfyUI (`comfy.*`) and torch are imported when a model is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...sow_core.backends.checks import check_flow_scheduler
from ...sow_core.backends.configs import (
    Index,
    SchedulerConfig,
    TextConfig,
    UNetConfig,
    VAEConfig,
    read_config,
)
from ...sow_core.backends.flow_configs import SD3Config
from ...sow_core.backends.flow_loading import shared_folder
from ...sow_core.backends.weights import read_weights
from ...sow_core.errors import SowError

UNET_KEYS = ("block_out_channels", "down_block_types", "up_block_types", "cross_attention_dim")
TEXT_KEYS = ("model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
             "num_attention_heads", "max_position_embeddings", "hidden_act")  # fmt: skip
TRANSFORMER_KEYS = ("in_channels", "out_channels", "patch_size", "num_layers", "num_attention_heads",
                    "attention_head_dim", "joint_attention_dim", "caption_projection_dim", "pooled_projection_dim",
                    "pos_embed_max_size")  # fmt: skip
"""What a config must say: ComfyUI has defaults of its own, for other models."""


def load_folder(folder: str | Path) -> tuple[Any, Any, Any]:
    """(MODEL, CLIP, VAE) of a Stable Diffusion 1.x / 2.x shaped diffusers folder, in float32.

    The folder needs model_index.json, unet/, vae/, text_encoder/, tokenizer/ and scheduler/, with
    safetensors weights. Any channel counts, depths, group counts and vocabulary sizes will do. A folder with a
    transformer/ of Stable Diffusion 3's shape in the place of unet/ takes the rest from the model that it names.
    Raises SowError for a missing file or a model of another family.
    """
    from .clip import load_clip
    from .vae import load_vae, preview_factors

    root = Path(folder)
    index = read_config(root / "model_index.json", Index)
    if "text_encoder_2" in index:
        raise SowError(
            f"{root} is an SDXL or SD3 folder: only folders with one text encoder can be loaded natively."
        )
    flow = "transformer" in index
    rest = shared_folder(root, index.get("shares"), str(root)) if flow else root
    vae_config = read_config(rest / "vae" / "config.json", VAEConfig, ("block_out_channels", "latent_channels"))
    scale = vae_config.get("scaling_factor", 0.18215)
    vae = load_vae(vae_config, read_floats(rest / "vae"))
    text_config = read_config(rest / "text_encoder" / "config.json", TextConfig, TEXT_KEYS)
    clip = load_clip(rest, text_config, read_floats(rest / "text_encoder"))
    load = _load_transformer if flow else _load_unet
    return load(root, scale, preview_factors(vae, scale)), clip, vae


def _load_unet(root: Path, scale: float, colours: Any) -> Any:
    from ..native.sizes import attach_size
    from .unet import load_unet

    config = read_config(root / "unet" / "config.json", UNetConfig, UNET_KEYS)
    scheduler = read_config(root / "scheduler" / "scheduler_config.json", SchedulerConfig)
    made = load_unet(config, scheduler, read_floats(root / "unet"), scale, colours)
    attach_size(made, config.get("sample_size"))
    return made


def _load_transformer(root: Path, scale: float, colours: Any) -> Any:
    from ..native.sizes import attach_size
    from .transformer import load_transformer

    scheduler = read_config(root / "scheduler" / "scheduler_config.json", SchedulerConfig)
    check_flow_scheduler(str(root), scheduler)
    config = read_config(root / "transformer" / "config.json", SD3Config, TRANSFORMER_KEYS)
    made = load_transformer(config, scheduler, read_floats(root / "transformer"), scale, colours)
    attach_size(made, config.get("sample_size"))
    return made


def read_floats(folder: Path) -> dict[str, Any]:
    """The safetensors weights of one part as float32. Raises SowError if there are none."""
    import torch

    state = read_weights(folder)
    # Copies: what safetensors gives is the file itself in memory, which goes bad when the file is written over.
    return {
        key: value.to(torch.float32 if value.is_floating_point() else value.dtype, copy=True)
        for key, value in state.items()
    }


def check_loaded(part: str, missing: list[str], unexpected: list[str]) -> None:
    """Raise SowError where weights and config disagree: a half-loaded model only draws noise."""
    if missing or unexpected:
        raise SowError(
            f"The {part} weights do not fit their config.json: {len(missing)} missing ({', '.join(missing[:2])}), "
            f"{len(unexpected)} unexpected ({', '.join(unexpected[:2])}). Use a complete, unmodified folder."
        )
