"""Flow transformers from a folder: transformer, VAE and text encoders, checked as they are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..assets import asset_folder
from ..errors import SowError
from ..method.advice import Advice
from ..method.families import FLUX2_KLEIN, FLUX_SCHNELL, Family
from ..outside.text import one_line, shown
from . import flow_configs as records
from .checks import FLOW_FAMILIES, check_flow_parts, check_flow_scheduler
from .components import FlowComponents, readable
from .configs import SchedulerConfig, VAEConfig, checked_config, json_object, read_config
from .hub import hub_off
from .loading import advice_of, clip_encoder
from .parts import assemble
from .tokens import load_text_tokenizer

SHARED = re.compile(r"[A-Za-z0-9][\w-]*")
"""The name of a folder, and nothing that leads out of the one it lies in."""

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""Qwen3's way to write a chat, for messages without tools: the prompts of Z-Image and Flux.2 Klein are one."""


@dataclass(frozen=True)
class Recipe:
    """What a kind's folder holds. transformer: diffusers' class and the record of its config; encoders: the suffix
    ("", "_2", "_3") and the kind of each text encoder; pipeline: diffusers' class that encodes prompts."""

    transformer: tuple[str, type]
    encoders: tuple[tuple[str, str], ...]
    pipeline: str | None = None
    vae: tuple[str, type] = ("AutoencoderKL", VAEConfig)


RECIPES = {
    "demo_flow": Recipe(("SD3Transformer2DModel", records.SD3Config), (("", "clip"),)),
    "sd3": Recipe(
        ("SD3Transformer2DModel", records.SD3Config),
        (("", "projected"), ("_2", "projected"), ("_3", "t5")),
        "StableDiffusion3Pipeline",
    ),
    "flux": Recipe(("FluxTransformer2DModel", records.FluxConfig), (("", "clip"), ("_2", "t5")), "FluxPipeline"),
    "chroma": Recipe(("ChromaTransformer2DModel", records.ChromaConfig), (("", "t5"),), "ChromaPipeline"),
    "lumina2": Recipe(("Lumina2Transformer2DModel", records.Lumina2Config), (("", "gemma2"),), "Lumina2Pipeline"),
    "z_image": Recipe(("ZImageTransformer2DModel", records.ZImageConfig), (("", "qwen3"),), "ZImagePipeline"),
    "qwen": Recipe(
        ("QwenImageTransformer2DModel", records.QwenImageConfig),
        (("", "qwen25"),),
        "QwenImagePipeline",
        ("AutoencoderKLQwenImage", records.QwenVAEConfig),
    ),
    "klein": Recipe(
        ("Flux2Transformer2DModel", records.Flux2Config),
        (("", "qwen3"),),
        "Flux2KleinPipeline",
        ("AutoencoderKLFlux2", records.Flux2VAEConfig),
    ),
}

LANGUAGE = {
    "t5": ("T5Config", "T5EncoderModel", records.T5Config),
    "gemma2": ("Gemma2Config", "Gemma2Model", records.Gemma2Config),
    "qwen3": ("Qwen3Config", "Qwen3Model", records.Qwen3Config),
    "qwen25": ("Qwen2_5_VLTextConfig", "Qwen2_5_VLTextModel", records.Qwen25Config),  # without its eyes
}
"""transformers' classes of a language model, and the record of its config."""


def flow_from_folder(
    source: Path, kind: str, index: Mapping[str, Any], dtype: torch.dtype, name: str
) -> FlowComponents:
    """A flow model of a kind that `checks.check_index` knows; `name` is what errors and settings call it.

    Raises SowError, in one line, for whatever is missing, damaged or does not fit.
    """
    check_flow_scheduler(name, read_config(source / "scheduler" / "scheduler_config.json", SchedulerConfig))
    recipe = RECIPES[kind]
    for needed in (recipe.transformer[0], recipe.vae[0], recipe.pipeline):
        if needed:
            _diffusers_class(needed)  # before anything large is read
    with hub_off():
        transformer = _transformer(source / "transformer", recipe, dtype)
        rest = shared_folder(source, index.get("shares"), name) if kind == "demo_flow" else source
        vae = _vae(rest / "vae", recipe, dtype)
        # SD3 runs without its T5, where a folder has none.
        has = [(suffix, what) for suffix, what in recipe.encoders if suffix != "_3" or _there(index, suffix)]
        encoders = [_encoder(rest, suffix, what, dtype) for suffix, what in has]
    family = family_of(kind, transformer, bool(index.get("is_distilled", False)))
    advice = advice_of(source)
    if not (source / "sow.json").exists():
        advice = Advice(guidance=1.0 if family.one_row else family.scale)
    parts = FlowComponents(name, kind, family, transformer, vae, encoders, advice)
    if recipe.pipeline:
        parts.pipeline = _pipeline(recipe, parts, [suffix for suffix, _ in has])
    return check_flow_parts(parts)


