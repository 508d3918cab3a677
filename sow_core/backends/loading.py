"""Models from a diffusers folder, a single .safetensors file, or a hub id.

Only local files are read unless `download` is set, and never a pickle.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..assets import EMBEDDED, asset_folder, embedded
from ..errors import SowError
from ..method.advice import Advice
from ..outside.reading import expanded
from ..outside.text import one_line
from .checks import FLOW_FAMILIES, check_index, check_parts, check_scheduler, check_unet_config
from .components import Components, Parts, readable
from .configs import Index, SchedulerConfig, TextConfig, UNetConfig, VAEConfig, json_object, read_config
from .hub import hub_off
from .parts import assemble
from .tokens import load_tokenizer
from .weights import PICKLES, WHY_NO_PICKLE

DEMO = asset_folder("models") / "demo"
"""The embedded demo model."""

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def load(
    model: str | Path = "demo",
    *,
    dtype: torch.dtype = torch.float32,
    download: bool = False,
    config: str | Path | None = None,
) -> Parts:
    """Load SD 1.x, SD 2.x, SDXL or a flow transformer for text-to-image.

    model: "demo", "demo_flow", a diffusers folder, a .safetensors checkpoint, or a hub id (owner/name).
    config: for a checkpoint: a diffusers folder of its family that gives layout, tokenizer and scheduler
      (eps or v prediction); without it they come from the local hub cache, or from the hub with `download`.
    Raises SowError, in one line, for anything that is not such a model.
    """
    name = str(model)
    path = embedded(name) if name in EMBEDDED else expanded(model)
    if _is(path.is_dir):
        return from_folder(path, dtype)
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise SowError(f"{one_line(path.name)} is {WHY_NO_PICKLE}.")
    if _is(path.is_file):
        if suffix != ".safetensors":
            raise SowError(f"Unknown model file {one_line(path.name)}: expected .safetensors or a diffusers folder.")
        from .single_file import from_checkpoint

        return from_checkpoint(path, dtype, download, config)
    if suffix == ".safetensors" or not HUB_ID.fullmatch(name):
        raise SowError(
            f"No such model: {one_line(name)}; expected {' or '.join(EMBEDDED)}, a folder, a .safetensors file or a "
            "hub id owner/name."
        )
    from .hub import model_folder

    return from_folder(model_folder(name, download), dtype, name)


def _is(ask: Callable[[], bool]) -> bool:
    """An answer about a path whose name may be one that no file can have."""
    try:
        return ask()
    except (OSError, ValueError):
        return False


def from_folder(source: Path, dtype: torch.dtype, name: str | None = None) -> Parts:
    """A model from a diffusers folder; `name` is what errors and settings call it.

    Its configs are read here, its weights too: the libraries are only asked to build what both say.
    """
    name = name or one_line(source)
    if not (source / "model_index.json").is_file():
        raise SowError(f"{name} is no diffusers model: it has no model_index.json.")
    index = read_config(source / "model_index.json", Index)
    kind = check_index(name, index)
    if kind in FLOW_FAMILIES:
        from .flow_loading import flow_from_folder

        return flow_from_folder(source, kind, index, dtype, name)
    unet_config = read_config(source / "unet" / "config.json", UNetConfig)
    check_unet_config(name, unet_config)
    scheduler = read_config(source / "scheduler" / "scheduler_config.json", SchedulerConfig)
    check_scheduler(name, scheduler)
    with hub_off():
        unet, vae, encoders = _parts(source, kind, unet_config, dtype)
    zero_empty = kind == "sdxl" and index.get("force_zeros_for_empty_prompt", True)
    return check_parts(Components(name, unet, vae, encoders, scheduler, zero_empty, advice_of(source)))


def advice_of(source: Path) -> Advice:
    """What the sow.json of a folder recommends; nothing where there is none."""
    file = source / "sow.json"
    return Advice.from_dict(json_object(file), one_line(file)) if file.exists() else Advice()


def _parts(source: Path, kind: str, unet_config: dict[str, Any], dtype: torch.dtype) -> tuple[Any, Any, Any]:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    vae_config = read_config(source / "vae" / "config.json", VAEConfig)
    vae_dtype = dtype if kind == "sd" else torch.float32  # SDXL's VAE overflows in fp16
    unet = assemble(lambda: UNet2DConditionModel.from_config(unet_config), source / "unet", dtype)
    vae = assemble(lambda: AutoencoderKL.from_config(vae_config), source / "vae", vae_dtype)
    classes = (("", CLIPTextModel), ("_2", CLIPTextModelWithProjection))[: 2 if kind == "sdxl" else 1]
    return unet, vae, [clip_encoder(source, suffix, cls, dtype) for suffix, cls in classes]


def clip_encoder(source: Path, suffix: str, cls: type, dtype: torch.dtype) -> tuple[Any, Any]:
    """(tokenizer, text encoder): the tokenizer{suffix} and text_encoder{suffix} of a folder."""
    from transformers import CLIPTextConfig

    folder = source / f"text_encoder{suffix}"
    values = read_config(folder / "config.json", TextConfig)
    values.pop("model_type", None)
    with readable(one_line(folder / "config.json")):
        config = CLIPTextConfig(**values)
    encoder = assemble(lambda: cls(config), folder, dtype)
    return load_tokenizer(source / f"tokenizer{suffix}", config.vocab_size), encoder
