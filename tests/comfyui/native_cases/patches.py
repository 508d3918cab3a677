"""ComfyUI's own patches of a MODEL: which act on a SOW run, which do not, which are refused."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import comfy.samplers
import torch

from native_cases.common import SHORT, SowError, both, case, pack, rms


def node(module: str, name: str, *last: Any, **values: Any) -> Callable[[Any], Any]:
    """model -> the model as that node of comfy_extras gives it out."""

    def apply(model: Any) -> Any:
        cls = getattr(importlib.import_module(f"comfy_extras.{module}"), name)
        if hasattr(cls, "execute"):
            return cls.execute(model, *last, **values)[0]
        return getattr(cls(), cls.FUNCTION)(model, *last, **values)[0]

    return apply


def latent_sharpen(model: Any) -> Any:
    importlib.import_module("comfy_extras.nodes_post_processing")  # the two import each other, in this order only
    latent = importlib.import_module("comfy_extras.nodes_latent")
    operation = latent.LatentOperationSharpen.execute(3, 1.0, 0.2)[0]
    return latent.LatentApplyOperationCFG.execute(model, operation)[0]


SHRINK = {"block_number": 1, "downscale_factor": 2.0, "start_percent": 0.0, "downscale_after_skip": True,
          "downscale_method": "bicubic", "upscale_method": "bicubic"}  # fmt: skip
PATCHES: dict[str, Callable[[Any], Any]] = {
    "FreeU": node("nodes_freelunch", "FreeU", 1.1, 1.2, 0.9, 0.2),
    "FreeU_V2": node("nodes_freelunch", "FreeU_V2", 1.3, 1.4, 0.9, 0.2),
    "HyperTile": node("nodes_hypertile", "HyperTile", 32, 2, 0, False),
    "PatchModelAddDownscale": node("nodes_model_downscale", "PatchModelAddDownscale", end_percent=1.0, **SHRINK),
    "PatchModelAddDownscale_default": node(
        "nodes_model_downscale", "PatchModelAddDownscale", end_percent=0.35, **SHRINK),
    "TomePatchModel": node("nodes_tomesd", "TomePatchModel", 0.5),
    "SelfAttentionGuidance": node("nodes_sag", "SelfAttentionGuidance", 0.5, 2.0),
    "PerturbedAttentionGuidance": node("nodes_pag", "PerturbedAttentionGuidance", 3.0),
    "RescaleCFG": node("nodes_model_advanced", "RescaleCFG", 0.7),
    "CFGZeroStar": node("nodes_cfg", "CFGZeroStar"),
    "CFGNorm": node("nodes_cfg", "CFGNorm", 1.0),
    "TCFG": node("nodes_tcfg", "TCFG"),
    "APG": node("nodes_apg", "APG", 0.5, 5.0, 0.0),
    "Mahiro": node("nodes_mahiro", "Mahiro"),
    "FreSca": node("nodes_fresca", "FreSca", 1.0, 1.25, 4),
    "LatentApplyOperationCFG": latent_sharpen,
    "VideoLinearCFGGuidance": node("nodes_video_model", "VideoLinearCFGGuidance", 1.0),
    "EpsilonScaling": node("nodes_eps", "EpsilonScaling", 1.05),
    "TemporalScoreRescaling": node("nodes_eps", "TemporalScoreRescaling", 0.95, 1.0),
    "EasyCache": node("nodes_easycache", "EasyCacheNode", 0.2, 0.15, 0.95, False),
    "LazyCache": node("nodes_easycache", "LazyCacheNode", 0.2, 0.15, 0.95, False),
    "UNetSelfAttentionMultiply": node("nodes_attention_multiply", "UNetSelfAttentionMultiply", 1.0, 1.0, 1.2, 1.0),
    "UNetCrossAttentionMultiply": node("nodes_attention_multiply", "UNetCrossAttentionMultiply", 1.0, 1.0, 1.2, 1.0),
    "DifferentialDiffusion": node("nodes_differential_diffusion", "DifferentialDiffusion"),
    "NAGuidance": node("nodes_nag", "NAGuidance", 5.0, 0.25, 2.5),
    "ModelSamplingDiscrete_v": node("nodes_model_advanced", "ModelSamplingDiscrete", "v_prediction", False),
    "ModelSamplingDiscrete_zsnr": node("nodes_model_advanced", "ModelSamplingDiscrete", "eps", True),
    "ModelSamplingDiscrete_lcm": node("nodes_model_advanced", "ModelSamplingDiscrete", "lcm", False),
    "ModelSamplingDiscrete_x0": node("nodes_model_advanced", "ModelSamplingDiscrete", "x0", False),
    "ModelSamplingContinuousEDM": node("nodes_model_advanced", "ModelSamplingContinuousEDM", "eps", 120.0, 0.002),
}
GUIDANCE = ("SelfAttentionGuidance", "PerturbedAttentionGuidance", "RescaleCFG", "CFGZeroStar", "CFGNorm", "TCFG",
            "APG", "Mahiro", "FreSca", "LatentApplyOperationCFG", "VideoLinearCFGGuidance", "EpsilonScaling",
            "TemporalScoreRescaling")  # fmt: skip
CONFIG = replace(SHORT, modulation=None)


@contextmanager
def heard() -> Iterator[list[str]]:
    """What a run says to its user."""
    said: list[str] = []
    modules = [pack(f"nodes.native.{name}") for name in ("sampler", "attention")]
    kept = [module.remark for module in modules]
    for module in modules:
        module.remark = said.append
    try:
        yield said
    finally:
        for module, remark in zip(modules, kept, strict=True):
            module.remark = remark


@case
def core_patches() -> dict[str, Any]:
    """Per patch: by how much the final latents change, what is said, or the line that refuses it."""
    b = both()
    plain, _ = b.native(SHORT)
    spread, made = float(plain.std()), {}
    for name, patch in PATCHES.items():
        with heard() as said:
            try:
                found, _ = b.native(SHORT, model=patch(b.model))
                made[name] = {"change": rms(found, plain), "spread": float(found.std()) / spread,
                              "finite": bool(torch.isfinite(found).all()), "said": said}  # fmt: skip
            except SowError as error:
                made[name] = {"refused": str(error)}
    again, _ = b.native(SHORT)
    made["afterwards"] = rms(again, plain)
    return made


@case
def guidance_as_the_hosts() -> dict[str, float]:
    """Where a run guides, the patched answer is the host's own on the same state: `sampling_function`."""
    b, backend = both(), pack("nodes.native.backend").NativeBackend
    ours, gaps = backend.guide, {}
    for name in GUIDANCE:
        found: list[float] = []

        def checked(self: Any, guidance: Any, eps: Any, inside: Any, found: list[float] = found) -> Any:
            made = ours(self, guidance, eps, inside)
            asked = self._asked
            noise = asked.state.new_full((len(asked.state),), asked.scale.sigma)
            expected = comfy.samplers.sampling_function(
                self._model, asked.state, noise, asked.conds[0], asked.conds[1], guidance.scale, self._options)
            found.append(rms(asked.scale.clean(asked.state, made), expected))
            return made

        backend.guide = checked
        try:
            b.native(CONFIG, model=PATCHES[name](b.model))
        finally:
            backend.guide = ours
        gaps[name] = max(found)
    return gaps