def family_of(kind: str, transformer: Any, distilled: bool) -> Family:
    """Flux.1's two kinds of files differ in one module: dev is told its guidance, schnell is not. Of Flux.2 Klein only
    the index says whether it is distilled."""
    if kind == "klein" and not distilled:
        return replace(FLUX2_KLEIN, guidance="cfg", scale=4.0)
    if kind == "flux" and not transformer.config.guidance_embeds:
        return FLUX_SCHNELL
    return FLOW_FAMILIES[kind]


def _there(index: Mapping[str, Any], suffix: str) -> bool:
    entry = index.get(f"text_encoder{suffix}")
    return bool(entry and entry[1])


def _diffusers_class(name: str) -> Any:
    """A class of diffusers. Raises SowError where the installed version is older than it."""
    import diffusers

    found = getattr(diffusers, name, None)
    if found is None:
        raise SowError(f"diffusers {diffusers.__version__} does not know {name}: install a newer one "
                       "(pip install -U diffusers).")  # fmt: skip
    return found


def _transformer(folder: Path, recipe: Recipe, dtype: torch.dtype) -> Any:
    name, record = recipe.transformer
    config = read_config(folder / "config.json", record)
    made = _diffusers_class(name)
    return assemble(lambda: made.from_config(config), folder, dtype)


def _vae(folder: Path, recipe: Recipe, dtype: torch.dtype) -> Any:
    name, record = recipe.vae
    read = read_config(folder / "config.json", record)
    config = {key: list(value) if isinstance(value, tuple) else value for key, value in read.items()}  # as in JSON
    made = _diffusers_class(name)
    return assemble(lambda: made.from_config(config), folder, dtype)


def _encoder(source: Path, suffix: str, kind: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """(tokenizer, text encoder)."""
    import transformers

    if kind in ("clip", "projected"):
        cls = transformers.CLIPTextModel if kind == "clip" else transformers.CLIPTextModelWithProjection
        return clip_encoder(source, suffix, cls, dtype)
    config_name, name, record = LANGUAGE[kind]
    folder = source / f"text_encoder{suffix}"
    whole = json_object(folder / "config.json")
    inner = whole.get("text_config") if kind == "qwen25" else None  # newer files put the language model's there
    values = checked_config(inner if isinstance(inner, dict) else whole, folder / "config.json", record)
    rope = values.pop("rope_parameters", None)
    if rope is not None:
        values["rope_theta"] = rope.rope_theta
    values = {key: value for key, value in values.items() if value is not None}
    if kind == "qwen25":
        values["rope_scaling"] = {"rope_type": "default", "mrope_section": _sections(values)}
    with readable(one_line(folder / "config.json")):
        config = _class(config_name)(**values)
    encoder = assemble(lambda: _class(name)(config), folder, dtype)
    template = CHAT if kind == "qwen3" else None
    return load_text_tokenizer(source / f"tokenizer{suffix}", config.vocab_size, template), encoder


def _class(name: str) -> Any:
    """A class of transformers; one of them is not among the package's own names in every version."""
    import transformers

    found = getattr(transformers, name, None)
    if found is None:
        from transformers.models.qwen2_5_vl import configuration_qwen2_5_vl

        found = getattr(configuration_qwen2_5_vl, name)
    return found


def _sections(values: dict[str, Any]) -> list[int]:
    """How a rope's frequencies are shared among time, rows and columns. Text is at the same place in all three, so
    that any shares give the same."""
    half = values.get("hidden_size", 8192) // values.get("num_attention_heads", 64) // 2
    third = half // 3
    return [half - 2 * third, third, third]


def _pipeline(recipe: Recipe, parts: FlowComponents, suffixes: list[str]) -> Any:
    """diffusers' pipeline of the loaded parts; nothing of it is read from a file."""
    import diffusers

    assert recipe.pipeline is not None
    named: dict[str, Any] = {}
    for suffix, _ in recipe.encoders:
        named |= {f"tokenizer{suffix}": None, f"text_encoder{suffix}": None}
    for suffix, (tokenizer, encoder) in zip(suffixes, parts.encoders, strict=True):
        named |= {f"tokenizer{suffix}": tokenizer, f"text_encoder{suffix}": encoder}
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    with readable(parts.name):
        return _diffusers_class(recipe.pipeline)(
            transformer=parts.transformer, vae=parts.vae, scheduler=scheduler, **named
        )


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
