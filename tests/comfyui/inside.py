"""Cases that need ComfyUI in the same process: run by test_native.py with ComfyUI's interpreter.

`python inside.py WORKDIR` runs every case and prints one JSON line {case: {number or text}} or {case: {"error"}}.
The pack is loaded as ComfyUI loads it: by its path, as a package of its own name.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WORK = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(".")
sys.path[:0] = [os.environ["COMFYUI_PATH"], str(ROOT / "tests")]
sys.argv = [sys.argv[0], "--cpu", "--use-pytorch-cross-attention"]
os.environ["OMP_NUM_THREADS"] = "1"

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.controlnet  # noqa: E402
import comfy.latent_formats  # noqa: E402
import comfy.model_base  # noqa: E402
import comfy.model_management  # noqa: E402
import comfy.model_patcher  # noqa: E402
import comfy.samplers  # noqa: E402
import comfy.sd  # noqa: E402
import comfy.supported_models_base  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)
logging.disable(logging.WARNING)

spec = importlib.machinery.ModuleSpec("the_pack", None, is_package=True)
spec.submodule_search_locations = [str(ROOT)]
sys.modules["the_pack"] = importlib.util.module_from_spec(spec)


def pack(name: str) -> Any:
    return importlib.import_module(f"the_pack.{name}")


native, folder = pack("nodes.native"), pack("nodes.folder")
IMPORTED_DIFFUSERS = "diffusers" in sys.modules
core = {n: pack(f"sow_core.{n}") for n in ("condition", "plan", "engine", "box", "modulation", "errors")}
SowError = core["errors"].SowError
PROMPTS = {
    "positive": "a photo of a smiling man wearing a suit on a beach",
    "negative": "bad quality",
    "empty": "",
    "suppress": "face",
    "diverse": "a colourful picture",
}
NORMAL = core["plan"].preset("normal")
SHORT = replace(NORMAL, cycles=2, invert_on="crop", init="invert")
"""Crop inverted at its own latent size and canvas inverted too: all paths of a backend, few calls."""
CASES: dict[str, Any] = {}


def case(function: Any) -> Any:
    CASES[function.__name__] = function
    return function


def rms(a: Any, b: Any) -> float:
    return float((a.float() - b.float()).square().mean().sqrt())


def picture(size: int = 72) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return torch.nn.functional.avg_pool2d(torch.rand(1, 3, size + 8, size + 8), 9, 1)[0]


def layout(
    width: int = 128, height: int = 128, side: int = 64, conditions: int = 1, config: Any = NORMAL
) -> Any:
    """Crops of another latent size than the canvas, off its centre, with a related region."""
    Box, Condition = core["box"].Box, core["condition"].Condition
    items = [
        Condition(picture(), torch.ones(72, 72), Box(32 if n == 0 else 0, 24 if n == 0 else height - 40, s, s),
                  (Box(16, 16, 88, 96),) if n == 0 else ())
        for n, s in enumerate([side, 40][:conditions])
    ]  # fmt: skip
    return core["condition"].make_layout(items, width, height, coverage=config.coverage, fill=config.fill)


def tiny(family: str) -> Path:
    """A tiny random folder; SDXL's with the 256 values per size that ComfyUI has built in."""
    import tiny_models

    where = WORK / family
    if not where.is_dir():
        tiny_models.build(family, where)
        if family == "sdxl":
            from diffusers import UNet2DConditionModel

            torch.manual_seed(0)
            config = dict(UNet2DConditionModel.load_config(where / "unet"))
            config |= {"addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 32 + 6 * 256}
            UNet2DConditionModel.from_config(config).save_pretrained(where / "unet")
    return where


class Both:
    """One folder in ComfyUI and in diffusers, with the same prompts."""

    def __init__(self, root: Path) -> None:
        DiffusersBackend = pack("sow_core.backends.diffusers").DiffusersBackend
        self.diffusers = DiffusersBackend.load(root)
        self.diffusers.set_prompts(PROMPTS)
        if "sdxl" in root.name:  # its two text encoders are diffusers' business here: the UNet is compared
            scheduler = folder.read_json(root / "scheduler" / "scheduler_config.json")
            vae_config = folder.read_json(root / "vae" / "config.json")
            self.vae = pack("nodes.folder.vae").load_vae(vae_config, folder.read_weights(root / "vae"))
            config = folder.read_json(root / "unet" / "config.json")
            state = folder.read_weights(root / "unet")
            scale = vae_config["scaling_factor"]
            self.model = pack("nodes.folder.unet").load_unet(
                config, scheduler, state, scale, ([[0.0] * 3] * 4, [0.0] * 3)
            )
            self.rows = {}
            for name in PROMPTS:
                text = self.diffusers._embedding(name)
                self.rows[name] = [[text.states, {"pooled_output": text.pooled}]]
        else:
            self.model, self.clip, self.vae = folder.load_folder(root)
            self.rows = {k: self.encode(v) for k, v in PROMPTS.items()}

    def encode(self, text: str) -> Any:
        return self.clip.encode_from_tokens_scheduled(self.clip.tokenize(text))

    def native(self, config: Any, seeds: Any = (7,), made: Any = None, model: Any = None, **rows: Any) -> Any:
        """Native final latents in the model's scale, and the trace."""
        prompts = {**self.rows, **rows}
        extra = {k: v for k, v in prompts.items() if k not in ("positive", "negative")}
        with torch.inference_mode():
            out = native.sample_layout(
                model or self.model, prompts["positive"], prompts["negative"], self.vae, made or layout(), config,
                list(seeds), extra=extra, decode=False,
            )  # fmt: skip
        return self.model.model.process_latent_in(out.latent["samples"]), out.trace

    def reference(self, config: Any, seeds: Any = (7,), made: Any = None) -> Any:
        made = made or layout()
        plan = core["plan"].build_plan(config, len(made.conditions))
        result = core["engine"].generate(plan, self.diffusers, made, list(seeds))
        return result.latents, result.trace

    def parity(self, config: Any, seeds: Any = (7, 8), made: Any = None) -> dict[str, float]:
        (ours, trace), (theirs, other) = self.native(config, seeds, made), self.reference(config, seeds, made)
        pairs = [(a.indicator, b.indicator) for a, b in zip(trace.calls, other.calls, strict=True)]
        gaps = [float((a - b).abs().nan_to_num().max()) for a, b in pairs if a is not None]
        return {
            "rms": rms(ours, theirs),
            "std": float(theirs.std()),
            "indicators": len(gaps),
            "indicator_gap": max(gaps, default=0.0),
            "calls": len(trace.calls),
            "masses": len(trace.masses),
        }


_both: dict[str, Both] = {}


def both(name: str = "demo") -> Both:
    if name not in _both:
        _both[name] = Both(ROOT / "models" / "demo" if name == "demo" else tiny(name))
    return _both[name]


# -- the folder loader


@case
def folder_equals_diffusers() -> dict[str, float]:
    """Largest differences of UNet, VAE and text encoder from diffusers', over all tiny families."""
    worst = {
        "unet": 0.0,
        "encode": 0.0,
        "decode": 0.0,
        "text": 0.0,
        "imported_diffusers": float(IMPORTED_DIFFUSERS),
    }
    for name in ("demo", "sd1", "sd2", "sd2_v"):
        b = both(name)
        parts = b.diffusers.parts
        comfy.model_management.load_models_gpu([b.model])
        generator = torch.Generator().manual_seed(1)
        with torch.inference_mode():
            for text in (PROMPTS["positive"], ""):
                mine = b.encode(text)[0][0]
                worst["text"] = max(
                    worst["text"], float((mine - b.diffusers._encode_text(text).states).abs().max())
                )
            x = torch.randn(2, 4, 9, 14, generator=generator)  # odd: the upsampler has to round
            context = mine.expand(2, -1, -1)
            for t in (1, 401, 901):
                expected = parts.unet(x, torch.tensor(t), context).sample
                got = b.model.model.diffusion_model(x, torch.full((2,), float(t)), context=context)
                worst["unet"] = max(worst["unet"], float((got - expected).abs().max()))
            image = torch.rand(1, 64, 88, 3, generator=generator)
            z = parts.vae.encode(image.movedim(-1, 1) * 2 - 1).latent_dist.mode()
            worst["encode"] = max(worst["encode"], float((b.vae.encode(image) - z).abs().max() / z.std()))
            shown = (parts.vae.decode(z).sample / 2 + 0.5).clamp(0, 1).movedim(1, -1)
            worst["decode"] = max(worst["decode"], float((b.vae.decode(z) - shown).abs().max()))
    return worst


@case
def odd_widths() -> dict[str, float]:
    """Widths that are no whole multiples of the first, three heads' sizes, a VAE with attention: still exact."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    torch.manual_seed(2)
    unet = UNet2DConditionModel(
        block_out_channels=(32, 48, 80), down_block_types=("CrossAttnDownBlock2D",) * 2 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 2, norm_num_groups=16, layers_per_block=2,
        attention_head_dim=(2, 3, 5), cross_attention_dim=24, transformer_layers_per_block=(1, 2, 1),
    ).eval()  # fmt: skip
    vae = AutoencoderKL(block_out_channels=(8, 8, 16, 24), down_block_types=("DownEncoderBlock2D",) * 4,
                        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, norm_num_groups=4,
                        layers_per_block=2).eval()  # fmt: skip
    scheduler = {"beta_schedule": "scaled_linear", "prediction_type": "epsilon"}
    model = pack("nodes.folder.unet").load_unet(
        dict(unet.config), scheduler, unet.state_dict(), 0.2, ([[0.0] * 3] * 4, [0.0] * 3)
    )
    own = pack("nodes.folder.vae").load_vae(dict(vae.config), vae.state_dict())
    comfy.model_management.load_models_gpu([model])
    with torch.inference_mode():
        x, context = torch.randn(1, 4, 10, 7), torch.randn(1, 9, 24)
        expected = unet(x, torch.tensor(321), context).sample
        got = model.model.diffusion_model(x, torch.tensor([321.0]), context=context)
        image = torch.rand(1, 64, 64, 3)
        z = vae.encode(image.movedim(-1, 1) * 2 - 1).latent_dist.mode()
        return {
            "unet": float((got - expected).abs().max()),
            "encode": float((own.encode(image) - z).abs().max()),
        }


@case
def folder_errors() -> dict[str, str]:
    import shutil

    said = {}
    for name, spoil in {
        "missing": lambda p: (p / "unet" / "config.json").unlink(),
        "damaged": lambda p: (p / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"no weights"),
        "no_weights": lambda p: (p / "unet" / "diffusion_pytorch_model.safetensors").unlink(),
        "scheduler": lambda p: (p / "scheduler" / "scheduler_config.json").write_text(
            '{"prediction_type": "sample"}'
        ),
        "json": lambda p: (p / "model_index.json").write_text("{"),
        "half": lambda p: _drop(p / "unet" / "diffusion_pytorch_model.safetensors"),
    }.items():
        where = WORK / f"spoilt_{name}"
        shutil.copytree(tiny("sd1"), where)
        spoil(where)
        said[name] = _error(lambda w=where: folder.load_folder(w))
    said["sdxl"] = _error(lambda: folder.load_folder(tiny("sdxl")))
    return said


def _drop(path: Path) -> None:
    import safetensors.torch

    state = safetensors.torch.load_file(path)
    state.pop(next(iter(state)))
    safetensors.torch.save_file(state, path)


def _error(run: Any) -> str:
    """The line a user would read; anything but a SowError is a failure."""
    try:
        run()
    except SowError as error:
        return str(error)
    return "no error"


# -- parity


@case
def parity_demo() -> dict[str, Any]:
    config = core["modulation"].Modulation
    return {
        "normal": both().parity(NORMAL),
        "off": both().parity(replace(NORMAL, modulation=None)),
        "strong": both().parity(replace(NORMAL, modulation=config(suppress=4, enhance=4, threshold=0))),
        "all_rows": both().parity(replace(SHORT, modulation=config(rows="all"))),
        "minmax": both().parity(replace(SHORT, modulation=config(suppress=0.3, enhance=0.3, form="minmax"))),
        "adaptive": both().parity(replace(NORMAL, adaptive=True)),
        "four_rows": both().parity(core["plan"].preset("cow_official")),
        "two_conditions": both().parity(SHORT, made=layout(conditions=2)),
        "wide": both().parity(SHORT, made=layout(152, 104, 40)),
        "canvas_inversion": both().parity(replace(SHORT, invert_on="canvas")),
    }


@case
def parity_families() -> dict[str, Any]:
    return {name: both(name).parity(SHORT) for name in ("sd1", "sd2", "sd2_v", "sdxl")}


@case
def sdxl_sizes() -> dict[str, Any]:
    """The UNet is told the crop's own size in its inversion, the canvas's otherwise, even if a node set one."""
    b, told = both("sdxl"), []
    original = b.model.model.encode_adm

    def listen(**kwargs: Any) -> Any:
        told.append([kwargs["width"], kwargs["height"]])
        return original(**kwargs)

    b.model.model.encode_adm = listen
    try:
        sized = [[b.rows["positive"][0][0], {**b.rows["positive"][0][1], "width": 999, "height": 999}]]
        b.native(SHORT, positive=sized)
    finally:
        b.model.model.encode_adm = original
    return {"told": told}


@case
def schedule() -> dict[str, Any]:
    backend = pack("nodes.native.backend")
    grid = backend.schedule_of(both().model.get_model_object("model_sampling"), 10)
    other = both().diffusers.schedule(10)
    gap = max(abs(a - b) for a, b in zip(grid.a + grid.b, other.a + other.b, strict=True))
    return {"gap": gap, "t": grid.t}


# -- what the user has on the MODEL


@case
def lora() -> dict[str, float]:
    """A LoRA on MODEL and the same change merged into diffusers' weights give the same picture, another one."""
    b = both()
    name = "down_blocks.0.attentions.0.transformer_blocks.0"
    weights, generator = {}, torch.Generator().manual_seed(5)
    layers = {}
    for layer in ("attn1.to_q", "attn1.to_v", "attn2.to_k", "ff.net.2"):
        module = b.diffusers.parts.unet.get_submodule(f"{name}.{layer}")
        rows, columns = module.weight.shape
        up, down = (
            torch.randn(rows, 4, generator=generator) * 0.2,
            torch.randn(4, columns, generator=generator) * 0.2,
        )
        key = f"lora_unet_{name}.{layer}".replace(".", "_").replace("lora_unet_", "lora_unet_", 1)
        weights |= {
            f"{key}.lora_up.weight": up,
            f"{key}.lora_down.weight": down,
            f"{key}.alpha": torch.tensor(4.0),
        }
        layers[module] = up @ down
    patched, _ = comfy.sd.load_lora_for_models(b.model, None, weights, 1.0, 0.0)
    plain, _ = b.native(SHORT)
    with_lora, _ = b.native(SHORT, model=patched)
    again, _ = b.native(SHORT)
    kept = {module: module.weight.data.clone() for module in layers}
    for module, delta in layers.items():
        module.weight.data += delta
    try:
        expected, _ = b.reference(SHORT)
    finally:
        for module, weight in kept.items():
            module.weight.data = weight
    return {"rms": rms(with_lora, expected), "effect": rms(with_lora, plain), "afterwards": rms(again, plain)}


@case
def other_override() -> dict[str, float]:
    """Another pack's attention override: called for every layer, modulated or not, and its effect is there."""
    b, seen = both(), []

    def make(gain: float) -> Any:
        def override(func: Any, q: Any, k: Any, v: Any, heads: int, *args: Any, **kwargs: Any) -> Any:
            seen.append(int(k.shape[-2]))
            return func(q, k, v * gain, heads, *args, **kwargs)

        model = b.model.clone()
        model.model_options.setdefault("transformer_options", {})["optimized_attention_override"] = override
        return model

    modulated = replace(SHORT, modulation=core["modulation"].Modulation(threshold=0))
    plain, _ = b.native(modulated)
    off, _ = b.native(replace(SHORT, modulation=None))
    same, _ = b.native(modulated, model=make(1.0))
    calls, cross = len(seen), seen.count(77)
    louder, _ = b.native(modulated, model=make(1.3))
    layers = sum(1 for n, _ in b.model.model.diffusion_model.named_modules() if n.endswith("attn1"))
    return {
        "identity": rms(same, plain), "effect": rms(louder, plain), "modulation": rms(plain, off), "calls": calls,
        "cross": cross, "model_calls": core["plan"].build_plan(modulated, 1).cost.calls, "layers": layers,
    }  # fmt: skip


@case
def other_patches() -> dict[str, float]:
    """attn1_patch, a replaced attn1 block and an attn2 patch of other packs still run, the same number of times."""
    b, seen = both(), {"attn1": 0, "replaced": 0, "attn2": 0}

    def attn1(n: Any, context: Any, value: Any, options: Any) -> Any:
        seen["attn1"] += 1
        return n, context, value

    def attn2(n: Any, context: Any, value: Any, options: Any) -> Any:
        seen["attn2"] += 1
        return n, context, value

    def replaced(q: Any, k: Any, v: Any, options: Any) -> Any:
        seen["replaced"] += 1
        return v

    model = b.model.clone()
    model.set_model_attn1_patch(attn1)
    model.set_model_attn2_patch(attn2)
    model.set_model_attn1_replace(replaced, "middle", 0)
    latents, trace = b.native(SHORT, model=model)
    return {**seen, "calls": len(trace.calls), "finite": float(torch.isfinite(latents).all()),
            "left": sum(len(v) for v in model.model_options["transformer_options"]["patches"].values())}  # fmt: skip


class PaintControl(comfy.controlnet.ControlBase):
    """A ControlNet that adds a constant to the middle block, and only at the canvas's size."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size, self.calls = size, 0

    def get_control(
        self, x_noisy: Any, t: Any, cond: Any, batched_number: int, transformer_options: Any
    ) -> Any:
        assert tuple(x_noisy.shape[-2:]) == self.size, x_noisy.shape
        self.calls += 1
        shape = (x_noisy.shape[0], 128, 4, 4)
        return {"middle": [torch.full(shape, 0.5)], "output": [], "input": []}

    def copy(self) -> Any:
        return self


@case
def control_and_areas() -> dict[str, float]:
    """ControlNet and regional prompts act on the canvas and stay away from the crop's own inversion."""
    b = both()
    plain, _ = b.native(SHORT)
    control = PaintControl((16, 16))
    text = b.rows["positive"][0]
    guided, _ = b.native(
        SHORT, positive=[[text[0], {**text[1], "control": control, "control_apply_to_uncond": True}]]
    )
    left = [text[0], {**text[1], "area": (16, 8, 0, 0), "strength": 1.0}]
    mask = torch.zeros(1, 128, 128)
    mask[:, :, 64:] = 1
    right = [
        b.encode("a watercolor painting of a forest")[0][0],
        {**text[1], "mask": mask, "mask_strength": 1.0},
    ]
    regional, _ = b.native(SHORT, positive=[text, left, right])
    only_areas, _ = b.native(SHORT, positive=[left, right])
    return {"control": rms(guided, plain), "calls": control.calls, "regional": rms(regional, plain),
            "only_areas": float(torch.isfinite(only_areas).all())}  # fmt: skip


@case
def prompts_of_other_lengths() -> dict[str, float]:
    """A prompt of two sections (154 tokens) beside one of 77: the host splits or pads, the picture stays finite."""
    long = both().encode(" ".join(["a photo of a smiling man wearing a suit on a beach"] * 12))
    latents, trace = both().native(SHORT, positive=long)
    return {
        "tokens": long[0][0].shape[1],
        "finite": float(torch.isfinite(latents).all()),
        "masses": len(trace.masses),
    }


@case
def one_call_per_step() -> dict[str, float]:
    """Rows and images of a step go through the UNet together."""
    b, shapes = both(), []
    unet = b.model.model.diffusion_model
    handle = unet.register_forward_pre_hook(lambda module, args: shapes.append(tuple(args[0].shape)))
    try:
        b.native(core["plan"].preset("cow_official"), seeds=(1, 2))
    finally:
        handle.remove()
    plan = core["plan"].build_plan(core["plan"].preset("cow_official"), 1)
    return {"calls": len(shapes), "planned": plan.cost.calls, "largest": max(s[0] for s in shapes)}


# -- leaving no trace


def fingerprint(model: Any) -> Any:
    """Everything of a MODEL that a run could change: weights, patches, options, object patches."""
    weights = {k: v.double().sum().item() for k, v in model.model.state_dict().items()}
    options = model.model_options
    flat = json.dumps(options, default=lambda o: f"{type(o).__name__}@{id(o)}", sort_keys=True)
    return weights, flat, sorted(model.patches), sorted(model.object_patches), model.hook_mode.value


@case
def model_unchanged() -> dict[str, Any]:
    """After a run, an error and a cancel: MODEL, the global RNG and torch's settings are as before."""
    b = both()
    model = b.model.clone()
    model.set_model_attn1_patch(lambda n, c, v, o: (n, c, v))
    b.native(SHORT, model=model)  # what ComfyUI itself does on a first load is not ours
    before, rng = fingerprint(model), torch.get_rng_state()
    threads, grad = torch.get_num_threads(), torch.is_grad_enabled()
    first, _ = b.native(SHORT, model=model)
    out = {"run": fingerprint(model) == before, "rng": bool(torch.equal(rng, torch.get_rng_state()))}
    kept, b.vae = b.vae, _BrokenVae(b.vae)
    out["error"] = _error(lambda: b.native(SHORT, model=model))
    b.vae = kept
    out["after_error"] = fingerprint(model) == before
    out["cancelled_after"] = cancelled(lambda: b.native(NORMAL, model=model), b, after=11)
    out["after_cancel"] = fingerprint(model) == before
    again, _ = b.native(SHORT, model=model)
    out["same_again"] = bool(torch.equal(first, again))
    out["torch"] = threads == torch.get_num_threads() and grad == torch.is_grad_enabled()
    return out


class _BrokenVae:
    """A VAE whose pictures come out as NaN."""

    def __init__(self, vae: Any) -> None:
        self._vae = vae

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vae, name)

    def encode(self, pixels: Any) -> Any:
        return self._vae.encode(pixels) * float("nan")


