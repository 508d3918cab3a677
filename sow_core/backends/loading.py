"""Stable Diffusion models from a diffusers folder, a single .safetensors file, or a hub id.

Only local files are read unless `download` is set, and never a pickle.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..assets import asset_folder
from ..errors import SowError

DEMO = asset_folder("models") / "demo"
"""The embedded demo model."""

FAMILIES = ("SD 1.x", "SD 2.x", "SDXL")
PIPELINES = {
    "StableDiffusionPipeline": "sd",
    "StableDiffusionImg2ImgPipeline": "sd",
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusionXLImg2ImgPipeline": "sdxl",
}
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle")


@dataclass
class Components:
    """The parts of one model; `encoders` are (tokenizer, text encoder) pairs: one, or SDXL's two."""

    name: str
    unet: Any
    vae: Any
    encoders: list[tuple[Any, Any]]
    scheduler_config: dict[str, Any]
    zero_empty: bool = False
    """SDXL's force_zeros_for_empty_prompt."""
    recommended: Mapping[str, Any] = field(default_factory=dict)
    """What the folder's sow.json recommends: "guidance" and "negative", for models that are not SD's size."""

    @property
    def sdxl(self) -> bool:
        return len(self.encoders) == 2


def load(
    model: str | Path = "demo",
    *,
    dtype: torch.dtype = torch.float32,
    download: bool = False,
    config: str | Path | None = None,
) -> Components:
    """Load SD 1.x, SD 2.x or SDXL for text-to-image.

    model: "demo", a diffusers folder, a .safetensors checkpoint, or a hub id (owner/name).
    config: for a checkpoint: a diffusers folder of its family that gives layout and tokenizer; without it
      they come from the local hub cache, or from the hub with `download`.
    Raises SowError, in one line, for anything that is not such a model.
    """
    path = DEMO if str(model) == "demo" else Path(model).expanduser()
    if path.is_dir():
        return _from_folder(path, dtype, local=True)
    if path.suffix.lower() in PICKLES:
        raise SowError(
            f"{path.name} is a pickle checkpoint, which can run code when it is opened; "
            "convert it to .safetensors and load that."
        )
    if path.is_file():
        if path.suffix.lower() != ".safetensors":
            raise SowError(f"Unknown model file {path.name}: expected .safetensors or a diffusers folder.")
        return _from_checkpoint(path, dtype, download, config)
    if path.suffix or str(model).count("/") != 1 or str(model).startswith((".", "/", "~")):
        raise SowError(f"No such model: {model}; expected demo, a folder, a .safetensors file or a hub id owner/name.")
    if not download:
        return _from_hub_cache(str(model), dtype)
    return _from_folder(str(model), dtype, local=False)


def _from_hub_cache(name: str, dtype: torch.dtype) -> Components:
    from huggingface_hub import try_to_load_from_cache

    index = try_to_load_from_cache(name, "model_index.json")
    if not isinstance(index, str):
        raise SowError(f"{name} is neither a folder nor in the local hub cache; add --download to fetch it.")
    return _from_folder(Path(index).parent, dtype, local=True)


def _from_folder(source: Path | str, dtype: torch.dtype, local: bool) -> Components:
    index = _read_index(source, local)
    kind = index.get("_class_name", "")
    if kind not in PIPELINES:
        raise SowError(
            f"{source} holds a {kind or 'model without _class_name'}; expected a text-to-image Stable Diffusion "
            f"({', '.join(FAMILIES)}). Inpainting, edit, video and flow models do not work with this method."
        )
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    options: dict[str, Any] = {"local_files_only": local}
    weights = options | {"torch_dtype": dtype, "use_safetensors": True}
    with _readable(str(source)):
        unet = UNet2DConditionModel.from_pretrained(source, subfolder="unet", **weights)
        vae_dtype = dtype if PIPELINES[kind] == "sd" else torch.float32  # SDXL's VAE overflows in fp16
        vae = AutoencoderKL.from_pretrained(source, subfolder="vae", **(weights | {"torch_dtype": vae_dtype}))
        encoders = [
            (
                CLIPTokenizer.from_pretrained(source, subfolder="tokenizer", **options),
                CLIPTextModel.from_pretrained(source, subfolder="text_encoder", **weights),
            )
        ]
        if PIPELINES[kind] == "sdxl":
            if not index.get("text_encoder", [None])[0]:
                raise SowError(f"{source} is an SDXL refiner (one text encoder); load the SDXL base model.")
            second = CLIPTextModelWithProjection.from_pretrained(source, subfolder="text_encoder_2", **weights)
            encoders.append((CLIPTokenizer.from_pretrained(source, subfolder="tokenizer_2", **options), second))
        scheduler = _scheduler_config(source, local)
    zero_empty = bool(index.get("force_zeros_for_empty_prompt", PIPELINES[kind] == "sdxl"))
    parts = Components(str(source), unet, vae, encoders, scheduler, zero_empty and len(encoders) == 2)
    recommendation = Path(source) / "sow.json"
    if local and recommendation.is_file():
        parts.recommended = _json(recommendation)
    return _checked(parts)


