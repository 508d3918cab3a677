"""Flow transformers from a folder: transformer, VAE and text encoders, checked as they are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..assets import asset_folder
from ..errors import SowError
from ..outside.text import one_line, shown
from .checks import FLOW_FAMILIES, check_flow_parts, check_flow_scheduler
from .components import FlowComponents
from .configs import SchedulerConfig, SD3Config, VAEConfig, read_config
from .hub import hub_off
from .loading import advice_of, clip_encoder
from .parts import assemble

SHARED = re.compile(r"[A-Za-z0-9][\w-]*")
"""The name of a folder, and nothing that leads out of the one it lies in."""


def flow_from_folder(
    source: Path, kind: str, index: Mapping[str, Any], dtype: torch.dtype, name: str
) -> FlowComponents:
    """A flow model of a kind that `checks.check_index` knows; `name` is what errors and settings call it.

    Raises SowError, in one line, for whatever is missing, damaged or does not fit.
    """
    check_flow_scheduler(name, read_config(source / "scheduler" / "scheduler_config.json", SchedulerConfig))
    with hub_off():
        transformer = _transformer(source / "transformer", dtype)
        rest = shared_folder(source, index.get("shares"), name)
        vae, encoders = _rest(rest, dtype)
    return check_flow_parts(
        FlowComponents(name, kind, FLOW_FAMILIES[kind], transformer, vae, encoders, advice_of(source))
    )


def _transformer(folder: Path, dtype: torch.dtype) -> Any:
    from diffusers import SD3Transformer2DModel

    config = read_config(folder / "config.json", SD3Config)
    return assemble(lambda: SD3Transformer2DModel.from_config(config), folder, dtype)


def _rest(source: Path, dtype: torch.dtype) -> tuple[Any, list[tuple[Any, Any]]]:
    """The VAE and the (tokenizer, text encoder) pairs."""
    from diffusers import AutoencoderKL
    from transformers import CLIPTextModel

    config = read_config(source / "vae" / "config.json", VAEConfig)
    vae = assemble(lambda: AutoencoderKL.from_config(config), source / "vae", dtype)
    return vae, [clip_encoder(source, "", CLIPTextModel, dtype)]


def shared_folder(source: Path, shares: str | None, name: str) -> Path:
    """The folder with the parts that a "SowFlow" folder takes from another model: beside it, or the embedded one.

    Raises SowError if there is none, or for a name that would lead anywhere else.
    """
    if shares is None:
        raise SowError(f'{name} has no "shares" in model_index.json: the name of a model whose VAE and text encoder '
                       "it uses.")  # fmt: skip
    if not SHARED.fullmatch(shares):
        raise SowError(f"Bad shares {shown(shares)} in {one_line(source / 'model_index.json')}: expected the name of a "
                       "folder beside the model, without a path.")  # fmt: skip
    for folder in (source.resolve().parent / shares, asset_folder("models") / shares):
        if (folder / "model_index.json").is_file():
            return folder
    raise SowError(f"{name} uses the VAE and the text encoder of {shares}, which is not beside it.")
