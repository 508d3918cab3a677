"""The parts in SamplerCustomAdvanced, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import comfy.latent_formats
import comfy.model_base
import comfy.model_patcher
import comfy.samplers
import comfy.supported_models_base
import torch

from native_cases.cleanliness import BrokenVae
from native_cases.common import (
    SHORT,
    Both,
    both,
    case,
    core,
    error_line,
    layout,
    native,
    pack,
    rms,
    tiny,
)


def custom(guider: Any, sampler: Any, seed: int, shape: tuple[int, ...]) -> Any:
    """What SamplerCustomAdvanced does with RandomNoise."""
    latent = torch.zeros(shape)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        return guider.sample(noise, latent, sampler, torch.linspace(14, 0, 11), seed=seed, disable_pbar=True)


@case
def parts() -> dict[str, Any]:
    b, made = both(), layout()
    encoded = native.encode_layout(b.vae, made)
    sampler = native.make_sampler(encoded, SHORT)
    guider = native.make_guider(b.model, b.rows["positive"], b.rows["negative"], SHORT.guidance)
    shape = (2, 4, 16, 16)
    composed = b.model.model.process_latent_in(custom(guider, sampler, 7, shape))
    whole, _ = b.native(SHORT, seeds=(7, 8))
    plain = comfy.samplers.CFGGuider(b.model)
    plain.set_conds(b.rows["positive"], b.rows["negative"])
    plain.set_cfg(SHORT.guidance)
    theirs = b.model.model.process_latent_in(custom(plain, sampler, 7, shape))
    euler = custom(guider, comfy.samplers.sampler_object("euler"), 7, shape)
    from comfy_extras.nodes_perpneg import Guider_PerpNeg

    crops_only = native.encode_layout(b.vae, made, core["plan"].Encode(canvas=False))
    said = {
        "guider": lambda: custom(_perp(Guider_PerpNeg(b.model), b), sampler, 7, shape),
        "latent": lambda: custom(guider, sampler, 7, (1, 4, 24, 16)),
        "row": lambda: custom(
            guider, native.make_sampler(encoded, core["presets"].preset("cow_official")), 7, shape
        ),
        "canvas": lambda: custom(guider, native.make_sampler(crops_only, SHORT), 7, shape),
    }
    return {
        "sow_guider": rms(composed, whole), "cfg_guider": rms(theirs, whole), "trace": len(sampler.trace.calls),
        "euler": float(torch.isfinite(euler).all()), "errors": {k: error_line(v) for k, v in said.items()},
    }  # fmt: skip


def _perp(guider: Any, b: Both) -> Any:
    guider.set_conds(b.rows["positive"], b.rows["negative"], b.rows["empty"])
    guider.set_cfg(5.0, 1.0)
    return guider


def small_model(
    kind: Any, channels: int = 4, latent_format: Any = comfy.latent_formats.SD15, **config: Any
) -> Any:
    class Config(comfy.supported_models_base.BASE):
        unet_extra_config: dict[str, Any] = {}

    Config.latent_format = latent_format
    unet = pack("nodes.folder.unet").comfy_config(json.loads((tiny("sd1") / "unet" / "config.json").read_text()))
    made = Config({**unet, "in_channels": channels, **config})
    made.set_inference_dtype(torch.float32, None)
    model = comfy.model_base.BaseModel(made, model_type=kind)
    if made.inpaint_model():
        model.set_inpaint()
    return comfy.model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))


@case
def refused() -> dict[str, str]:
    b, kinds = both(), comfy.model_base.ModelType

    def run(model: Any = None, vae: Any = None, seeds: Any = (1,), **rows: Any) -> str:
        prompts = {**b.rows, **rows}
        return error_line(lambda: native.sample_layout(
            model or b.model, prompts["positive"], prompts["negative"], vae or b.vae, layout(), SHORT, list(seeds),
        ))  # fmt: skip

    class Wide:
        first_stage_model = object()
        latent_dim = 2

        def spacial_compression_encode(self) -> int:
            return 16

    class Sixteen(BrokenVae):
        def encode(self, pixels: Any) -> Any:
            return torch.zeros(1, 16, pixels.shape[1] // 8, pixels.shape[2] // 8)

    def four_rows() -> None:
        config = core["presets"].preset("cow_official")
        native.sample_layout(b.model, b.rows["positive"], b.rows["negative"], b.vae, layout(), config, [1])

    def without_pooled() -> None:
        xl = both("sdxl")
        native.make_guider(xl.model, [[xl.rows["positive"][0][0], {}]], xl.rows["negative"], 5.0)

    video = small_model(kinds.EPS, latent_format=comfy.latent_formats.Mochi)
    other = small_model(kinds.EPS)
    other.model.diffusion_model = torch.nn.Linear(1, 1)
    return {
        "flow": run(small_model(kinds.FLOW)),
        "inpainting": run(small_model(kinds.EPS, channels=9)),
        "video": run(video),
        "edm": run(small_model(kinds.V_PREDICTION_EDM)),
        "no_unet": run(other),
        "prompt": run(positive=[[torch.zeros(1, 77, 768), {}]]),
        "empty_prompt": run(positive=[]),
        "vae": run(vae=Wide()),
        "vae_channels": run(vae=Sixteen(b.vae)),
        "no_seed": run(seeds=()),
        "row": error_line(four_rows),
        "pooled": error_line(without_pooled),
    }
