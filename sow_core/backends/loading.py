"""Stable Diffusion models from a diffusers folder, a single .safetensors file, or a hub id.

Only local files are read unless `download` is set, and never a pickle.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from ..assets import asset_folder
from ..errors import SowError
from ..method.advice import Advice
from .checks import check_index, check_parts, check_scheduler, check_unet_config
from .components import Components, json_object, readable

DEMO = asset_folder("models") / "demo"
"""The embedded demo model."""

PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle")
WHY_NO_PICKLE = "a pickle, which can run code when it is opened; convert it to .safetensors and load that"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def load(
    model: str | Path = "demo",
    *,
    dtype: torch.dtype = torch.float32,
    download: bool = False,
    config: str | Path | None = None,
) -> Components:
    """Load SD 1.x, SD 2.x or SDXL for text-to-image.

    model: "demo", a diffusers folder, a .safetensors checkpoint, or a hub id (owner/name).
    config: for a checkpoint: a diffusers folder of its family that gives layout, tokenizer and scheduler
      (eps or v prediction); without it they come from the local hub cache, or from the hub with `download`.
    Raises SowError, in one line, for anything that is not such a model.
    """
    name = str(model)
    path = DEMO if name == "demo" else Path(model).expanduser()
    if path.is_dir():
        return from_folder(path, dtype)
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise SowError(f"{path.name} is {WHY_NO_PICKLE}.")
    if path.is_file():
        if suffix != ".safetensors":
            raise SowError(f"Unknown model file {path.name}: expected .safetensors or a diffusers folder.")
        from .single_file import from_checkpoint

        return from_checkpoint(path, dtype, download, config)
    if suffix == ".safetensors" or not HUB_ID.fullmatch(name):
        raise SowError(f"No such model: {name}; expected demo, a folder, a .safetensors file or a hub id owner/name.")
    from .hub import model_folder

    return from_folder(model_folder(name, download), dtype, name)


def from_folder(source: Path, dtype: torch.dtype, name: str | None = None) -> Components:
    """A model from a diffusers folder; `name` is what errors and settings call it."""
    name = name or str(source)
    index_file = source / "model_index.json"
    if not index_file.is_file():
        raise SowError(f"{name} is no diffusers model: it has no model_index.json.")
    index = json_object(index_file)
    kind = check_index(name, index)
    check_unet_config(name, json_object(source / "unet" / "config.json"))
    scheduler = json_object(source / "scheduler" / "scheduler_config.json")
    check_scheduler(name, scheduler)
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    vae_dtype = dtype if kind == "sd" else torch.float32  # SDXL's VAE overflows in fp16
    unet = _part(UNet2DConditionModel, source, "unet", dtype)
    vae = _part(AutoencoderKL, source, "vae", vae_dtype)
    encoders = [(_tokenizer(source, "tokenizer"), _part(CLIPTextModel, source, "text_encoder", dtype))]
    if kind == "sdxl":
        second = _part(CLIPTextModelWithProjection, source, "text_encoder_2", dtype)
        encoders.append((_tokenizer(source, "tokenizer_2"), second))
    zero_empty = kind == "sdxl" and bool(index.get("force_zeros_for_empty_prompt", True))
    parts = Components(name, unet, vae, encoders, scheduler, zero_empty)
    recommendation = source / "sow.json"
    if recommendation.is_file():
        parts.recommended = Advice.from_dict(json_object(recommendation), str(recommendation))
    return check_parts(parts)


def _part(kind: Any, source: Path, part: str, dtype: torch.dtype) -> Any:
    """One model of the folder. Raises SowError if a weight is missing: it would be random."""
    folder = source / part
    options = _variant(folder)
    with readable(str(folder)):
        made, info = kind.from_pretrained(
            source,
            subfolder=part,
            torch_dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    missing = sorted(k for k in info["missing_keys"] if not k.endswith("position_ids"))
    if missing:
        raise SowError(
            f"The weights in {folder} are incomplete: {len(missing)} missing ({missing[0]}, ...); fetch them again."
        )
    return made


def _variant(folder: Path) -> dict[str, str]:
    """Which of a folder's weight files to load: the plain ones, else the variant there is (fp16).

    Raises SowError if there are no safetensors weights.
    """
    pattern = re.compile(r"(?:diffusion_pytorch_)?model(?:\.(\w+))?(?:-\d+-of-\d+)?\.safetensors")
    found = [m.group(1) for m in (pattern.fullmatch(p.name) for p in sorted(folder.glob("*.safetensors"))) if m]
    if found:
        return {} if None in found else {"variant": "fp16" if "fp16" in found else str(found[0])}
    pickles = sorted(p.name for p in folder.glob("*") if p.suffix.lower() in PICKLES)
    if pickles:
        raise SowError(f"{folder / pickles[0]} is {WHY_NO_PICKLE}.")
    raise SowError(f"No weights in {folder}: expected a .safetensors file; fetch the model again.")


def _tokenizer(source: Path, part: str) -> Any:
    from transformers import CLIPTokenizer

    if not (source / part / "tokenizer_config.json").is_file() and not (source / part / "vocab.json").is_file():
        raise SowError(f"No tokenizer in {source / part}; fetch the model again.")
    with readable(str(source / part)):
        return CLIPTokenizer.from_pretrained(source, subfolder=part, local_files_only=True)
