"""Flow transformers in ComfyUI, by small random models of the host's own classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import comfy.latent_formats
import comfy.model_base
import comfy.model_sampling
import comfy.samplers
import comfy.supported_models
import torch

from native_cases.cleanliness import cancelled, fingerprint
from native_cases.common import SHORT, case, core, error_line, native, pack, rms
from native_cases.tiny_flow import CONFIGS, FlowVae, build, prompt, tiny_flow

PLAIN = replace(SHORT, modulation=None, guidance=3.0, guidance_inside=None)
SIDE = 160
"""px of the canvas: 100 tokens."""


def flow_layout(name: str, side: int = SIDE) -> Any:
    Box, Condition = core["box"].Box, core["condition"].Condition
    cell, snap = native.grid_of(tiny_flow(name))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        image = torch.nn.functional.avg_pool2d(torch.rand(1, 3, 80, 80), 9, 1)[0]
    kept = Condition(image, torch.ones(72, 72), Box(32, 24, 64, 64), (Box(16, 16, 88, 112),))
    return core["condition"].make_layout([kept], side, side, cell=cell, snap=snap)


def run(name: str, config: Any = PLAIN, seeds: Any = (7,), model: Any = None, decode: bool = False, **rows: Any) -> Any:
    prompts = {"positive": prompt(name, 1), "negative": prompt(name, 2), **rows}
    with torch.inference_mode():
        return native.sample_layout(model or tiny_flow(name), prompts["positive"], prompts["negative"], FlowVae(name),
                                    flow_layout(name), config, list(seeds), decode=decode)  # fmt: skip


class Inside(comfy.samplers.Sampler):
    """Calls `look(backend, guider, x, options)` where a sampler stands; x is 4-D noise."""

    def __init__(self, look: Any) -> None:
        self.look, self.result = look, None

    def sample(self, model_wrap: Any, sigmas: Any, extra_args: Any, callback: Any, noise: Any, latent_image: Any = None,
               denoise_mask: Any = None, disable_pbar: bool = False) -> Any:  # fmt: skip
        options = extra_args["model_options"]
        x = noise[:, :, 0] if noise.ndim == 5 else noise
        backend = pack("nodes.native.backend").NativeBackend(model_wrap, options, tuple(x.shape[-2:]), x.device, 0)
        with backend.session():
            self.result = self.look(backend, model_wrap, x, options)
        return noise


def inside(name: str, look: Any, model: Any = None, tokens: int = 7) -> Any:
    """What `look` finds in the middle of a sampling of two pictures with two prompts."""
    model = model or tiny_flow(name)
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(prompt(name, 1), prompt(name, 2, tokens))
    guider.set_cfg(3.0)
    latents = model.model.latent_format
    side = SIDE // latents.spacial_downscale_ratio
    frames = (1,) if latents.latent_dimensions == 3 else ()
    shape = (2, latents.latent_channels, *frames, side, side)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    sampler = Inside(look)
    with torch.inference_mode():
        guider.sample(noise, torch.zeros(shape), sampler, torch.linspace(1, 0, 5), seed=0, disable_pbar=True)
    return sampler.result


@case
def flow_euler() -> dict[str, float]:
    """A step of ours, from level 7 to 6, against Euler's on the host's own guided prediction."""
    schedules, Guidance = pack("sow_core.method.schedule"), pack("sow_core.method.guidance").Guidance

    def look(backend: Any, guider: Any, x: Any, options: Any) -> float:
        grid = backend.schedule(10)
        guidance = Guidance(guider.cfg)
        eps = guidance.combine(backend.predict(x, grid, 7, guidance.rows), None)
        ours = schedules.ddim_step(x, eps, grid, 7, 6)
        framed = x.unsqueeze(2) if guider.inner_model.latent_format.latent_dimensions == 3 else x
        clean = guider(framed, x.new_full((len(x),), grid.t[7]), options, 0)
        euler = framed + (framed - clean) / grid.t[7] * (grid.t[6] - grid.t[7])
        return rms(ours, euler[:, :, 0] if euler.ndim == 5 else euler)

    return {name: inside(name, look) for name in CONFIGS}


@case
def flow_runs() -> dict[str, Any]:
    """Whole runs: crops and canvas inverted, a cycle, a refine; a seed alone and in a batch."""
    out = {}
    for name in CONFIGS:
        both, alone = run(name, seeds=(7, 8), decode=True), run(name, seeds=(8,))
        latent = both.latent["samples"]
        kept = flow_layout(name).regions.any_condition > 0.5
        exact = run(name, replace(PLAIN, preserve=(4, 3, 2, 1, 0))).latent["samples"]
        encoded = native.encode_layout(FlowVae(name), flow_layout(name)).crops[0]
        inner = exact.reshape(*exact.shape[:2], *exact.shape[-2:])[0][:, kept]
        out[name] = {
            "shape": list(latent.shape), "images": list(both.images.shape), "calls": len(both.trace.calls),
            "finite": bool(torch.isfinite(latent).all()), "previews": both.trace.previews[0].ndim,
            "batch": rms(both.latent["samples"][1], alone.latent["samples"][0]),
            "seeds": rms(latent[0], latent[1]), "kept": rms(inner, encoded[0].flatten(1)),
        }  # fmt: skip
    return out


@case
def flow_parts() -> dict[str, Any]:
    """SOW Sampler behind an ordinary CFG guider, on latents of SamplerCustomAdvanced; a layout of another VAE."""
    out: dict[str, Any] = {}
    for name in ("flux", "qwen", "flux2"):
        model, vae, made = tiny_flow(name), FlowVae(name), flow_layout(name)
        encoded = native.encode_layout(vae, made)
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(prompt(name, 1), prompt(name, 2))
        guider.set_cfg(PLAIN.guidance)
        shape = (1, *native.latent_shape(encoded, frames=name == "qwen"))
        with torch.inference_mode():
            samples = guider.sample(torch.randn(shape), torch.zeros(shape), native.make_sampler(encoded, PLAIN),
                                    torch.linspace(1, 0, 11), seed=7, disable_pbar=True)  # fmt: skip
        out[name] = rms(samples, run(name).latent["samples"])
    other = native.make_sampler(native.encode_layout(FlowVae("flux"), flow_layout("flux")), PLAIN)
    out["size"] = error_line(lambda: guider.sample(torch.zeros(shape), torch.zeros(shape), other, torch.ones(2)))
    out["grids"] = [native.grid_of_vae(FlowVae(name)) for name in ("flux", "qwen", "flux2")]
    return out


@case
def flow_shift() -> dict[str, Any]:
    """The host's shift is not ours: another one on the MODEL changes nothing; our own does."""
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    shifted = ModelSamplingSD3().patch(tiny_flow("sd3"), 6.0)[0]
    plain = run("sd3").latent["samples"]
    ours = run("sd3", replace(PLAIN, level_shift=2.0)).latent["samples"]
    sigmas = pack("nodes.native.sampler").level_sigmas(tiny_flow("sd3"), PLAIN).tolist()
    return {"host": rms(run("sd3", model=shifted).latent["samples"], plain), "ours": rms(ours, plain), "sigmas": sigmas}


