"""Small random flow models of the host's own classes, with prompts and a VAE that fit them."""

from __future__ import annotations

from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.supported_models
import torch

FLUX = {
    "image_model": "flux", "in_channels": 16, "out_channels": 16, "vec_in_dim": 24, "context_in_dim": 40,
    "hidden_size": 64, "mlp_ratio": 4.0, "num_heads": 2, "depth": 2, "depth_single_blocks": 2,
    "axes_dim": [8, 12, 12], "theta": 10000, "patch_size": 2, "qkv_bias": True, "guidance_embed": True,
    "txt_ids_dims": [],
}  # fmt: skip
FLUX2 = {
    **FLUX, "image_model": "flux2", "in_channels": 128, "out_channels": 128, "vec_in_dim": None, "patch_size": 1,
    "axes_dim": [8, 8, 8, 8], "theta": 2000, "mlp_ratio": 3.0, "qkv_bias": False, "guidance_embed": False,
    "txt_ids_dims": [3], "global_modulation": True, "mlp_silu_act": True, "ops_bias": False,
    "default_ref_method": "index", "ref_index_scale": 10.0,
}  # fmt: skip
LUMINA = {
    "image_model": "lumina2", "patch_size": 2, "in_channels": 16, "dim": 72, "cap_feat_dim": 40, "n_layers": 2,
    "qk_norm": True, "n_heads": 3, "n_kv_heads": 1, "axes_dims": [8, 8, 8], "axes_lens": [300, 512, 512],
    "rope_theta": 1e4, "ffn_dim_multiplier": 4.0,
}  # fmt: skip
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "sd3": ("SD3", {
        "in_channels": 16, "out_channels": 16, "patch_size": 2, "depth": 2, "num_blocks": 3, "input_size": None,
        "adm_in_channels": 24, "num_patches": 1024, "pos_embed_max_size": 32, "qk_norm": "rms",
        "pos_embed_scaling_factor": None, "x_block_self_attn_layers": [0],
        "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 40, "out_features": 128}},
    }),
    "flux": ("Flux", FLUX),
    "schnell": ("FluxSchnell", {**FLUX, "guidance_embed": False}),
    "flux2": ("Flux2", FLUX2),
    "qwen": ("QwenImage", {
        "image_model": "qwen_image", "in_channels": 64, "out_channels": 16, "num_layers": 2,
        "attention_head_dim": 32, "num_attention_heads": 2, "joint_attention_dim": 40, "axes_dims_rope": (8, 12, 12),
    }),
    "lumina2": ("Lumina2", LUMINA),
    "z_image": ("ZImage", {
        **LUMINA, "dim": 256, "n_heads": 8, "n_kv_heads": 8, "axes_dims": [8, 12, 12], "rope_theta": 256.0,
        "ffn_dim_multiplier": 8 / 3, "z_image_modulation": True, "time_scale": 1000.0, "pad_tokens_multiple": 32,
    }),
    "chroma": ("Chroma", {
        **{k: v for k, v in FLUX.items() if k != "guidance_embed"}, "image_model": "chroma", "in_channels": 64,
        "out_channels": 64, "in_dim": 64, "out_dim": 64, "hidden_dim": 64, "n_layers": 2, "vec_in_dim": None,
    }),
    "hidream": ("HiDream", {
        "image_model": "hidream", "patch_size": 2, "in_channels": 16, "out_channels": 16, "num_layers": 1,
        "num_single_layers": 1, "attention_head_dim": 32, "num_attention_heads": 2, "caption_channels": [40, 40],
        "text_emb_dim": 24, "num_routed_experts": 2, "num_activated_experts": 1, "axes_dims_rope": (8, 12, 12),
        "max_resolution": (128, 128), "llama_layers": [0, 1],
    }),
}  # fmt: skip
"""Per family: its class of `comfy.supported_models`, and the shape of a small net."""

_models: dict[str, Any] = {}


def tiny_flow(name: str) -> Any:
    """The MODEL of a family; random, always the same, built once."""
    if name not in _models:
        class_name, config = CONFIGS[name]
        _models[name] = build(getattr(comfy.supported_models, class_name), config)
    return _models[name]


def build(cls: Any, config: dict[str, Any]) -> Any:
    """A MODEL of a class of supported models: ComfyUI leaves new weights as they lie in memory."""
    made = cls(dict(config))
    made.unet_config = {**config, "dtype": torch.float32}
    made.manual_cast_dtype = made.custom_operations = None
    model = made.get_model({}, "", device="cpu")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for key, value in [*model.named_parameters(), *model.diffusion_model.named_buffers()]:
            if not value.is_floating_point():
                continue
            if value.ndim > 1:
                drawn = torch.randn(value.shape, generator=generator) * (0.8 / value[0].numel() ** 0.5)
            else:
                drawn = torch.ones_like(value) if key.endswith(("weight", "scale")) else torch.zeros_like(value)
                drawn = drawn + 0.1 * torch.randn(value.shape, generator=generator)
            value.copy_(drawn)
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)


def prompt(name: str, seed: int, tokens: int = 7) -> Any:
    """A CONDITIONING that the family takes."""
    generator = torch.Generator().manual_seed(seed)
    options = {"pooled_output": torch.randn(1, 24, generator=generator)}
    if name == "hidream":
        options["conditioning_llama3"] = torch.randn(1, 2, tokens, 40, generator=generator)
    if name in ("lumina2", "z_image"):
        options = {"attention_mask": torch.ones(1, tokens)}  # theirs has no pooled states
    return [[torch.randn(1, tokens, 40, generator=generator), options]]


class FlowVae:
    """Pooled colours in as many channels as the family's latent has."""

    first_stage_model = object()

    def __init__(self, name: str) -> None:
        latents = tiny_flow(name).model.latent_format
        self.latent_channels, self.latent_dim = latents.latent_channels, latents.latent_dimensions
        self.factor = latents.spacial_downscale_ratio

    def spacial_compression_encode(self) -> int:
        return self.factor

    def encode(self, pixels: Any) -> Any:
        pooled = torch.nn.functional.avg_pool2d(pixels.movedim(-1, 1) * 2 - 1, self.factor)
        latent = pooled.repeat(1, self.latent_channels // 3 + 1, 1, 1)[:, : self.latent_channels]
        return latent.unsqueeze(2) if self.latent_dim == 3 else latent

    def decode(self, latent: Any) -> Any:
        flat = latent[:, :, 0] if latent.ndim == 5 else latent
        assert (latent.ndim == 5) == (self.latent_dim == 3)
        pixels = torch.nn.functional.interpolate(flat[:, :3], scale_factor=float(self.factor)) / 2 + 0.5
        pixels = pixels.clamp(0, 1).movedim(1, -1)
        return pixels[:, None] if latent.ndim == 5 else pixels
