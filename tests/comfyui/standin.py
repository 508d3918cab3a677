"""Writes a checkpoint that ComfyUI takes for Stable Diffusion 1.5, and a LoRA for it: random, and small in the UNet.

`python standin.py MODELS CHECKPOINT LORA` puts them into MODELS/checkpoints and MODELS/loras. ComfyUI knows
SD 1.5 by its first width and its text width; depth it reads from the file. Text encoder and VAE have their full
size, because ComfyUI builds them so. Runs with ComfyUI's interpreter.
"""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER, CHECKPOINT, LORA = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

from bootstrap import start  # noqa: E402

start()

import comfy.ldm.models.autoencoder  # noqa: E402
import comfy.ldm.modules.diffusionmodules.openaimodel as openaimodel  # noqa: E402
import comfy.ops  # noqa: E402
import comfy.sd1_clip  # noqa: E402
import safetensors.torch  # noqa: E402
import torch  # noqa: E402
from shapes import VAE, drawn  # noqa: E402

UNET = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 320, "num_res_blocks": [1, 1],
    "channel_mult": [1, 1], "transformer_depth": [1, 1], "transformer_depth_output": [1, 1, 1, 1],
    "transformer_depth_middle": 1, "num_heads": 8, "context_dim": 768, "use_spatial_transformer": True,
    "legacy": False,
}  # fmt: skip


def main() -> None:
    unet = drawn(
        openaimodel.UNetModel(**UNET, operations=comfy.ops.disable_weight_init), "model.diffusion_model."
    )
    text = comfy.sd1_clip.SDClipModel().transformer
    vae = comfy.ldm.models.autoencoder.AutoencoderKL(ddconfig=VAE, embed_dim=4)
    for kind in ("checkpoints", "loras"):
        (FOLDER / kind).mkdir(parents=True, exist_ok=True)
    whole = {**unet, **drawn(text, "cond_stage_model.transformer."), **drawn(vae, "first_stage_model.")}
    safetensors.torch.save_file(whole, FOLDER / "checkpoints" / CHECKPOINT)
    down, up = torch.randn(4, 320) * 0.1, torch.randn(320, 4)
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_v"
    lora = {
        f"{name}.lora_down.weight": down,
        f"{name}.lora_up.weight": up,
        f"{name}.alpha": torch.tensor(4.0),
    }
    safetensors.torch.save_file(lora, FOLDER / "loras" / LORA)


if __name__ == "__main__":
    main()
