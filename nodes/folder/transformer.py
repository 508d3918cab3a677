"""diffusers' SD3Transformer2DModel as ComfyUI's MMDiT, at any size.

ComfyUI's own converter takes the number of blocks for the width over 64, as it is in the released models: in others it
would turn scale and shift round in the wrong block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...sow_core.errors import SowError

ATTENTION = {"to_out.0": "proj", "norm_q": "ln_q", "norm_k": "ln_k"}
CONTEXT_ATTENTION = {"to_add_out": "proj", "norm_added_q": "ln_q", "norm_added_k": "ln_k"}
MLP = {"net.0.proj": "fc1", "net.2": "fc2"}
WHOLE = {
    "pos_embed.proj": "x_embedder.proj", "context_embedder": "context_embedder", "proj_out": "final_layer.linear",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
}  # fmt: skip
"""diffusers' names of layers, and ComfyUI's."""


def comfy_config(config: dict[str, Any]) -> dict[str, Any]:
    """ComfyUI's `unet_config` for a config of diffusers'. Raises SowError for a shape that MMDiT cannot have."""
    heads, width = config["num_attention_heads"], config["attention_head_dim"]
    if width != 64 or config["caption_projection_dim"] != heads * width:
        raise SowError(
            f"This transformer cannot be loaded natively: {heads} heads of {width} with caption_projection_dim "
            f"{config['caption_projection_dim']}; expected heads of 64 and {heads * 64}."
        )
    return {
        "in_channels": config["in_channels"],
        "out_channels": config["out_channels"],
        "patch_size": config["patch_size"],
        "depth": heads,  # ComfyUI's word for the width over 64
        "num_blocks": config["num_layers"],
        "input_size": None,
        "adm_in_channels": config["pooled_projection_dim"],
        "num_patches": config["pos_embed_max_size"] ** 2,
        "pos_embed_max_size": config["pos_embed_max_size"],
        "pos_embed_scaling_factor": None,
        "qk_norm": "rms" if config.get("qk_norm") else None,
        "x_block_self_attn_layers": list(config.get("dual_attention_layers", ())),
        "context_embedder_config": {
            "target": "torch.nn.Linear",
            "params": {"in_features": config["joint_attention_dim"], "out_features": heads * width},
        },
    }


def renamed(state: dict[str, Any], blocks: int) -> dict[str, Any]:
    """Weights under ComfyUI's names; what has none there keeps its own. The tensors given are not changed."""
    import torch

    made, rest = {}, dict(state)
    for old, new in _names(blocks):
        for end in ("weight", "bias"):
            if f"{old}.{end}" in rest:
                made[f"{new}.{end}"] = rest.pop(f"{old}.{end}")
    if "pos_embed.pos_embed" in rest:
        made["pos_embed"] = rest.pop("pos_embed.pos_embed")
    for old, new in _joined(blocks):
        for end in ("weight", "bias"):
            parts = [f"{name}.{end}" for name in old]
            if all(part in rest for part in parts):
                made[f"{new}.{end}"] = torch.cat([rest.pop(part) for part in parts])
    # diffusers' last norms give scale and shift, ComfyUI's shift and scale.
    last = f"transformer_blocks.{blocks - 1}.norm1_context.linear"
    turned = {last: f"joint_blocks.{blocks - 1}.context_block.adaLN_modulation.1",
              "norm_out.linear": "final_layer.adaLN_modulation.1"}  # fmt: skip
    for old, new in turned.items():
        for end in ("weight", "bias"):
            if f"{old}.{end}" in rest:
                made[f"{new}.{end}"] = torch.cat(rest.pop(f"{old}.{end}").chunk(2)[::-1])
    return made | rest


def _names(blocks: int) -> Iterator[tuple[str, str]]:
    """Layers that only have another name."""
    yield from WHOLE.items()
    for number in range(blocks):
        old, new = f"transformer_blocks.{number}", f"joint_blocks.{number}"
        yield f"{old}.norm1.linear", f"{new}.x_block.adaLN_modulation.1"
        if number < blocks - 1:
            yield f"{old}.norm1_context.linear", f"{new}.context_block.adaLN_modulation.1"
        for theirs, ours in ATTENTION.items():
            yield f"{old}.attn.{theirs}", f"{new}.x_block.attn.{ours}"
            yield f"{old}.attn2.{theirs}", f"{new}.x_block.attn2.{ours}"
        for theirs, ours in CONTEXT_ATTENTION.items():
            yield f"{old}.attn.{theirs}", f"{new}.context_block.attn.{ours}"
        for theirs, ours in MLP.items():
            yield f"{old}.ff.{theirs}", f"{new}.x_block.mlp.{ours}"
            yield f"{old}.ff_context.{theirs}", f"{new}.context_block.mlp.{ours}"


def _joined(blocks: int) -> Iterator[tuple[list[str], str]]:
    """Query, key and value, which ComfyUI has in one layer."""
    for number in range(blocks):
        old, new = f"transformer_blocks.{number}", f"joint_blocks.{number}"
        for name in ("attn", "attn2"):
            yield [f"{old}.{name}.to_{x}" for x in "qkv"], f"{new}.x_block.{name}.qkv"
        yield [f"{old}.attn.add_{x}_proj" for x in "qkv"], f"{new}.context_block.attn.qkv"


def load_transformer(
    config: dict[str, Any],
    scheduler: dict[str, Any],
    state: dict[str, Any],
    latent_scale: float,
    rgb_factors: tuple[list[list[float]], list[float]],
) -> Any:
    """A ModelPatcher of the transformer in float32; `state` holds diffusers' keys.

    `latent_scale` is the VAE's scaling_factor, for 4 channels without a shift; `rgb_factors` colour the latent
    previews. Raises SowError if config and weights do not belong together.
    """
    import comfy.latent_formats
    import comfy.model_management
    import comfy.model_patcher
    import comfy.ops
    import comfy.supported_models
    import torch

    from . import check_loaded

    if config["in_channels"] != 4 or config["out_channels"] != 4:
        raise SowError(
            f"This transformer cannot be loaded natively: {config['in_channels']} latent channels, expected 4; "
            "released models have the host's own loaders."
        )
    made = comfy.supported_models.SD3(comfy_config(config))
    made.sampling_settings = {"shift": float(scheduler.get("shift") or 1.0)}
    made.latent_format = comfy.latent_formats.SD15(latent_scale)
    made.latent_format.latent_rgb_factors, made.latent_format.latent_rgb_factors_bias = rgb_factors
    made.latent_format.taesd_decoder_name = None
    made.custom_operations = comfy.ops.disable_weight_init  # as the UNet: nothing to cast
    made.set_inference_dtype(torch.float32, None)
    model = made.get_model({}, "")
    weights, known = renamed(state, config["num_layers"]), model.diffusion_model.state_dict()
    fitting = {key: value for key, value in weights.items() if key in known and value.shape == known[key].shape}
    check_loaded("transformer", sorted(set(known) - set(fitting)), sorted(set(weights) - set(fitting)))
    model.diffusion_model.load_state_dict(fitting)
    return comfy.model_patcher.ModelPatcher(
        model,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )
