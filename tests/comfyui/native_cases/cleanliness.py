"""Nothing is changed by a run, an error or a cancel."""

from __future__ import annotations

import json
from typing import Any

import comfy.model_management
import torch

from native_cases.common import (
    NORMAL,
    SHORT,
    Both,
    both,
    case,
    error_line,
    rms,
)


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
    kept, b.vae = b.vae, BrokenVae(b.vae)
    out["error"] = error_line(lambda: b.native(SHORT, model=model))
    b.vae = kept
    out["after_error"] = fingerprint(model) == before
    out["cancelled_after"] = cancelled(lambda: b.native(NORMAL, model=model), b, after=11)
    out["after_cancel"] = fingerprint(model) == before
    again, _ = b.native(SHORT, model=model)
    out["same_again"] = bool(torch.equal(first, again))
    out["torch"] = threads == torch.get_num_threads() and grad == torch.is_grad_enabled()
    return out


class BrokenVae:
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