@case
def flow_guidance() -> dict[str, Any]:
    """What Flux is told: its number in the cycle and the guided refine, 1 in the inversion and the tail."""
    from node_helpers import conditioning_set_values

    told = []
    model = tiny_flow("flux")

    def listen(module: Any, args: Any, kwargs: Any) -> None:
        told.append(float(kwargs["guidance"][0]))

    handle = model.model.diffusion_model.register_forward_pre_hook(listen, with_kwargs=True)
    try:
        config = replace(PLAIN, guidance=1.0, cycles=1)
        made = run("flux", config, positive=conditioning_set_values(prompt("flux", 1), {"guidance": 2.5}))
    finally:
        handle.remove()
    calls = made.trace.calls
    pairs = [[c.phase, c.level, t] for c, t in zip(calls, told, strict=True)]
    return {"told": pairs, "rows": [len(c.rows) for c in calls]}


@case
def flow_unchanged() -> dict[str, Any]:
    out = {}
    for name in CONFIGS:
        model = tiny_flow(name).clone()
        run(name, model=model)
        before = fingerprint(model)
        first = run(name, model=model).latent["samples"]
        same = fingerprint(model) == before

        class Named:  # what `cancelled` looks at
            pass

        Named.model = model
        stopped = cancelled(lambda: run(name, model=model), Named, after=5)  # noqa: B023
        again = run(name, model=model).latent["samples"]
        out[name] = [same, stopped, fingerprint(model) == before, bool(torch.equal(first, again))]
    return out


