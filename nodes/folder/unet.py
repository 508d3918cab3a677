"""diffusers' UNet2DConditionModel as ComfyUI's UNetModel, at any channel counts."""

from __future__ import annotations

from typing import Any

from ...sow_core.errors import SowError


class _Multiplier(float):
    """A channel multiplier whose product is a whole number.

    ComfyUI counts channels as multiplier x first width; widths such as (128, 256, 320) make that a float,
    which no layer accepts.
    """

    def __mul__(self, other: Any) -> Any:
        return round(float(self) * other)

    __rmul__ = __mul__


def comfy_config(config: dict[str, Any]) -> dict[str, Any]:
    """ComfyUI's `unet_config` for a diffusers UNet config (SD 1.x, 2.x, SDXL). Raises SowError for others."""
    channels = config["block_out_channels"]
    levels = len(channels)
    down, up = config["down_block_types"], config["up_block_types"]
    _require(set(down) <= {"CrossAttnDownBlock2D", "DownBlock2D"}, "down_block_types", down)
    _require(set(up) <= {"CrossAttnUpBlock2D", "UpBlock2D"}, "up_block_types", up)
    mid = config.get("mid_block_type", "UNetMidBlock2DCrossAttn")
    _require(mid == "UNetMidBlock2DCrossAttn", "mid_block_type", mid)
    _require(
        config.get("in_channels", 4) == config.get("out_channels", 4),
        "in_channels",
        config.get("in_channels"),
    )
    for key in ("class_embed_type", "encoder_hid_dim_type", "time_embedding_dim"):
        _require(config.get(key) is None, key, config.get(key))
    added = config.get("addition_embed_type")
    # ComfyUI's SDXL always gives 256 values to each of its six sizes.
    sized = added == "text_time" and config.get("addition_time_embed_dim") == 256
    _require(added is None or sized, "addition_embed_type", added)
    act = config.get("act_fn", "silu")
    _require(act == "silu", "act_fn", act)

    layers = _per_level(config.get("layers_per_block", 2), levels)
    depth = _per_level(config.get("transformer_layers_per_block", 1), levels)
    down_depth = [d if "CrossAttn" in kind else 0 for d, kind in zip(depth, down, strict=True)]
    up_depth = [d if "CrossAttn" in kind else 0 for d, kind in zip(depth, reversed(up), strict=True)]
    return {
        "image_size": 32,
        "in_channels": config.get("in_channels", 4),
        "out_channels": config.get("out_channels", 4),
        "model_channels": channels[0],
        "channel_mult": [_Multiplier(c / channels[0]) for c in channels],
        "num_res_blocks": layers,
        "transformer_depth": [d for d, n in zip(down_depth, layers, strict=True) for _ in range(n)],
        "transformer_depth_output": [d for d, n in zip(up_depth, layers, strict=True) for _ in range(n + 1)],
        "transformer_depth_middle": depth[-1],
        "context_dim": config["cross_attention_dim"],
        "use_linear_in_transformer": bool(config.get("use_linear_projection", False)),
        "use_spatial_transformer": True,
        "use_checkpoint": False,
        "use_temporal_attention": False,
        "legacy": False,
        "adm_in_channels": config["projection_class_embeddings_input_dim"] if sized else None,
        **({"num_classes": "sequential"} if sized else {}),
        **_heads(config, channels),
    }


def _heads(config: dict[str, Any], channels: list[int]) -> dict[str, int]:
    """Head counts. diffusers' `attention_head_dim` is the *number* of heads (huggingface/diffusers #2011)."""
    counts = _per_level(
        config.get("num_attention_heads") or config.get("attention_head_dim", 8), len(channels)
    )
    if len(set(counts)) == 1:
        return {"num_heads": counts[0], "num_head_channels": -1}
    widths = {c // n for c, n in zip(channels, counts, strict=True)}
    _require(len(widths) == 1, "attention_head_dim", counts)
    return {"num_heads": -1, "num_head_channels": widths.pop()}


def _per_level(value: int | list[int], levels: int) -> list[int]:
    return list(value) if isinstance(value, (list, tuple)) else [value] * levels


def _require(ok: bool, key: str, value: object) -> None:
    if not ok:
        raise SowError(f"This UNet cannot be loaded natively: {key} = {value!r} is not Stable Diffusion's.")


def load_unet(
    config: dict[str, Any],
    scheduler: dict[str, Any],
    state: dict[str, Any],
    latent_scale: float,
    rgb_factors: tuple[list[list[float]], list[float]],
) -> Any:
    """A ModelPatcher of the UNet; `state` holds diffusers keys in float32.

    `latent_scale` is the VAE's scaling_factor; `rgb_factors` (weights [C][3], bias [3]) colour the latent
    previews. Raises SowError if scheduler, config and weights are not of one Stable Diffusion model.
    """
    import comfy.latent_formats
    import comfy.model_base
    import comfy.model_management
    import comfy.model_patcher
    import comfy.ops
    import comfy.supported_models_base
    import comfy.utils
    import torch

    from . import check_loaded

    base = comfy.ops.disable_weight_init  # weights and latents are both float32: nothing to cast at every call
    groups = int(config.get("norm_num_groups", 32))

    class Operations(base):
        """ComfyUI writes 32 groups into the model's code; this folder may have been trained with fewer."""

        class GroupNorm(base.GroupNorm):
            def __init__(self, num_groups: int, num_channels: int, **kwargs: Any) -> None:
                super().__init__(groups, num_channels, **kwargs)

    prediction = scheduler.get("prediction_type", "epsilon")
    kinds = {
        "epsilon": comfy.model_base.ModelType.EPS,
        "v_prediction": comfy.model_base.ModelType.V_PREDICTION,
    }
    schedule = scheduler.get("beta_schedule")
    if prediction not in kinds or schedule != "scaled_linear" or scheduler.get("trained_betas") is not None:
        raise SowError(
            f"This scheduler cannot be used natively: prediction_type {prediction!r} with beta_schedule {schedule!r}; "
            "expected epsilon or v_prediction with scaled_linear."
        )

    class Config(comfy.supported_models_base.BASE):
        unet_extra_config: dict[str, Any] = {}
        latent_format = comfy.latent_formats.SD15
        memory_usage_factor = 1.0
        custom_operations = Operations
        sampling_settings = {
            "beta_schedule": "linear",  # ComfyUI's name for diffusers' "scaled_linear"
            "linear_start": scheduler.get("beta_start", 0.00085),
            "linear_end": scheduler.get("beta_end", 0.012),
            "timesteps": scheduler.get("num_train_timesteps", 1000),
        }

    model_config = Config(comfy_config(config))
    model_config.latent_format = comfy.latent_formats.SD15(latent_scale)
    model_config.latent_format.latent_rgb_factors, model_config.latent_format.latent_rgb_factors_bias = (
        rgb_factors
    )
    model_config.latent_format.taesd_decoder_name = None  # TAESD knows SD's latents, not these
    model_config.set_inference_dtype(torch.float32, None)
    made = (
        comfy.model_base.SDXL if model_config.unet_config["adm_in_channels"] else comfy.model_base.BaseModel
    )
    model = made(model_config, model_type=kinds[prediction])

    names = comfy.utils.unet_to_diffusers(model_config.unet_config)
    unknown = [key for key in state if key not in names]
    renamed = {names[key]: value for key, value in state.items() if key in names}
    missing, unexpected = model.diffusion_model.load_state_dict(renamed, strict=False)
    check_loaded("UNet", list(missing), unknown + list(unexpected))
    return comfy.model_patcher.ModelPatcher(
        model,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )
