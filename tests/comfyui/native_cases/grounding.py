"""Where a word is in a picture: the native hooks against diffusers' projections."""

from __future__ import annotations

from typing import Any

import torch

from native_cases.common import PROMPTS, ROOT, both, case, error_line, folder, pack, rms
from native_cases.tiny_flow import CONFIGS, FlowVae, prompt, tiny_flow

PROMPT = "a red cube and a blue sphere on a gray floor"


def scene() -> Any:
    """[3, 128, 128]: two plain things, drawn."""
    picture = torch.full((3, 128, 128), 0.5)
    picture[:, 56:84, 20:48] = torch.tensor([0.8, 0.1, 0.1])[:, None, None]
    picture[:, 60:88, 80:108] = torch.tensor([0.1, 0.1, 0.8])[:, None, None]
    return picture


@case
def grounding() -> dict[str, Any]:
    looking, told = pack("nodes.native.looking"), pack("sow_core.turns.grounding")
    results: dict[str, Any] = {"gaps": {}, "boxes": {}}
    b, fast = both(), pack("sow_core.method.presets").preset("fast")
    before, _ = b.native(fast)
    for word in ("red cube", "sphere", "floor"):
        theirs = told.word_map(b.diffusers, scene(), PROMPT, word)
        with torch.inference_mode():
            ours = looking.word_map(b.model, b.clip, b.vae, scene(), PROMPT, word)
        results["gaps"][word] = float((ours - theirs).abs().max())
        results["boxes"][word] = str(told.box_of(ours, word)) == str(told.box_of(theirs, word))
    b.diffusers.set_prompts(PROMPTS)
    after, _ = b.native(fast)
    results["afterwards"] = rms(after, before)
    results["error"] = error_line(lambda: looking.locate(b.model, b.clip, b.vae, scene(), PROMPT, "umbrella"))
    return results


@case
def grounding_flow() -> dict[str, Any]:
    """The same of the embedded flow transformer."""
    where = ROOT / "models" / "demo_flow"
    if not list((where / "transformer").glob("*.safetensors")):
        return {"missing": True}
    looking, told = pack("nodes.native.looking"), pack("sow_core.turns.grounding")
    results: dict[str, Any] = {"gaps": {}, "boxes": {}}
    model, clip, vae = folder.load_folder(where)
    diffusers = pack("sow_core.backends.opening").open_backend(where)
    before = dict(model.model_options.get("transformer_options", {}))
    for word in ("red cube", "sphere", "floor"):
        theirs = told.word_map(diffusers, scene(), PROMPT, word)
        with torch.inference_mode():
            ours = looking.word_map(model, clip, vae, scene(), PROMPT, word)
        results["gaps"][word] = float((ours - theirs).abs().max())
        results["boxes"][word] = str(told.box_of(ours, word)) == str(told.box_of(theirs, word))
    results["clean"] = model.model_options.get("transformer_options", {}) == before
    results["error"] = error_line(lambda: looking.locate(model, clip, vae, scene(), PROMPT, "umbrella"))
    return results


class WordClip:
    """A token a word and an end mark; the text of a tiny family."""

    def __init__(self, name: str) -> None:
        self.name, self.ids = name, {"</s>": 1}

    def tokenize(self, text: str) -> Any:
        ids = [self.ids.setdefault(word, 2 + len(self.ids)) for word in (*text.split(), "</s>")]
        return {"t5xxl": [[(number, 1.0) for number in ids]]}

    def encode_from_tokens_scheduled(self, tokens: Any) -> Any:
        return prompt(self.name, 1, len(tokens["t5xxl"][0]))


@case
def grounding_families() -> dict[str, Any]:
    """Every family of the host's classes: a map on its latents, or one line; a sampling is the same afterwards."""
    from native_cases.flow import run

    looking, out = pack("nodes.native.looking"), {}
    for name in CONFIGS:
        model, clip, vae = tiny_flow(name), WordClip(name), FlowVae(name)
        before = run(name).latent["samples"]

        def look(model: Any = model, clip: Any = clip, vae: Any = vae) -> Any:
            with torch.inference_mode():
                return looking.word_map(model, clip, vae, scene(), PROMPT, "red cube")

        line = error_line(look)
        if line != "no error":
            out[name] = {"error": line}
            continue
        first, second = look(), look()
        out[name] = {"side": first.shape[0] * vae.factor, "top": float(first.max()), "low": float(first.min()),
                     "again": rms(first, second), "after": rms(run(name).latent["samples"], before)}  # fmt: skip
    return out
