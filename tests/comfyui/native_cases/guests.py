"""What else the user may have on MODEL and CONDITIONING stays in effect."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import comfy.controlnet
import comfy.hooks
import comfy.sd
import torch

from native_cases.common import (
    SHORT,
    both,
    case,
    core,
    rms,
)


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
            "layers": sum(1 for n, _ in b.model.model.diffusion_model.named_modules() if n.endswith("attn1")),
        "left": sum(len(v) for v in model.model_options["transformer_options"]["patches"].values())}  # fmt: skip


class PaintControl(comfy.controlnet.ControlBase):
    """A ControlNet that adds a fixed pattern to the middle block, and only at the canvas's size.

    No constant: the group norm behind the middle block takes most of one away again."""

    def __init__(self, size: tuple[int, int], middle: tuple[int, int, int]) -> None:
        super().__init__()
        self.size, self.calls = size, 0
        self.pattern = 3 * torch.randn((1, *middle), generator=torch.Generator().manual_seed(0))

    def get_control(
        self, x_noisy: Any, t: Any, cond: Any, batched_number: int, transformer_options: Any
    ) -> Any:
        assert tuple(x_noisy.shape[-2:]) == self.size, x_noisy.shape
        self.calls += 1
        return {"middle": [self.pattern.expand(x_noisy.shape[0], -1, -1, -1).clone()], "output": [], "input": []}

    def copy(self) -> Any:
        return self


@case
def control_and_areas() -> dict[str, float]:
    """ControlNet and regional prompts act on the canvas and stay away from the crop's own inversion."""
    b = both()
    plain, _ = b.native(SHORT)
    widths = b.diffusers.parts.unet.config.block_out_channels
    side = 16 >> (len(widths) - 1)
    control = PaintControl((16, 16), (widths[-1], side, side))
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
        b.native(core["presets"].preset("cow_official"), seeds=(1, 2))
    finally:
        handle.remove()
    plan = core["plan"].build_plan(core["presets"].preset("cow_official"), 1)
    return {"calls": len(shapes), "planned": plan.cost.calls, "largest": max(s[0] for s in shapes)}


@case
def scheduled_hooks() -> dict[str, Any]:
    """A LoRA hook with keyframes has, at every call, the strength that its schedule gives to that noise level."""
    b, told = both(), []
    layer = b.diffusers.parts.unet.get_submodule("down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_v")
    rows, columns = layer.weight.shape
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_v"
    generator = torch.Generator().manual_seed(5)
    lora = {
        f"{name}.lora_up.weight": torch.randn(rows, 4, generator=generator),
        f"{name}.lora_down.weight": torch.randn(4, columns, generator=generator),
        f"{name}.alpha": torch.tensor(4.0),
    }
    hooks = comfy.hooks.create_hook_lora(lora, 1.0, 1.0)
    keyframes = comfy.hooks.HookKeyframeGroup()
    keyframes.add(comfy.hooks.HookKeyframe(strength=1.0, start_percent=0.0))
    keyframes.add(comfy.hooks.HookKeyframe(strength=0.0, start_percent=0.55))
    hooks.set_keyframes_on_hooks(keyframes)
    positive = comfy.hooks.set_hooks_for_conditioning(b.rows["positive"], hooks)
    negative = comfy.hooks.set_hooks_for_conditioning(b.rows["negative"], hooks)
    unet = b.model.model.diffusion_model
    weight = unet.get_submodule("input_blocks.1.1.transformer_blocks.0.attn1.to_v")
    plain_weight = weight.weight.detach().clone()

    def listen(module: Any, args: Any) -> None:
        told.append([float(args[1][0]), float((weight.weight - plain_weight).abs().max() > 1e-3)])

    handle = unet.register_forward_pre_hook(listen)
    try:
        hooked, _ = b.native(SHORT, positive=positive, negative=negative)
    finally:
        handle.remove()
    plain, _ = b.native(SHORT)
    sampling = b.model.get_model_object("model_sampling")
    border = float(sampling.timestep(torch.tensor([sampling.percent_to_sigma(0.55)]))[0])
    return {"calls": told, "border": border, "effect": rms(hooked, plain),
            "left": float((weight.weight - plain_weight).abs().max())}  # fmt: skip
