"""Which models this method can run on, decided from their configuration before a weight is read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import SowError
from ..method.box import CELL
from ..method.families import CHROMA, FLUX, FLUX2_KLEIN, LUMINA2, QWEN_IMAGE, SD3, Z_IMAGE, Family
from . import latents
from .components import Components, FlowComponents

FAMILIES = ("SD 1.x", "SD 2.x", "SDXL")
PIPELINES = {
    "StableDiffusionPipeline": "sd",
    "StableDiffusionImg2ImgPipeline": "sd",
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusionXLImg2ImgPipeline": "sdxl",
}
PARTS = {
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModel",),
    "text_encoder_2": ("CLIPTextModelWithProjection",),
}
FLOW_PIPELINES = {
    "SowFlow": "demo_flow",
    "StableDiffusion3Pipeline": "sd3",
    "FluxPipeline": "flux",
    "ChromaPipeline": "chroma",
    "Lumina2Pipeline": "lumina2",
    "Lumina2Text2ImgPipeline": "lumina2",
    "ZImagePipeline": "z_image",
    "QwenImagePipeline": "qwen",
    "Flux2KleinPipeline": "klein",
}
"""The kind of a flow transformer's folder by its pipeline's class. "SowFlow" is no class of diffusers: a transformer
whose other parts another folder has."""
FLOW_FAMILIES: dict[str, Family] = {
    "demo_flow": SD3, "sd3": SD3, "flux": FLUX, "chroma": CHROMA, "lumina2": LUMINA2, "z_image": Z_IMAGE,
    "qwen": QWEN_IMAGE, "klein": FLUX2_KLEIN,
}  # fmt: skip
_CLIP, _T5 = ("CLIPTextModel",), ("T5EncoderModel",)
_KL = ("AutoencoderKL",)
FLOW_PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "demo_flow": {"transformer": ("SD3Transformer2DModel",)},
    "sd3": {
        "transformer": ("SD3Transformer2DModel",),
        "vae": _KL,
        "text_encoder": ("CLIPTextModelWithProjection",),
        "text_encoder_2": ("CLIPTextModelWithProjection",),
    },
    "flux": {
        "transformer": ("FluxTransformer2DModel",), "vae": _KL, "text_encoder": _CLIP, "text_encoder_2": _T5,
    },
    "chroma": {"transformer": ("ChromaTransformer2DModel",), "vae": _KL, "text_encoder": _T5},
    "lumina2": {
        "transformer": ("Lumina2Transformer2DModel",), "vae": _KL, "text_encoder": ("Gemma2Model",),
    },
    "z_image": {
        "transformer": ("ZImageTransformer2DModel",), "vae": _KL, "text_encoder": ("Qwen3Model", "Qwen3ForCausalLM"),
    },
    "qwen": {
        "transformer": ("QwenImageTransformer2DModel",), "vae": ("AutoencoderKLQwenImage",),
        "text_encoder": ("Qwen2_5_VLForConditionalGeneration",),
    },
    "klein": {
        "transformer": ("Flux2Transformer2DModel",), "vae": ("AutoencoderKLFlux2",),
        "text_encoder": ("Qwen3ForCausalLM", "Qwen3Model"),
    },
}  # fmt: skip
"""By kind: the classes that a folder's model_index.json may name for a part."""
REFUSED = (
    (r"Inpaint|Fill", "fills masks and wants more than a noisy latent"),
    (r"Kontext|Edit|Omni|Reference", "edits pictures that stand beside the noisy latent"),
    (r"Control|Redux|IPAdapter", "is guided by another picture"),
    (r"Layered", "makes layers, not a picture"),
    (r"Flux2", "runs in ComfyUI (SOW KSampler), not from a folder"),
    (r"HiDream", "runs in ComfyUI (SOW KSampler), not from a folder"),
    (r"Video|Wan|LTX|Mochi|CogVideo|Allegro|SkyReels|Cosmos", "is a video model"),
)
"""Why other pipelines are refused, by what their class is called."""
PACKED = ("flux", "chroma", "qwen")
"""Kinds whose net is handed the cells of a token as channels."""
BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")


def check_index(name: str, index: Mapping[str, Any]) -> str:
    """"sd", "sdxl" or a key of `FLOW_FAMILIES` from a model_index.json. Raises SowError for every other pipeline."""
    kind = index.get("_class_name", "")
    if kind in FLOW_PIPELINES:
        return _check_flow_index(name, index, FLOW_PIPELINES[kind])
    if kind not in PIPELINES:
        reason = next((f", which {why}" for pattern, why in REFUSED if re.search(pattern, kind)), "")
        raise SowError(
            f"{name} holds a {kind or 'model without _class_name'}{reason}; expected a text-to-image model of "
            f"{', '.join(FAMILIES)}, {', '.join(dict.fromkeys(f.name for f in FLOW_FAMILIES.values()))}."
        )
    family = PIPELINES[kind]
    if family == "sdxl" and not _class_of(index, "text_encoder"):
        raise SowError(f"{name} is an SDXL refiner (one text encoder); load the SDXL base model.")
    for part, expected in PARTS.items():
        if part == "text_encoder_2" and family == "sd":
            continue
        found = _class_of(index, part)
        if found not in expected:
            raise SowError(f"{name} has {found or 'no'} {part}; expected {expected[0]} ({', '.join(FAMILIES)}).")
    return family


def _check_flow_index(name: str, index: Mapping[str, Any], kind: str) -> str:
    for part, expected in FLOW_PARTS[kind].items():
        found = _class_of(index, part)
        if found not in expected:
            raise SowError(f"{name} has {found or 'no'} {part}; expected {expected[0]} ({FLOW_FAMILIES[kind].name}).")
    return kind


