"""Shapes and weights of stand-ins for released models: of nets in small, of the VAE as large as the host builds it."""

from __future__ import annotations

from typing import Any

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
FLUX_FILE = {**FLUX, "hidden_size": 256, "axes_dim": [16, 56, 56], "context_in_dim": 64, "vec_in_dim": 768, "depth": 1,
             "depth_single_blocks": 1}  # fmt: skip
"""What the host reads off a file of it: heads of 128, and a width of its own."""
Z_IMAGE_FILE = {**CONFIGS["z_image"][1], "cap_feat_dim": 64}
T5 = {"d_model": 64, "d_ff": 128, "d_kv": 32, "num_heads": 2, "num_layers": 2}
QWEN3 = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 2,
         "num_key_value_heads": 2}  # fmt: skip
"""Text encoders, whose sizes the host has written into its code."""
VAE = {"double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128,
       "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0}  # fmt: skip


def drawn(module: Any, prefix: str) -> dict[str, Any]:
    """Small random weights under a checkpoint's names, in fp16."""
    import torch

    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, value in module.state_dict().items():
        if value.ndim > 1:
            value = torch.randn(value.shape, generator=generator) * (0.7 / value[0].numel() ** 0.5)
        elif value.is_floating_point():
            value = torch.ones_like(value) if name.endswith("weight") else torch.zeros_like(value)
        state[prefix + name] = value.half() if value.is_floating_point() else value
    return state