def _from_checkpoint(path: Path, dtype: torch.dtype, download: bool, config: str | Path | None) -> Components:
    if config is not None and not Path(config).is_dir():
        raise SowError(f"No such config folder: {config}; expected a diffusers folder of the checkpoint's family.")
    kind = _checkpoint_kind(path)
    import diffusers

    cls = diffusers.StableDiffusionXLPipeline if kind == "sdxl" else diffusers.StableDiffusionPipeline
    options: dict[str, Any] = {"torch_dtype": dtype, "local_files_only": not download}
    if config is not None:
        options["config"] = str(config)
    try:
        with _readable(str(path)):
            pipe = cls.from_single_file(str(path), **options)
    except (SowError, OSError, ValueError) as error:
        if config is None and not download:
            raise SowError(
                f"{path.name} needs its family's configuration and tokenizer, which are not in the local hub cache: "
                "give --config FOLDER (any diffusers folder of that family) or --download."
            ) from error
        raise
    encoders = [(pipe.tokenizer, pipe.text_encoder)]
    if kind == "sdxl":
        encoders.append((pipe.tokenizer_2, pipe.text_encoder_2))
        pipe.vae.to(torch.float32)
    zero_empty = kind == "sdxl" and bool(pipe.config.get("force_zeros_for_empty_prompt", True))
    parts = Components(str(path), pipe.unet, pipe.vae, encoders, dict(pipe.scheduler.config), zero_empty)
    return _checked(parts)


def _checkpoint_kind(path: Path) -> str:
    """"sd" or "sdxl" from the names in a checkpoint's header; no weight is read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            first = "model.diffusion_model.input_blocks.0.0.weight"
            channels = file.get_slice(first).get_shape()[1] if first in names else None
    except (SafetensorError, OSError) as error:
        reason = str(error).split("\n")[0][:100]
        raise SowError(f"{path.name} is not a whole .safetensors file ({reason}); download it again.") from error
    if channels is None:
        what = "a LoRA" if any("lora" in n for n in names) else "a flow model or a part of a model"
        raise SowError(f"{path.name} holds no Stable Diffusion UNet ({what}?); expected {', '.join(FAMILIES)}.")
    if channels != 4:
        raise SowError(f"{path.name} is an inpainting or edit model ({channels} input channels); expected 4.")
    if any(n.startswith("conditioner.embedders.1.") for n in names):
        return "sdxl"
    if any(n.startswith("conditioner.embedders.0.model.") for n in names):
        raise SowError(f"{path.name} is an SDXL refiner; load the SDXL base model.")
    return "sd"


def _read_index(source: Path | str, local: bool) -> dict[str, Any]:
    path = Path(source) / "model_index.json"
    if not local:
        from huggingface_hub import hf_hub_download

        with _readable(str(source)):
            path = Path(hf_hub_download(str(source), "model_index.json"))
    if not path.is_file():
        raise SowError(f"{source} is no diffusers model: it has no model_index.json.")
    return _json(path)


def _json(path: Path) -> dict[str, Any]:
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SowError(f"Cannot read {path} as JSON ({error}); restore the file.") from error
    if not isinstance(made, dict):
        raise SowError(f"Cannot read {path}: expected a JSON object.")
    return made


def _scheduler_config(source: Path | str, local: bool) -> dict[str, Any]:
    if local:
        return _json(Path(source) / "scheduler" / "scheduler_config.json")
    from diffusers import DDIMScheduler

    return dict(DDIMScheduler.load_config(str(source), subfolder="scheduler"))


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turn what libraries raise for damaged or missing files into one line."""
    from safetensors import SafetensorError

    try:
        yield
    except SowError:
        raise
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        reason = " ".join(str(error).split())[:160]
        raise SowError(f"Cannot load {name}: {reason}") from error


def _checked(parts: Components) -> Components:
    channels = parts.unet.config.in_channels
    if channels != 4 or parts.unet.config.out_channels != 4:
        raise SowError(f"{parts.name} is an inpainting or edit model ({channels} input channels); expected 4.")
    if parts.unet.config.get("class_embed_type") or parts.unet.config.get("time_cond_proj_dim"):
        raise SowError(f"{parts.name} needs extra conditioning (class or guidance embedding); load a plain SD model.")
    kind = parts.scheduler_config.get("prediction_type", "epsilon")
    if kind not in ("epsilon", "v_prediction"):
        raise SowError(f"{parts.name} predicts {kind!r}; expected epsilon or v_prediction.")
    if "shift" in parts.scheduler_config and "beta_start" not in parts.scheduler_config:
        raise SowError(f"{parts.name} is a flow-matching model; this method needs {', '.join(FAMILIES)}.")
    for module in (parts.unet, parts.vae, *(encoder for _, encoder in parts.encoders)):
        module.eval().requires_grad_(False)
    return parts