def _class_of(index: Mapping[str, Any], part: str) -> str | None:
    entry = index.get(part)
    return entry[1] if entry else None


def check_unet_config(name: str, config: Mapping[str, Any]) -> None:
    """Raises SowError for a UNet that wants more than a noisy latent, a time and a text."""
    channels = config.get("in_channels", 4)
    if channels != 4 or config.get("out_channels", 4) != 4:
        raise SowError(f"{name} is an inpainting or edit model ({channels} input channels); expected 4.")
    wants = ("class_embed_type", "num_class_embeds", "time_cond_proj_dim", "encoder_hid_dim_type")
    odd = [key for key in wants if config.get(key)]
    if config.get("addition_embed_type") not in (None, "text_time"):
        odd.append("addition_embed_type")
    if odd:
        raise SowError(f"{name} needs extra conditioning ({', '.join(odd)}); load a plain Stable Diffusion model.")


def check_scheduler(name: str, config: Mapping[str, Any]) -> None:
    """Raises SowError unless the noise levels are a variance-preserving diffusion's, with eps or v prediction."""
    kind = str(config.get("_class_name", ""))
    prediction = config.get("prediction_type", "epsilon")
    shifted = "shift" in config and "beta_start" not in config
    if kind.startswith("FlowMatch") or str(prediction).startswith("flow") or shifted:
        raise SowError(f"{name} is a flow-matching model; this method needs {', '.join(FAMILIES)}.")
    if kind.startswith("EDM") or config.get("sigma_data") is not None:
        raise SowError(f"{name} is an EDM model ({kind}); this method needs {', '.join(FAMILIES)}.")
    if prediction not in ("epsilon", "v_prediction"):
        raise SowError(f"{name} predicts {prediction!r}; expected epsilon or v_prediction.")
    schedule = config.get("beta_schedule", "linear")
    if config.get("trained_betas") is None and schedule not in BETA_SCHEDULES:
        raise SowError(f"{name} has the noise schedule {schedule!r}; expected {' | '.join(BETA_SCHEDULES)}.")


def check_flow_scheduler(name: str, config: Mapping[str, Any]) -> None:
    """Raises SowError unless the model was trained on straight lines to noise. Its shift is of no matter here: the
    method brings times of its own (`Schedule.matched_flow`)."""
    kind = str(config.get("_class_name", ""))
    if not kind.startswith("FlowMatch"):
        raise SowError(f"{name} has the scheduler {kind or 'of no name'}; expected FlowMatchEulerDiscreteScheduler.")


def check_flow_parts(parts: FlowComponents) -> FlowComponents:
    """The loaded parts of a flow model, frozen for inference, once net, VAE and text encoders agree."""
    net, vae = parts.transformer.config, parts.vae
    packed = parts.family.patch**2 if parts.kind in PACKED else 1
    given = net.in_channels
    if net.get("out_channels") not in (None, given, given // packed) or given % packed:
        raise SowError(f"{parts.name} is an edit or fill model ({given} channels in, {net.out_channels} out).")
    channels, factor = latents.channels(vae), latents.factor(vae)
    if channels != given // packed or factor != parts.cell:
        raise SowError(
            f"The VAE of {parts.name} has {channels} channels and {factor} px per latent cell; "
            f"expected {given // packed} and {parts.cell}."
        )
    scales = (vae.config.get("latents_mean") or (), vae.config.get("latents_std") or ())
    if "z_dim" in vae.config and [len(s) for s in scales] != [channels] * 2:
        raise SowError(f"The VAE of {parts.name} has {channels} channels; expected as many latents_mean, latents_std.")
    patch = parts.family.patch if packed > 1 else net.get("patch_size", parts.family.patch)
    if patch != parts.family.patch:
        raise SowError(f"{parts.name} has patches of {patch} cells; expected {parts.family.patch}.")
    _check_widths(parts)
    freeze(parts.modules)
    return parts


def _check_widths(parts: FlowComponents) -> None:
    """Raises SowError unless the text encoders give what the transformer reads."""
    net, configs = parts.transformer.config, [encoder.config for _, encoder in parts.encoders]
    last = configs[-1]
    wanted = net.get("joint_attention_dim") or net.get("cap_feat_dim")
    width = last.hidden_size  # T5's d_model, too
    if parts.kind == "klein":
        width *= 3  # the states of three layers
    if parts.kind == "sd3" and len(configs) < 3:
        width = wanted  # padded with zeros where there is no T5
    if parts.kind == "sd3":
        pooled = sum(c.projection_dim for c in configs[:2])
    else:
        pooled = configs[0].hidden_size
    reads = net.get("pooled_projection_dim") or pooled
    if (width, pooled) != (wanted, reads):
        raise SowError(f"The transformer of {parts.name} reads texts of width {wanted} (pooled {reads}); its text "
                       f"encoders give {width} ({pooled}).")  # fmt: skip


def freeze(modules: Sequence[Any]) -> None:
    """For inference: no dropout, no gradients."""
    for module in modules:
        module.eval().requires_grad_(False)


def check_parts(parts: Components) -> Components:
    """The loaded parts, frozen for inference, once their configurations have passed."""
    check_unet_config(parts.name, parts.unet.config)
    check_scheduler(parts.name, parts.scheduler_config)
    vae = parts.vae.config
    factor = 2 ** (len(vae.block_out_channels) - 1)
    if vae.latent_channels != 4 or factor != CELL:
        raise SowError(
            f"The VAE of {parts.name} has {vae.latent_channels} channels and {factor} px per latent cell; "
            f"expected 4 and {CELL}."
        )
    if vae.get("latents_mean") or vae.get("shift_factor"):
        raise SowError(f"The VAE of {parts.name} shifts its latents; this method needs {', '.join(FAMILIES)}.")
    freeze(parts.modules)
    return parts
