"""Single-file .safetensors checkpoints in the original (latent diffusion) layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..errors import SowError
from .checks import FAMILIES, check_index, check_parts
from .components import Components, json_object, readable

DEFAULTS = {
    "sd1": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "sdxl": "stabilityai/stable-diffusion-xl-base-1.0",
}
"""Where a checkpoint's configuration and tokenizer come from if no folder is given."""


class Kind(NamedTuple):
    """family: "sd1", "sd2" or "sdxl"; v_prediction, zero_snr: the markers that SDXL checkpoints carry."""

    family: str
    v_prediction: bool
    zero_snr: bool


def from_checkpoint(path: Path, dtype: torch.dtype, download: bool, config: str | Path | None) -> Components:
    """A model from one file; see `loading.load`. Raises SowError."""
    kind = checkpoint_kind(path)
    folder = _configuration(path, kind, download, config)
    import diffusers

    cls = diffusers.StableDiffusionXLPipeline if kind.family == "sdxl" else diffusers.StableDiffusionPipeline
    # A folder of its own and local_files_only: given neither, diffusers goes to the network by itself.
    options: dict[str, Any] = {"config": str(folder), "local_files_only": True, "torch_dtype": dtype}
    unused: dict[str, Any] = {"feature_extractor": None}
    if kind.family == "sdxl":
        unused |= {"image_encoder": None, "add_watermarker": False}
    else:
        unused |= {"safety_checker": None, "image_encoder": None, "requires_safety_checker": False}
    with readable(path.name):
        try:
            pipe = cls.from_single_file(str(path), **options, **unused)
        except NotImplementedError as error:  # a weight that was never filled cannot be moved
            raise _incomplete(path) from error
    encoders = [(pipe.tokenizer, pipe.text_encoder)]
    if kind.family == "sdxl":
        encoders.append((pipe.tokenizer_2, pipe.text_encoder_2))
        pipe.vae.to(torch.float32)  # overflows in fp16
    _check_whole(path, [pipe.unet, pipe.vae, *(encoder for _, encoder in encoders)])
    scheduler = dict(pipe.scheduler.config)
    if kind.v_prediction:
        scheduler["prediction_type"] = "v_prediction"
    if kind.zero_snr:
        scheduler["rescale_betas_zero_snr"] = True
    zero_empty = kind.family == "sdxl" and bool(pipe.config.get("force_zeros_for_empty_prompt", True))
    return check_parts(Components(str(path), pipe.unet, pipe.vae, encoders, scheduler, zero_empty))


def checkpoint_kind(path: Path) -> Kind:
    """What a checkpoint is, from the names and shapes in its header; no weight is read. Raises SowError."""
    from safetensors import SafetensorError, safe_open

    base = "model.diffusion_model."
    first, cross = f"{base}input_blocks.0.0.weight", f"{base}input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight"
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            shapes = {n: file.get_slice(n).get_shape() for n in (first, cross) if n in names}
    except (SafetensorError, OSError) as error:
        reason = str(error).split("\n")[0][:100]
        raise SowError(f"{path.name} is not a whole .safetensors file ({reason}); download it again.") from error
    if first not in names:
        raise SowError(f"{path.name} holds no Stable Diffusion UNet ({_guess(names)}); expected {', '.join(FAMILIES)}.")
    channels = shapes[first][1]
    if channels != 4:
        raise SowError(f"{path.name} is an inpainting or edit model ({channels} input channels); expected 4.")
    if "edm_mean" in names:
        raise SowError(f"{path.name} is an EDM model (Playground); expected {', '.join(FAMILIES)}.")
    if any("time_stack" in n or "time_mixer" in n or "temporal" in n for n in names):
        raise SowError(f"{path.name} is a video model; expected {', '.join(FAMILIES)}.")
    marks = "v_pred" in names, "ztsnr" in names
    if any(n.startswith("conditioner.embedders.1.") for n in names):
        return Kind("sdxl", *marks)
    if any(n.startswith("conditioner.embedders.0.model.") for n in names):
        raise SowError(f"{path.name} is an SDXL refiner; load the SDXL base model.")
    openclip = any(n.startswith("cond_stage_model.model.") for n in names)
    if not openclip and not any(n.startswith("cond_stage_model.") for n in names):
        raise SowError(f"{path.name} has no text encoder: it is a UNet alone; load the whole checkpoint.")
    return Kind("sd2" if openclip else "sd1", *marks)


def _guess(names: set[str]) -> str:
    """What a file without a Stable Diffusion UNet is likely to be."""
    if any("lora" in n.lower() for n in names):
        return "a LoRA?"
    if any(part in n for n in names for part in ("double_blocks.", "joint_blocks.", "single_blocks.")):
        return "a flow model, such as SD3 or Flux?"
    if any(n.startswith(("down_blocks.", "mid_block.")) for n in names):
        return "one part of a diffusers folder? Load the folder"
    return "a part of a model?"


def _configuration(path: Path, kind: Kind, download: bool, config: str | Path | None) -> Path:
    if config is not None:
        folder = Path(config).expanduser()
        if not (folder / "model_index.json").is_file():
            raise SowError(f"Bad config {config}: expected a diffusers folder (with model_index.json).")
        family = check_index(str(config), json_object(folder / "model_index.json"))
        if family != ("sdxl" if kind.family == "sdxl" else "sd"):
            raise SowError(f"{path.name} is {kind.family.upper()}, but the config {config} is of another family.")
        return folder
    if kind.family not in DEFAULTS:
        raise SowError(
            f"{path.name} is an SD 2.x checkpoint, which does not say whether it predicts eps or v: "
            "give --config FOLDER, a diffusers folder of the same model."
        )
    from .hub import configuration_folder

    found = configuration_folder(DEFAULTS[kind.family], download)
    if found is None:
        raise SowError(
            f"{path.name} needs its family's configuration and tokenizer, which are not in the local hub cache: "
            "give --config FOLDER (any diffusers folder of that family) or --download."
        )
    return found


def _check_whole(path: Path, modules: list[Any]) -> None:
    """Raises SowError if a weight was never filled (it is still on the meta device)."""
    if any(weight.is_meta for module in modules for weight in module.parameters()):
        raise _incomplete(path)


def _incomplete(path: Path) -> SowError:
    return SowError(f"{path.name} lacks weights that its configuration names; is the config of the same family?")
