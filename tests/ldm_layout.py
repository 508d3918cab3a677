"""A diffusers folder as one .safetensors file with the original (latent diffusion) names: the way back of
what checkpoints went through, so that loading one can be compared with loading the folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def convert(folder: Path, target: Path, family: str) -> Path:
    """Write `folder` (a tiny diffusers model of `family`) to `target` as a checkpoint."""
    import json

    from safetensors.torch import load_file, save_file

    def part(name: str) -> dict[str, Any]:
        file = "model" if name.startswith("text") else "diffusion_pytorch_model"
        return load_file(folder / name / f"{file}.safetensors")

    layers = json.loads((folder / "unet/config.json").read_text())["layers_per_block"]
    unet = part("unet")
    attentive = {int(m[1]) for k in unet if (m := re.match(r"up_blocks\.(\d+)\.attentions", k))}
    state = {f"model.diffusion_model.{unet_name(k, layers, attentive)}": v for k, v in unet.items()}
    vae = part("vae")
    for name, value in vae.items():
        made = vae_name(name, vae)
        flat = ".mid.attn_1." in made and ".norm." not in made and made.endswith("weight")
        state[f"first_stage_model.{made}"] = value[:, :, None, None] if flat else value
    if family == "sd1":
        state |= clip(part("text_encoder"), "cond_stage_model.transformer.")
    elif family.startswith("sd2"):
        state |= open_clip(part("text_encoder"), "cond_stage_model.model.")
    else:
        state |= clip(part("text_encoder"), "conditioner.embedders.0.transformer.")
        state |= open_clip(part("text_encoder_2"), "conditioner.embedders.1.model.")
    save_file({k: v.contiguous().clone() for k, v in state.items()}, target)
    return target


def unet_name(name: str, layers: int, attentive: set[int]) -> str:
    fixed = {
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2",
    }
    stem, _, leaf = name.rpartition(".")
    if stem in fixed:
        return f"{fixed[stem]}.{leaf}"
    match = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", name)
    if match:
        side, block, kind, number, rest = match.group(1), int(match[2]), match[3], int(match[4]), match[5]
        if kind == "downsamplers":
            return f"input_blocks.{(block + 1) * (layers + 1)}.0.op.{rest.removeprefix('conv.')}"
        if kind == "upsamplers":
            place = 2 if block in attentive else 1  # behind the resnet and, where the block attends, the attention
            return f"output_blocks.{block * (layers + 1) + layers}.{place}.{rest}"
        here = 1 + block * (layers + 1) + number if side == "down" else block * (layers + 1) + number
        base = f"{'input' if side == 'down' else 'output'}_blocks.{here}.{int(kind == 'attentions')}"
        return f"{base}.{resnet_name(rest) if kind == 'resnets' else rest}"
    match = re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)", name)
    assert match, name
    place = 1 if match[1] == "attentions" else 2 * int(match[2])
    return f"middle_block.{place}.{resnet_name(match[3]) if match[1] == 'resnets' else match[3]}"


def resnet_name(rest: str) -> str:
    head, _, leaf = rest.rpartition(".")
    return f"{RESNET[head]}.{leaf}"


def vae_name(name: str, state: dict[str, Any]) -> str:
    last = max(int(m[1]) for k in state if (m := re.match(r"decoder\.up_blocks\.(\d+)\.", k)))
    name = re.sub(r"encoder\.down_blocks\.(\d+)\.resnets\.(\d+)", r"encoder.down.\1.block.\2", name)
    name = re.sub(r"encoder\.down_blocks\.(\d+)\.downsamplers\.0", r"encoder.down.\1.downsample", name)
    name = re.sub(r"decoder\.up_blocks\.(\d+)\.resnets\.(\d+)",
                  lambda m: f"decoder.up.{last - int(m[1])}.block.{m[2]}", name)
    name = re.sub(r"decoder\.up_blocks\.(\d+)\.upsamplers\.0",
                  lambda m: f"decoder.up.{last - int(m[1])}.upsample", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    if "mid_block.attentions.0" in name:
        name = name.replace("mid_block.attentions.0", "mid.attn_1")
        for old, new in (("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")):
            name = name.replace(f"attn_1.{old}", f"attn_1.{new}")
    return name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")


def clip(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {f"{prefix}text_model.{k.removeprefix('text_model.')}": v for k, v in state.items()}


def open_clip(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    """OpenCLIP's text tower: query, key and value in one matrix, the projection transposed."""
    import torch

    state = {k.removeprefix("text_model."): v for k, v in state.items()}
    width = state["embeddings.token_embedding.weight"].shape[1]
    made = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "ln_final.weight": state["final_layer_norm.weight"],
        "ln_final.bias": state["final_layer_norm.bias"],
        "text_projection": state["text_projection.weight"].T if "text_projection.weight" in state else torch.eye(width),
    }
    for name, value in state.items():
        match = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
        if match and match[2] in OPEN_CLIP:
            made[f"transformer.resblocks.{match[1]}.{OPEN_CLIP[match[2]]}.{match[3]}"] = value
        elif match and match[2] == "self_attn.q_proj":
            parts = [state[name.replace("q_proj", f"{x}_proj")] for x in "qkv"]
            made[f"transformer.resblocks.{match[1]}.attn.in_proj_{match[3]}"] = torch.cat(parts)
    return {prefix + k: v for k, v in made.items()}