def cancelled(run: Any, b: Both, after: int) -> int:
    """Interrupt as the host's button does, at the `after`th model call; how many calls were made in all."""
    calls = 0

    def count(module: Any, args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            comfy.model_management.interrupt_current_processing(True)

    handle = b.model.model.diffusion_model.register_forward_pre_hook(count)
    try:
        run()
    except comfy.model_management.InterruptProcessingException:
        return calls
    finally:
        handle.remove()
        comfy.model_management.interrupt_current_processing(False)
    return -1


@case
def batches() -> dict[str, float]:
    """A seed alone and in a batch."""
    alone, _ = both().native(SHORT, seeds=(12,))
    batch, _ = both().native(SHORT, seeds=(11, 12, 13))
    return {"rms": rms(alone[0], batch[1]), "others": rms(batch[0], batch[1])}


# -- the parts in SamplerCustomAdvanced


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

    said = {
        "guider": lambda: custom(_perp(Guider_PerpNeg(b.model), b), sampler, 7, shape),
        "latent": lambda: custom(guider, sampler, 7, (1, 4, 24, 16)),
        "row": lambda: custom(
            guider, native.make_sampler(encoded, core["plan"].preset("cow_official")), 7, shape
        ),
        "canvas": lambda: custom(
            guider, native.make_sampler(native.encode_layout(b.vae, made, canvas=False), SHORT), 7, shape
        ),
    }
    return {
        "sow_guider": rms(composed, whole), "cfg_guider": rms(theirs, whole), "trace": len(sampler.trace.calls),
        "euler": float(torch.isfinite(euler).all()), "errors": {k: _error(v) for k, v in said.items()},
    }  # fmt: skip


def _perp(guider: Any, b: Both) -> Any:
    guider.set_conds(b.rows["positive"], b.rows["negative"], b.rows["empty"])
    guider.set_cfg(5.0, 1.0)
    return guider


# -- what is refused


def small_model(
    kind: Any, channels: int = 4, latent_format: Any = comfy.latent_formats.SD15, **config: Any
) -> Any:
    class Config(comfy.supported_models_base.BASE):
        unet_extra_config: dict[str, Any] = {}

    Config.latent_format = latent_format
    unet = pack("nodes.folder.unet").comfy_config(folder.read_json(tiny("sd1") / "unet" / "config.json"))
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
        return _error(lambda: native.sample_layout(
            model or b.model, prompts["positive"], prompts["negative"], vae or b.vae, layout(), SHORT, list(seeds),
        ))  # fmt: skip

    class Wide:
        first_stage_model = object()
        latent_dim = 2

        def spacial_compression_encode(self) -> int:
            return 16

    class Sixteen(_BrokenVae):
        def encode(self, pixels: Any) -> Any:
            return torch.zeros(1, 16, pixels.shape[1] // 8, pixels.shape[2] // 8)

    def four_rows() -> None:
        config = core["plan"].preset("cow_official")
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
        "row": _error(four_rows),
        "pooled": _error(without_pooled),
    }


if __name__ == "__main__":
    chosen = os.environ.get("CASES", "").split(",") if os.environ.get("CASES") else list(CASES)
    results = {}
    for name in chosen:
        try:
            results[name] = CASES[name]()
        except Exception:
            results[name] = {"error": traceback.format_exc()}
    print(json.dumps(results))
