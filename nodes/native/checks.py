"""What can be said in one line before a model is run, instead of a traceback from inside torch."""

from __future__ import annotations

from typing import Any

from ...sow_core.errors import SowError
from ...sow_core.method.box import check_size
from ...sow_core.method.families import FAMILIES, Family
from .flow import family_of, is_flow, problem_of

RUNS = "Stable Diffusion (1.x to 3.5), Flux, Chroma, Lumina 2, Z-Image, Qwen-Image or HiDream"
CELLS = tuple(sorted({family.cell for family in FAMILIES}))
"""px per latent cell of the VAEs that fit some model."""
TEXT_WIDTHS = ("context_dim", "context_in_dim", "joint_attention_dim", "cap_feat_dim", "caption_channels")
"""What the nets' configs call the width of their prompts; HiDream's is a list, of T5's first."""


def check_model(model: Any) -> Family | None:
    """The family of a MODEL that is a flow transformer, None of one that is a Stable Diffusion 1.x, 2.x or SDXL UNet.

    Raises SowError for anything else.
    """
    base, method = model.model, model.get_model_object("model_sampling")
    flow = is_flow(method)
    problem = problem_of(base, method) if flow else _problem(model)
    if problem:
        raise SowError(f"SOW needs a checkpoint of {RUNS}; this MODEL {problem}.")
    return family_of(base) if flow else None


def check_unet(model: Any, what: str = "SOW Separate", advice: str = "remove SOW Separate") -> None:
    """Raise SowError, with `what` needs it and `advice`, unless MODEL is a Stable Diffusion 1.x, 2.x or SDXL UNet."""
    family = check_model(model)
    if family is not None:
        raise SowError(f"{what} works on Stable Diffusion 1.x, 2.x and XL; this MODEL is {family.name}: {advice}.")


def _problem(model: Any) -> str | None:
    import comfy.model_sampling as sampling
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    base = model.model
    unet = base.diffusion_model
    unet = getattr(unet, "_orig_mod", unet)  # a compiled UNet is still one
    method = model.get_model_object("model_sampling")
    if base.latent_format.latent_dimensions != 2 or getattr(unet, "default_num_video_frames", None):
        return "makes video or sound"
    if isinstance(method, getattr(sampling, "COSMOS_RFLOW", ())):
        return "samples by Cosmos' own kind of flow"
    if not isinstance(unet, UNetModel):
        return f"is no UNet ({type(unet).__name__})"
    if getattr(base, "concat_keys", ()) or unet.in_channels != base.latent_format.latent_channels:
        return f"is an inpainting, editing or upscaling model ({unet.in_channels} input channels)"
    if not isinstance(method, sampling.ModelSamplingDiscrete) or not isinstance(method, sampling.EPS):
        return f"samples in a way that has no timesteps ({', '.join(c.__name__ for c in type(method).__bases__)})"
    return None


def check_vae(vae: Any, family: Family | None = None, cell: int | None = None) -> int:
    """px per latent cell of VAE. Raises SowError unless it is an image autoencoder, and one that fits.

    family: of the model that samples, or None: a UNet, or not known; cell: px per cell of the layout, if it is known.
    """
    if getattr(vae, "first_stage_model", None) is None:
        raise SowError("The VAE is empty: this checkpoint has none; connect a VAE loader.")
    factor, axes = vae.spacial_compression_encode(), getattr(vae, "latent_dim", 2)
    cells = (cell,) if cell else CELLS
    if factor not in cells or axes not in (2, 3):
        sizes = " or ".join(map(str, cells))
        raise SowError(f"SOW needs an image VAE with {sizes} px per latent cell; this one has {factor}.")
    if axes != (family.latent_dims if family else axes):
        raise SowError("The VAE and the MODEL are of different families; connect the VAE that belongs to the model.")
    return int(factor)


def check_conditioning(model: Any, row: str, conditioning: Any) -> None:
    """Raise SowError if a prompt is empty or was encoded by another family's text encoder."""
    if not conditioning:
        raise SowError(f"The {row} CONDITIONING is empty: connect a text encode node.")
    config = model.model.model_config.unet_config
    width = text_width(config)
    for embedding, options in conditioning:
        if isinstance(width, int) and embedding.shape[-1] != width:
            raise SowError(
                f"The {row} prompt comes from another text encoder: expected {width} values per token, got "
                f"{embedding.shape[-1]}; use the CLIP of the same checkpoint."
            )
        pooled = config.get("adm_in_channels") or config.get("text_emb_dim")
        if pooled and options.get("pooled_output") is None and "unclip_conditioning" not in options:
            raise SowError(
                f"The {row} prompt has no pooled output, which SDXL, SD3 and HiDream need; use the checkpoint's own "
                "CLIP."
            )
        if config.get("llama_layers") and options.get("conditioning_llama3") is None:
            raise SowError(f"The {row} prompt has no Llama states, which HiDream needs; load its four text encoders.")


def text_width(config: dict[str, Any]) -> int | None:
    """Values per token of the prompts that a net takes, whatever its family calls them; None if it does not say."""
    if "context_embedder_config" in config:  # SD3
        return config["context_embedder_config"]["params"]["in_features"]
    found = next((config[name] for name in TEXT_WIDTHS if config.get(name) is not None), None)
    return (found[0] if isinstance(found, (list, tuple)) else found) if not isinstance(found, dict) else None


def check_latents(encoded: Any, base: Any, noise: Any, family: Family | None = None) -> None:
    """Raise SowError if the encoded layout, the model and the latent to sample do not belong together."""
    layout, channels = encoded.layout, base.latent_format.latent_channels
    got, cell = encoded.channels, layout.cell
    if got != channels:
        raise SowError(
            f"The VAE makes {got} latent channels, the MODEL takes {channels}; use the checkpoint's own VAE."
        )
    if family is not None:
        check_size(layout.width, layout.height, family.snap)
    expected = (layout.height // cell, layout.width // cell)
    if tuple(noise.shape[-2:]) != expected or noise.shape[1] != channels:
        size = "x".join(str(n * cell) for n in reversed(noise.shape[-2:]))
        raise SowError(
            f"Bad latent: expected {layout.width}x{layout.height} px with {channels} channels, as the layout, "
            f"got {size} with {noise.shape[1]}; connect an empty latent of the layout's size."
        )
