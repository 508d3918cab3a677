"""What can be said in one line before a model is run, instead of a traceback from inside torch."""

from __future__ import annotations

from typing import Any

from ...sow_core.errors import SowError
from ...sow_core.method.box import CELL


def check_model(model: Any) -> None:
    """Raise SowError unless MODEL is a Stable Diffusion 1.x, 2.x or SDXL UNet (eps or v prediction)."""
    problem = _problem(model)
    if problem:
        raise SowError(f"SOW needs a Stable Diffusion 1.x, 2.x or SDXL checkpoint; this MODEL {problem}.")


def _problem(model: Any) -> str | None:
    import comfy.model_sampling as sampling
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    base = model.model
    unet = base.diffusion_model
    unet = getattr(unet, "_orig_mod", unet)  # a compiled UNet is still one
    method = model.get_model_object("model_sampling")
    if base.latent_format.latent_dimensions != 2 or getattr(unet, "default_num_video_frames", None):
        return "makes video or sound"
    if isinstance(method, sampling.CONST):
        return "is a flow-matching model (Flux, SD3 and the like)"
    if not isinstance(unet, UNetModel):
        return f"is no UNet ({type(unet).__name__})"
    if getattr(base, "concat_keys", ()) or unet.in_channels != base.latent_format.latent_channels:
        return f"is an inpainting, editing or upscaling model ({unet.in_channels} input channels)"
    if not isinstance(method, sampling.ModelSamplingDiscrete) or not isinstance(method, sampling.EPS):
        return f"samples in a way that has no timesteps ({', '.join(c.__name__ for c in type(method).__bases__)})"
    return None


def check_vae(vae: Any) -> None:
    """Raise SowError unless VAE is an image autoencoder with 8 px per latent cell."""
    if getattr(vae, "first_stage_model", None) is None:
        raise SowError("The VAE is empty: this checkpoint has none; connect a VAE loader.")
    factor = vae.spacial_compression_encode()
    if getattr(vae, "latent_dim", 2) != 2 or factor != CELL:
        raise SowError(f"SOW needs an image VAE with {CELL} px per latent cell; this one has {factor}.")


def check_conditioning(model: Any, row: str, conditioning: Any) -> None:
    """Raise SowError if a prompt is empty or was encoded by another family's text encoder."""
    if not conditioning:
        raise SowError(f"The {row} CONDITIONING is empty: connect a text encode node.")
    config = model.model.model_config.unet_config
    width = config.get("context_dim")
    for embedding, options in conditioning:
        if isinstance(width, int) and embedding.shape[-1] != width:
            raise SowError(
                f"The {row} prompt comes from another text encoder: expected {width} values per token, got "
                f"{embedding.shape[-1]}; use the CLIP of the same checkpoint."
            )
        if (
            config.get("adm_in_channels")
            and options.get("pooled_output") is None
            and "unclip_conditioning" not in options
        ):
            raise SowError(
                f"The {row} prompt has no pooled output, which SDXL needs; use the checkpoint's own CLIP."
            )


def check_latents(encoded: Any, base: Any, noise: Any) -> None:
    """Raise SowError if the encoded layout, the model and the latent to sample do not belong together."""
    layout, channels = encoded.layout, base.latent_format.latent_channels
    got = encoded.channels
    if got != channels:
        raise SowError(
            f"The VAE makes {got} latent channels, the MODEL takes {channels}; use the checkpoint's own VAE."
        )
    expected = (layout.height // CELL, layout.width // CELL)
    if tuple(noise.shape[2:]) != expected or noise.shape[1] != channels:
        size = "x".join(str(n * CELL) for n in reversed(noise.shape[2:]))
        raise SowError(
            f"Bad latent: expected {layout.width}x{layout.height} px with {channels} channels, as the layout, "
            f"got {size} with {noise.shape[1]}; connect an empty latent of the layout's size."
        )
