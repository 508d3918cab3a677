"""The host's model as the judge of its own candidates: the same errors as on diffusers, and the MODEL as before."""

from __future__ import annotations

from typing import Any

import torch

from native_cases.common import PROMPTS, both, case, pack, rms
from native_cases.grounding import scene

ASKED = "a red cube and a blue sphere on a gray floor"
PROMPT = (ASKED, "a red cube on a gray floor", "a red cube and a blue cube on a gray floor")


@case
def judging() -> dict[str, Any]:
    import comfy.model_management as management

    judge, own = pack("nodes.native.judging"), pack("sow_core.turns.own_match")
    b, fast = both(), pack("sow_core.method.presets").preset("fast")
    before, _ = b.native(fast)
    pictures = torch.stack([scene(), scene().flip(-1)])
    free = torch.zeros(128, 128)
    free[48:96, 8:64] = 1.0
    theirs = own.backend_errors(b.diffusers, pictures, free, PROMPT)
    with torch.inference_mode():
        ours = judge.prompt_errors(b.model, b.clip, b.vae, pictures, free, PROMPT)
    results: dict[str, Any] = {
        "gap": float(((ours - theirs).abs() / theirs).max()),
        "spread": float((theirs.amax(0) / theirs.amin(0)).min()),
        "shape": list(ours.shape),
    }
    management.interrupt_current_processing()
    try:
        judge.prompt_errors(b.model, b.clip, b.vae, pictures, free, PROMPT)
        results["cancelled"] = False
    except management.InterruptProcessingException:
        results["cancelled"] = True
    b.diffusers.set_prompts(PROMPTS)
    after, _ = b.native(fast)
    results["afterwards"] = rms(after, before)
    return results
