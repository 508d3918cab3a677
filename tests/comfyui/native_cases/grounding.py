"""Where a word is in a picture: the native hooks against diffusers' projections."""

from __future__ import annotations

from typing import Any

import torch

from native_cases.common import PROMPTS, both, case, error_line, pack, rms

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
