"""Single-file .safetensors checkpoints in the original (latent diffusion) layout."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..errors import SowError
from ..outside.reading import expanded, open_file
from ..outside.text import one_line
from .checks import FAMILIES, check_index, check_parts, check_scheduler
from .components import Components, readable
from .configs import Index, SchedulerConfig, TextConfig, UNetConfig, VAEConfig, read_config
from .hub import hub_off
from .tokens import copy_tokenizer

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
    scheduler = read_config(folder / "scheduler" / "scheduler_config.json", SchedulerConfig)
    check_scheduler(str(folder), scheduler)
    import diffusers

    cls = diffusers.StableDiffusionXLPipeline if kind.family == "sdxl" else diffusers.StableDiffusionPipeline
    unused: dict[str, Any] = {"feature_extractor": None}
    if kind.family == "sdxl":
        unused |= {"image_encoder": None, "add_watermarker": False}
    else:
        unused |= {"safety_checker": None, "image_encoder": None, "requires_safety_checker": False}
    with tempfile.TemporaryDirectory(prefix="sow-") as copy, hub_off(), readable(one_line(path.name)):
        zero_empty = _copy_configuration(folder, Path(copy), kind)
        # A folder of its own and local_files_only: given neither, diffusers goes to the network by itself.
        options: dict[str, Any] = {"config": copy, "local_files_only": True, "torch_dtype": dtype}
        try:
            pipe = cls.from_single_file(str(path.absolute()), **options, **unused)
        except NotImplementedError as error:  # a weight that was never filled cannot be moved
            raise _incomplete(path) from error
    encoders = [(pipe.tokenizer, pipe.text_encoder)]
    if kind.family == "sdxl":
        encoders.append((pipe.tokenizer_2, pipe.text_encoder_2))
        pipe.vae.to(torch.float32)  # overflows in fp16
    _check_whole(path, [pipe.unet, pipe.vae, *(encoder for _, encoder in encoders)])
    if kind.v_prediction:
        scheduler["prediction_type"] = "v_prediction"
    if kind.zero_snr:
        scheduler["rescale_betas_zero_snr"] = True
    return check_parts(Components(str(path), pipe.unet, pipe.vae, encoders, scheduler, zero_empty))


def checkpoint_kind(path: Path) -> Kind:
    """What a checkpoint is, from the names and shapes in its header; no weight is read. Raises SowError."""
    from safetensors import SafetensorError, safe_open

    base = "model.diffusion_model."
    first, cross = f"{base}input_blocks.0.0.weight", f"{base}input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight"
    open_file(path, "the checkpoint").close()  # an ordinary file
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            shapes = {n: file.get_slice(n).get_shape() for n in (first, cross) if n in names}
    except (SafetensorError, OSError, ValueError) as error:
        reason = one_line(error, 100)
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
        folder = expanded(config)
        if not (folder / "model_index.json").is_file():
            raise SowError(f"Bad config {config}: expected a diffusers folder (with model_index.json).")
        family = check_index(str(config), read_config(folder / "model_index.json", Index))
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


def _copy_configuration(folder: Path, copy: Path, kind: Kind) -> bool:
    """Write the reduced configs and the tokenizers of a diffusers folder into another, for diffusers to read.

    Returns whether an empty prompt stands for zeros. Raises SowError, in one line, for what does not fit.
    """
    index = read_config(folder / "model_index.json", Index)
    parts: dict[str, tuple[type, tuple[str, str]]] = {
        "unet": (UNetConfig, ("diffusers", "UNet2DConditionModel")),
        "vae": (VAEConfig, ("diffusers", "AutoencoderKL")),
        "text_encoder": (TextConfig, ("transformers", "CLIPTextModel")),
    }
    if kind.family == "sdxl":
        parts["text_encoder_2"] = (TextConfig, ("transformers", "CLIPTextModelWithProjection"))
    written: dict[str, Any] = {"scheduler": ("diffusers", "DDIMScheduler")}
    for part, (record, place) in parts.items():
        config = read_config(folder / part / "config.json", record)
        if record is TextConfig:
            config["model_type"] = "clip_text_model"
        _write(copy / part / "config.json", {"_class_name": place[1], **config})
        written[part] = place
    for suffix in ("", "_2") if kind.family == "sdxl" else ("",):
        (copy / f"tokenizer{suffix}").mkdir()
        copy_tokenizer(folder / f"tokenizer{suffix}", copy / f"tokenizer{suffix}")
        written[f"tokenizer{suffix}"] = ("transformers", "CLIPTokenizer")
    _write(copy / "scheduler" / "scheduler_config.json", {"_class_name": "DDIMScheduler"})
    kinds = {"sdxl": "StableDiffusionXLPipeline"}
    _write(copy / "model_index.json", {"_class_name": kinds.get(kind.family, "StableDiffusionPipeline"), **written})
    return kind.family == "sdxl" and bool(index.get("force_zeros_for_empty_prompt", True))


def _write(path: Path, config: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(config), encoding="utf-8")


def _check_whole(path: Path, modules: list[Any]) -> None:
    """Raises SowError if a weight was never filled (it is still on the meta device)."""
    if any(weight.is_meta for module in modules for weight in module.parameters()):
        raise _incomplete(path)


def _incomplete(path: Path) -> SowError:
    return SowError(f"{path.name} lacks weights that its configuration names; is the config of the same family?")
