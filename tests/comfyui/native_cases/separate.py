"""SOW Separate in SOW's own sampling and in an ordinary sampler, and patches through ComfyUI's own LoRA loader."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import comfy.sample
import comfy.sd
import torch

from native_cases.common import PROMPTS, SHORT, both, case, error_line, pack, rms

WORDS = ("man", "suit")
PROMPT = "a photo of a smiling man wearing a suit on a beach"


def request(b: Any, strength: float = 0.3, enough: float = 0.0, depth: int = 1, words: Any = WORDS) -> Any:
    concepts = pack("nodes.native.concepts")
    Separation = pack("sow_core.method.separation").Separation
    settings = Separation(strength=strength, enough=enough, depth=depth)
    return concepts.Request(words, concepts.token_places(b.clip, PROMPT, words), settings, 0.5)


def separated(b: Any, **settings: Any) -> Any:
    return pack("nodes.native.separate").with_request(b.model, request(b, **settings))


def weights(b: Any) -> dict[str, int]:
    return {name: id(p) for name, p in b.model.model.diffusion_model.named_parameters()}


@case
def separate_parity() -> dict[str, Any]:
    """The same steps of separation in both backends; nothing of them stays; a stop inside one leaves the model."""
    b = both()
    before = weights(b)
    plain, _ = b.native(SHORT)
    ours, trace = b.native(SHORT, model=separated(b))
    b.diffusers.set_concepts(WORDS)
    wanted = request(b).settings
    theirs, other = b.reference(replace(SHORT, separate=wanted))
    losses = [(x.separation, y.separation) for x, y in zip(trace.calls, other.calls, strict=True)]
    gaps = [float((x - y).abs().max()) for x, y in losses if x is not None]
    again, _ = b.native(SHORT)
    with torch.inference_mode():
        loaded_there = [p.is_inference() for p in b.model.model.diffusion_model.parameters()]
    return {
        "rms": rms(ours, theirs), "effect": rms(ours, plain), "afterwards": rms(again, plain), "steps": len(gaps),
        "loss_gap": max(gaps), "same_weights": weights(b) == before, "inference": any(loaded_there),
    }  # fmt: skip


def sample(b: Any, model: Any, steps: int = 4) -> Any:
    latent = torch.zeros(1, 4, 16, 16)
    noise = comfy.sample.prepare_noise(latent, 3)
    with torch.inference_mode():
        return comfy.sample.sample(
            model, noise, steps, 5.0, "euler", "normal", b.encode(PROMPT), b.encode(""), latent, seed=3
        )


@case
def separate_ordinary_sampler() -> dict[str, Any]:
    """KSampler's own path: off is bit-identical, on changes the picture, and the loss that it watches falls."""
    b = both()
    before = weights(b)
    S = pack("sow_core.method.separation")
    plain = sample(b, b.model)
    unneeded = sample(b, separated(b, enough=2.0))
    seen: list[float] = []
    true_loss = S.loss

    def watched(maps: Any, beta: float) -> Any:
        value = true_loss(maps, beta)
        seen.append(float(value.detach()))
        return value

    S.loss = watched
    try:
        moved = sample(b, separated(b, strength=0.2))
    finally:
        S.loss = true_loss
    again = sample(b, b.model)
    return {
        "unneeded": rms(unneeded, plain), "effect": rms(moved, plain), "afterwards": rms(again, plain),
        "same_weights": weights(b) == before, "calls": len(seen), "options": "sow_separate" in b.model.model_options,
    }  # fmt: skip


@case
def separate_weights_of_inference_mode() -> dict[str, Any]:
    """As the host loads them, inside a node: autograd does not take such weights, copies stand in for a run."""
    from native_cases.common import ROOT, Both

    with torch.inference_mode():
        b = Both(ROOT / "models" / "demo")
    before = weights(b)
    plain = sample(both(), separated(both()))
    there = next(b.model.model.diffusion_model.parameters()).is_inference()
    return {"inference": there, "rms": rms(sample(b, separated(b)), plain), "same_weights": weights(b) == before}