@case
def flow_patched_guidance() -> dict[str, float]:
    """A patch of the guidance acts as in the host's own sampling: frames and all."""
    from comfy_extras.nodes_model_advanced import RescaleCFG

    Guidance = pack("sow_core.method.guidance").Guidance

    def look(backend: Any, guider: Any, x: Any, options: Any) -> dict[str, float]:
        grid, guidance = backend.schedule(10), Guidance(guider.cfg)
        eps = backend.predict(x, grid, 7, guidance.rows)
        scale = pack("nodes.native.flow").HostScale(grid, 7, True)
        ours = scale.clean(x, backend.guide(guidance, eps, None))
        framed = x.unsqueeze(2) if guider.inner_model.latent_format.latent_dimensions == 3 else x
        theirs = guider(framed, x.new_full((len(x),), grid.t[7]), options, 0)
        plain = scale.clean(x, guidance.combine(eps, None))
        return {"rms": rms(ours.unsqueeze(2) if framed.ndim == 5 else ours, theirs), "effect": rms(ours, plain)}

    return {name: inside(name, look, model=RescaleCFG().patch(tiny_flow(name), 0.7)[0]) for name in ("sd3", "qwen")}


STRONG = core["modulation"].Modulation(suppress=2.0, enhance=1.5)


def control_of(name: str, images: int = 2, modulation: Any = STRONG) -> Any:
    control = core["modulation"].AttentionControl(flow_layout(name).regions, modulation, images)
    control.begin(0)
    return control


def with_override(name: str, override: Any, model: Any = None) -> Any:
    made = (model or tiny_flow(name)).clone()
    made.model_options.setdefault("transformer_options", {})["optimized_attention_override"] = override
    return made