@case
def patches_of_one_prompt() -> dict[str, Any]:
    """A patch that tells the positive prompt by its number sees it as 0, as in the host's own samplers."""
    b, seen = both(), []

    def patch(n: Any, context: Any, value: Any, options: dict[str, Any]) -> Any:
        seen.append(tuple(sorted(options["cond_or_uncond"])))
        first = list(options["cond_or_uncond"]).index(0)
        width = len(n) // len(options["cond_or_uncond"])
        numbers.add(round(float(context[first * width : (first + 1) * width].float().sum()), 3))
        return n, context, value

    numbers: set[float] = set()
    model = b.model.clone()
    model.set_model_attn2_patch(patch)
    b.native(CONFIG, model=model)
    positive = round(float(b.rows["positive"][0][0].sum()), 3)
    return {"rows": sorted(set(seen)), "positive": sorted(numbers) == [positive]}


@case
def perturbed_attention_is_modulated() -> dict[str, float]:
    """The extra call of PAG carries the modulation of the call itself, and does not measure."""
    b, modulation = both(), replace(SHORT, modulation=pack("sow_core.method.modulation").Modulation(threshold=0))
    plain, trace = b.native(modulation)
    found, other = b.native(modulation, model=PATCHES["PerturbedAttentionGuidance"](b.model))
    return {"masses": len(other.masses) - len(trace.masses), "calls": len(other.calls) - len(trace.calls),
            "change": rms(found, plain)}  # fmt: skip


@case
def early_ranges() -> dict[str, list[str]]:
    """What ends before the run begins is said; what reaches into it is not."""
    b, made = both(), {}
    import node_helpers

    def run(**changes: Any) -> list[str]:
        with heard() as said:
            b.native(CONFIG, **changes)
        return said

    def limited(end: float) -> Any:
        return b.rows["positive"] + node_helpers.conditioning_set_values(
            b.rows["diverse"], {"start_percent": 0.0, "end_percent": end})  # fmt: skip

    made["early"], made["late"] = run(positive=limited(0.3)), run(positive=limited(0.6))
    made["shrink"] = run(model=PATCHES["PatchModelAddDownscale_default"](b.model))
    return made


@case
def area_alone() -> dict[str, float]:
    """A prompt with an area and none besides: beyond it the host itself predicts nothing, which is gray."""
    import node_helpers

    b, backend, seen = both(), pack("nodes.native.backend").NativeBackend, []
    ours = backend._call

    def watched(self: Any, conds: Any, state: Any, sigma: Any) -> Any:
        found = ours(self, conds, state, sigma)
        if state.shape[-1] == 16:  # the canvas; a crop knows no areas
            seen.append(float(found[0][..., 8:].abs().max()))
        return found

    left = node_helpers.conditioning_set_values(b.rows["positive"], {"area": (16, 8, 0, 0), "strength": 1.0})
    backend._call = watched
    try:
        b.native(CONFIG, positive=left)
    finally:
        backend._call = ours
    return {"calls": len(seen), "beyond": max(seen)}
