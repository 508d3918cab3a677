"""Writes small random files that ComfyUI's loaders take for Flux.1 dev and Z-Image, with text encoders and a VAE.

`python standin_flow.py MODELS UNET_FLUX UNET_Z CLIP_L T5 QWEN VAE` puts them under these names into MODELS. CLIP-L and
the VAE have their full size, because ComfyUI builds them so; the others need `shrunk.shrink` in the host that loads
them. Runs with ComfyUI's interpreter.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

MODELS, FLUX, Z, CLIP_L, T5, QWEN, AE = Path(sys.argv[1]), *sys.argv[2:]

from bootstrap import start  # noqa: E402

start()

import comfy.ldm.flux.model  # noqa: E402
import comfy.ldm.lumina.model  # noqa: E402
import comfy.ldm.modules.diffusionmodules.model as autoencoder  # noqa: E402
import comfy.ops  # noqa: E402
import comfy.sd1_clip  # noqa: E402
import comfy.text_encoders.llama  # noqa: E402
import comfy.text_encoders.sd3_clip  # noqa: E402
import safetensors.torch  # noqa: E402
import torch  # noqa: E402
from shapes import FLUX_FILE, VAE, Z_IMAGE_FILE, drawn  # noqa: E402
from shrunk import shrink  # noqa: E402


def save(folder: str, name: str, state: dict[str, Any]) -> None:
    (MODELS / folder).mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file({key: value.contiguous() for key, value in state.items()}, MODELS / folder / name)


def main() -> None:
    shrink()
    made = {"operations": comfy.ops.disable_weight_init, "dtype": torch.float32, "device": "cpu"}
    image = {"flux": FLUX_FILE, "lumina2": Z_IMAGE_FILE}
    nets = {name: {k: v for k, v in shape.items() if k != "image_model"} for name, shape in image.items()}
    save("diffusion_models", FLUX, drawn(comfy.ldm.flux.model.Flux(**nets["flux"], **made), ""))
    save("diffusion_models", Z, drawn(comfy.ldm.lumina.model.NextDiT(**nets["lumina2"], **made), ""))
    save("text_encoders", CLIP_L, drawn(comfy.sd1_clip.SDClipModel().transformer, ""))
    save("text_encoders", T5, drawn(comfy.text_encoders.sd3_clip.T5XXLModel().transformer, ""))
    qwen = comfy.text_encoders.llama.Qwen3_4B({}, torch.float32, "cpu", comfy.ops.disable_weight_init)
    save("text_encoders", QWEN, drawn(qwen, ""))
    shape = {**VAE, "z_channels": 16}
    halves = {"encoder.": autoencoder.Encoder(**shape), "decoder.": autoencoder.Decoder(**shape)}
    save("vae", AE, {key: value for name, half in halves.items() for key, value in drawn(half, name).items()})


if __name__ == "__main__":
    main()