def explicit(name: str, tokens: int = 7) -> Any:
    """An override that adds the whole matrix to the positive prompt's logits, wherever the image attends to itself."""
    control, family = control_of(name), pack("nodes.native.flow").family_of(tiny_flow(name).model)
    cells = SIDE // family.cell // family.patch
    maps = control.regions.at((cells, cells))
    c, s = maps.condition[0], STRONG.suppression(maps, 0)[0]
    image = -s[:, None] * (1 - c)[None] + STRONG.enhancement(maps, 0)[0][:, None] * c[None]
    count = len(c)
    padded = -(-count // family.pad) * family.pad

    def override(func: Any, q: Any, k: Any, v: Any, heads: int, mask: Any = None, **kwargs: Any) -> Any:
        total = q.shape[2] if kwargs.get("skip_reshape") else q.shape[1]
        order = kwargs["transformer_options"]["cond_or_uncond"]
        words = -(-tokens // family.pad) * family.pad
        joint = total > padded if family.first == "image" else total in (padded, padded + max(words, family.text_least))
        if joint and total != words:
            bias = torch.zeros(total, total)
            start = 0 if family.first == "image" else total - padded
            rows = slice(start, start + count)
            bias[rows, rows] = image
            if padded > count:  # padding counts as the rest
                bias[rows, start + count : start + padded] = -s[:, None]
            chunks = [bias if number == 0 else torch.zeros_like(bias) for number in order for _ in range(2)]
            mask = torch.stack(chunks)[:, None]
        return func(q, k, v, heads, mask=mask, **kwargs)

    return override


@case
def flow_joint() -> dict[str, Any]:
    """The modulated prediction against one with the explicit matrix in every layer; nothing at strength 0."""
    rows, out = ("negative", "positive"), {}
    for name in CONFIGS:

        def asked(control: Any = None, **how: Any) -> Any:
            return inside(name, lambda b, _, x, __: b.predict(x, b.schedule(10), 7, rows, control), **how)  # noqa: B023

        control, idle = control_of(name), control_of(name, modulation=core["modulation"].Modulation(0.0, 0.0))
        ours, plain = asked(control), asked()
        seen: list[int] = []

        def count(func: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(1)  # noqa: B023
            return func(*args, **kwargs)

        out[name] = {
            "gap": rms(ours, asked(model=with_override(name, explicit(name)))), "effect": rms(ours[1], plain[1]),
            "negative": rms(ours[0], plain[0]), "indicator": float(control.end()[0, 0]),
            "idle": bool(torch.equal(asked(idle), plain)),
            "chained": rms(asked(control, model=with_override(name, count)), ours), "calls": len(seen),
        }  # fmt: skip
    return out


@case
def flow_lengths() -> dict[str, Any]:
    """Prompts of another length are asked in a call of their own: the positive one is modulated all the same."""
    rows, out = ("negative", "positive"), {}
    for name in ("sd3", "flux", "lumina2", "z_image", "qwen"):
        calls: list[Any] = []

        def listen(func: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append(tuple(kwargs["transformer_options"]["cond_or_uncond"]))  # noqa: B023
            return func(*args, **kwargs)

        def asked(control: Any = None, **how: Any) -> Any:
            return inside(name, lambda b, _, x, __: b.predict(x, b.schedule(10), 7, rows, control), tokens=40, **how)  # noqa: B023

        ours, plain = asked(control_of(name)), asked(model=with_override(name, listen))
        out[name] = {
            "gap": rms(ours[1], asked(model=with_override(name, explicit(name)))[1]), "effect": rms(ours[1], plain[1]),
            "negative": rms(ours[0], plain[0]), "calls": sorted(set(calls)),
        }  # fmt: skip
    return out


@case
def flow_modulated_runs() -> dict[str, Any]:
    """Whole runs with modulation; what is said where it cannot be; the MODEL afterwards."""
    from node_helpers import conditioning_set_values

    out, said = {}, []
    sampler = pack("nodes.native.attention")
    kept, sampler.remark = sampler.remark, said.append
    config = replace(PLAIN, modulation=STRONG)
    try:
        for name in CONFIGS:
            model = tiny_flow(name).clone()
            own = model.model_options.setdefault("transformer_options", {})
            own["wrappers"] = {"apply_model": {"other": [passing]}}
            before = fingerprint(model)
            made = run(name, config, seeds=(7, 8), model=model)
            alone = run(name, config, seeds=(8,), model=model)
            out[name] = {
                "indicators": sum(call.indicator is not None for call in made.trace.calls),
                "effect": rms(made.latent["samples"], run(name, seeds=(7, 8)).latent["samples"]),
                "batch": rms(made.latent["samples"][1], alone.latent["samples"][0]),
                "unchanged": fingerprint(model) == before, "map": list(made.trace.masses[0][1].shape),
            }  # fmt: skip
        silent = list(said)
        cached, heard = tiny_flow("flux").clone(), []
        cached.set_model_patch_replace(lambda args, extra: extra["original_block"](args), "dit", "double_block", 0)
        runner = pack("nodes.native.sampler")
        quiet, runner.remark = runner.remark, heard.append
        try:
            run("flux", replace(config, guidance=1.0), model=cached)
            told = list(heard)
            run("flux", config)
        finally:
            runner.remark = quiet
        picture = torch.zeros(1, 16, 20, 20)
        referenced = conditioning_set_values(prompt("flux", 1), {"reference_latents": [picture]})
        made = run("flux", config, positive=referenced)
        finite = bool(torch.isfinite(made.latent["samples"]).all())
    finally:
        sampler.remark = kept
    return {"runs": out, "silent": silent, "said": said[len(silent) :], "finite": finite, "cached": told,
            "dear": heard[len(told) :]}  # fmt: skip


def passing(executor: Any, *args: Any, **kwargs: Any) -> Any:
    """Another pack's wrapper of the same kind."""
    return executor(*args, **kwargs)


@case
def flow_lora() -> dict[str, float]:
    """A LoRA on MODEL gives the picture of weights into which it is merged, and is gone afterwards."""
    import comfy.sd

    model, name = tiny_flow("flux"), "double_blocks.0.img_attn.qkv"
    module = model.model.diffusion_model.get_submodule(name)
    generator = torch.Generator().manual_seed(5)
    up, down = (torch.randn(*size, generator=generator) * 0.3 for size in ((len(module.weight), 4), (4, 64)))
    key = f"diffusion_model.{name}"
    weights = {f"{key}.lora_up.weight": up, f"{key}.lora_down.weight": down, f"{key}.alpha": torch.tensor(4.0)}
    patched, _ = comfy.sd.load_lora_for_models(model, None, weights, 1.0, 0.0)
    config = replace(PLAIN, modulation=STRONG)
    plain = run("flux", config).latent["samples"]
    ours = run("flux", config, model=patched).latent["samples"]
    again = run("flux", config).latent["samples"]
    kept = module.weight.data.clone()
    module.weight.data += up @ down
    try:
        merged = run("flux", config).latent["samples"]
    finally:
        module.weight.data = kept
    return {"rms": rms(ours, merged), "effect": rms(ours, plain), "afterwards": rms(again, plain)}


@case
def flow_ranges() -> dict[str, Any]:
    """Shares of the sampling as the host counts them, whatever its shift."""
    percent = pack("nodes.native.ranges")._percent
    gaps = {}
    for name in CONFIGS:
        sampling = tiny_flow(name).get_model_object("model_sampling")
        gaps[name] = max(abs(percent(sampling, sampling.percent_to_sigma(p)) - p) for p in (0.1, 0.35, 0.7, 0.95))
    return gaps


@case
def flow_refused() -> dict[str, str]:
    supported = comfy.supported_models

    def tell(model: Any) -> str:
        return error_line(lambda: native.grid_of(model))

    def changed(name: str, **values: Any) -> Any:
        """A model of a family with other attributes on its inner model; the small model stays as it is."""
        model = tiny_flow(name).clone()
        inner = object.__new__(type(model.model))
        inner.__dict__.update(model.model.__dict__)
        inner.__dict__.update(values)
        model.model = inner
        return model

    def sampled(name: str, *bases: type, **values: Any) -> Any:
        model = tiny_flow(name).clone()
        sampling = type("ModelSampling", bases, {})(model.model.model_config)
        for key, value in values.items():
            setattr(sampling, key, value)
        model.add_object_patch("model_sampling", sampling)
        return model

    discrete = comfy.model_sampling.ModelSamplingDiscreteFlow
    fill = build(supported.Flux, {**CONFIGS["flux"][1], "in_channels": 96})
    aura = changed("sd3")
    aura.model.__class__ = type("AuraFlow", (comfy.model_base.SD3,), {})
    layered = build(supported.QwenImage, {**CONFIGS["qwen"][1], "use_additional_t_cond": True})
    separate = pack("nodes.native.separate")
    wide = flow_layout("flux")
    thin = core["condition"].make_layout(
        [core["condition"].Condition(torch.ones(3, 8, 8), torch.ones(8, 8), core["box"].Box(0, 0, 64, 64))], 168, 160
    )

    def sample(name: str, made: Any, vae: Any, **rows: Any) -> str:
        prompts = {"positive": prompt(name, 1), "negative": prompt(name, 2), **rows}
        return error_line(lambda: native.sample_layout(
            tiny_flow(name), prompts["positive"], prompts["negative"], vae, made, PLAIN, [1], decode=False
        ))  # fmt: skip

    bare = [[prompt("hidream", 1)[0][0], {"pooled_output": torch.zeros(1, 24)}]]
    return {
        "image_to_image": tell(sampled("sd3", discrete, comfy.model_sampling.IMG_TO_IMG_FLOW)),
        "cosmos": tell(sampled("sd3", discrete, comfy.model_sampling.COSMOS_RFLOW)),
        "noise_scale": tell(sampled("sd3", discrete, comfy.model_sampling.CONST, noise_scale=8.0)),
        "pixels": tell(changed("z_image", latent_format=comfy.latent_formats.ChromaRadiance())),
        "video": tell(changed("sd3", latent_format=comfy.latent_formats.Wan21())),
        "unknown": tell(aura),
        "fill": tell(fill),
        "edit": tell(changed("flux", concat_keys=("mask",))),
        "layers": tell(layered),
        "separate": error_line(lambda: separate.with_request(tiny_flow("flux"), None)),
        "vae": sample("qwen", wide, FlowVae("flux")),
        "cells": sample("flux2", flow_layout("flux2"), FlowVae("flux")),
        "canvas": sample("flux", thin, FlowVae("flux")),
        "prompt": sample("flux", wide, FlowVae("flux"), positive=[[torch.zeros(1, 7, 44), {}]]),
        "pooled": sample("sd3", wide, FlowVae("sd3"), positive=[[prompt("sd3", 1)[0][0], {}]]),
        "llama": sample("hidream", wide, FlowVae("hidream"), positive=bare),
    }
