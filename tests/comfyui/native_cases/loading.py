"""The folder loader against diffusers."""

from __future__ import annotations

import shutil
from pathlib import Path

import comfy.model_management
import torch

from native_cases.common import (
    IMPORTED_DIFFUSERS,
    PROMPTS,
    WORK,
    both,
    case,
    error_line,
    folder,
    pack,
    tiny,
)


@case
def folder_equals_diffusers() -> dict[str, float]:
    """Largest differences of UNet, VAE and text encoder from diffusers', over all tiny families."""
    worst = {
        "unet": 0.0,
        "encode": 0.0,
        "decode": 0.0,
        "text": 0.0,
        "imported_diffusers": float(IMPORTED_DIFFUSERS),
    }
    for name in ("demo", "sd1", "sd2", "sd2_v"):
        b = both(name)
        parts = b.diffusers.parts
        comfy.model_management.load_models_gpu([b.model])
        generator = torch.Generator().manual_seed(1)
        with torch.inference_mode():
            for text in (PROMPTS["positive"], ""):
                mine = b.encode(text)[0][0]
                worst["text"] = max(
                    worst["text"], float((mine - b.diffusers._encode_text(text).states).abs().max())
                )
            x = torch.randn(2, 4, 9, 14, generator=generator)  # odd: the upsampler has to round
            context = mine.expand(2, -1, -1)
            for t in (1, 401, 901):
                expected = parts.unet(x, torch.tensor(t), context).sample
                got = b.model.model.diffusion_model(x, torch.full((2,), float(t)), context=context)
                worst["unet"] = max(worst["unet"], float((got - expected).abs().max()))
            image = torch.rand(1, 64, 88, 3, generator=generator)
            z = parts.vae.encode(image.movedim(-1, 1) * 2 - 1).latent_dist.mode()
            worst["encode"] = max(worst["encode"], float((b.vae.encode(image) - z).abs().max() / z.std()))
            shown = (parts.vae.decode(z).sample / 2 + 0.5).clamp(0, 1).movedim(1, -1)
            worst["decode"] = max(worst["decode"], float((b.vae.decode(z) - shown).abs().max()))
    return worst


@case
def odd_widths() -> dict[str, float]:
    """Widths that are no whole multiples of the first, three heads' sizes, a VAE with attention: still exact."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    torch.manual_seed(2)
    unet = UNet2DConditionModel(
        block_out_channels=(32, 48, 80), down_block_types=("CrossAttnDownBlock2D",) * 2 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 2, norm_num_groups=16, layers_per_block=2,
        attention_head_dim=(2, 3, 5), cross_attention_dim=24, transformer_layers_per_block=(1, 2, 1),
    ).eval()  # fmt: skip
    vae = AutoencoderKL(block_out_channels=(8, 8, 16, 24), down_block_types=("DownEncoderBlock2D",) * 4,
                        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, norm_num_groups=4,
                        layers_per_block=2).eval()  # fmt: skip
    scheduler = {"beta_schedule": "scaled_linear", "prediction_type": "epsilon"}
    model = pack("nodes.folder.unet").load_unet(
        dict(unet.config), scheduler, unet.state_dict(), 0.2, ([[0.0] * 3] * 4, [0.0] * 3)
    )
    own = pack("nodes.folder.vae").load_vae(dict(vae.config), vae.state_dict())
    comfy.model_management.load_models_gpu([model])
    with torch.inference_mode():
        x, context = torch.randn(1, 4, 10, 7), torch.randn(1, 9, 24)
        expected = unet(x, torch.tensor(321), context).sample
        got = model.model.diffusion_model(x, torch.tensor([321.0]), context=context)
        image = torch.rand(1, 64, 64, 3)
        z = vae.encode(image.movedim(-1, 1) * 2 - 1).latent_dist.mode()
        return {
            "unet": float((got - expected).abs().max()),
            "encode": float((own.encode(image) - z).abs().max()),
        }


@case
def folder_errors() -> dict[str, str]:
    said = {}
    for name, spoil in {
        "missing": lambda p: (p / "unet" / "config.json").unlink(),
        "damaged": lambda p: (p / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"no weights"),
        "no_weights": lambda p: (p / "unet" / "diffusion_pytorch_model.safetensors").unlink(),
        "scheduler": lambda p: (p / "scheduler" / "scheduler_config.json").write_text(
            '{"prediction_type": "sample"}'
        ),
        "json": lambda p: (p / "model_index.json").write_text("{"),
        "half": lambda p: _drop(p / "unet" / "diffusion_pytorch_model.safetensors"),
    }.items():
        where = WORK / f"spoilt_{name}"
        shutil.copytree(tiny("sd1"), where)
        spoil(where)
        said[name] = error_line(lambda w=where: folder.load_folder(w))
    said["sdxl"] = error_line(lambda: folder.load_folder(tiny("sdxl")))
    return said


def _drop(path: Path) -> None:
    import safetensors.torch

    state = safetensors.torch.load_file(path)
    state.pop(next(iter(state)))
    safetensors.torch.save_file(state, path)