@case
def separate_with_lora_and_another_override() -> dict[str, float]:
    """What else is on MODEL stays in effect in the separated run, the differentiated calls included."""
    b = both()
    generator = torch.Generator().manual_seed(5)
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    rows, columns = b.diffusers.parts.unet.get_submodule(name).weight.shape
    key = f"lora_unet_{name}".replace(".", "_")
    state = {f"{key}.lora_up.weight": torch.randn(rows, 4, generator=generator) * 0.3,
             f"{key}.lora_down.weight": torch.randn(4, columns, generator=generator) * 0.3,
             f"{key}.alpha": torch.tensor(4.0)}  # fmt: skip
    patched, _ = comfy.sd.load_lora_for_models(b.model, None, state, 1.0, 0.0)
    calls: list[bool] = []

    def override(func: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(torch.is_grad_enabled())
        return func(*args, **kwargs)

    guest = b.model.clone()
    guest.model_options.setdefault("transformer_options", {})["optimized_attention_override"] = override
    separate = pack("nodes.native.separate").with_request
    plain, _ = b.native(SHORT, model=separated(b))
    with_lora, _ = b.native(SHORT, model=separate(patched, request(b)))
    chained, _ = b.native(SHORT, model=separate(guest, request(b)))
    return {"lora": rms(with_lora, plain), "chained": rms(chained, plain), "differentiated": sum(calls),
            "calls": len(calls)}  # fmt: skip


@case
def separate_errors() -> dict[str, str]:
    b = both()
    concepts = pack("nodes.native.concepts")
    states, options = b.rows["positive"][0]
    mask = [[states, {**options, "mask": torch.ones(1, 16, 16), "mask_strength": 1.0}]]


    def without_backward(func: Any, *args: Any, **kwargs: Any) -> Any:
        with torch.inference_mode():
            return func(*args, **kwargs)

    guest = b.model.clone()
    guest.model_options.setdefault("transformer_options", {})["optimized_attention_override"] = without_backward
    stuck = pack("nodes.native.separate").with_request(guest, request(b))
    return {
        "stuck": error_line(lambda: b.native(SHORT, model=stuck)),
        "word": error_line(lambda: concepts.token_places(b.clip, PROMPT, ("horse",))),
        "mask": error_line(lambda: b.native(SHORT, model=separated(b), positive=mask)),
        "depth": error_line(lambda: b.native(SHORT, model=separated(b, depth=4))),
        "nothing": error_line(lambda: b.native(replace(SHORT, separate=request(b).settings))),
    }


@case
def separate_tokens() -> dict[str, Any]:
    """Places in the prompt: one word, a phrase, a weighted word, and one beyond the first chunk."""
    b = both()
    places = pack("nodes.native.concepts").token_places
    long = "a photo of a man " + "on a beach " * 40 + "wearing a suit"
    return {
        "word": places(b.clip, "a man and a suit", ("man",)), "phrase": places(b.clip, "a red suit", ("red suit",)),
        "weighted": places(b.clip, "a (man:1.3) and a suit", ("man",)), "far": places(b.clip, long, ("suit",)),
        "diffusers": _reference_places(b, "a man and a suit", "man"),
    }  # fmt: skip


def _reference_places(b: Any, prompt: str, word: str) -> Any:
    b.diffusers.set_prompts({"positive": prompt})
    try:
        return b.diffusers.concept_tokens([word])
    finally:
        b.diffusers.set_prompts(PROMPTS)


@case
def patch_through_load_lora() -> dict[str, float]:
    """A patch of the keys, written by us, loaded by ComfyUI's own LoRA loader at several strengths."""
    b = both()
    patches = pack("sow_core.backends.patches")
    unet = b.diffusers.parts.unet
    generator = torch.Generator().manual_seed(2)
    differences = {n: torch.randn(w.shape, generator=generator) * 0.05 for n, w in patches.key_weights(unet).items()}
    state = {f"{name}.diff": value for name, value in differences.items()}
    b.diffusers.set_prompts(PROMPTS)
    plain, _ = b.native(SHORT)
    out = {}
    for strength in (0.0, 0.5, 1.0):
        loaded, _ = comfy.sd.load_lora_for_models(b.model, None, dict(state), strength, 0.0)
        ours, _ = b.native(SHORT, model=loaded)
        with patches.patched(unet, differences, strength):
            theirs, _ = b.reference(SHORT)
        out[f"rms {strength}"] = rms(ours, theirs)
        out[f"effect {strength}"] = rms(ours, plain)
    return out

