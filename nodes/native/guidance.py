"""Guidance with what other nodes have put around the host's classifier-free guidance.

RescaleCFG, PAG, SAG, APG and their kin are functions in the model options that ComfyUI calls before, in place of and
after its formula. Where a run guides, they are called here in the same order, on the same predictions; where it does
not (the inversion, the unguided tail) nothing is guided and they are not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import comfy.patcher_extension
import comfy.samplers
import torch
from torch import Tensor

from ...sow_core.method.guidance import Guidance
from ...sow_core.method.plan import Denoise, Invert, Plan

PATCHES = ("sampler_cfg_function", "sampler_pre_cfg_function", "sampler_post_cfg_function")
"""The host's names in the model options."""

Host = Callable[[Guidance, Tensor, Tensor | None], Tensor]
"""guidance, eps [R, N, C, h, w], inside -> eps [N, C, h, w]."""


@dataclass(frozen=True)
class HostGuidance(Guidance):
    """Guidance whose formula is the host's, with its patches."""

    host: Host | None = None

    def _guided(self, eps: Tensor, inside: Tensor | None) -> Tensor:
        if self.host is None or len(self.rows) == 1:
            return super()._guided(eps, inside)
        return self.host(self, eps, inside)


def patched(options: Mapping[str, Any]) -> bool:
    """Whether some node has put functions around the guidance."""
    return any(options.get(name) for name in PATCHES)


def unused(plan: Plan, options: dict[str, Any], ours: str) -> list[str]:
    """Lines about patches of the MODEL that a run passes by. ours: the key of this pack's own wrappers."""
    lines = []
    if patched(options) and all(len(op.guidance.rows) == 1 for op in plan.ops if isinstance(op, (Invert, Denoise))):
        lines.append("Patches of the guidance (RescaleCFG, PAG ...) have no effect at cfg 1: nothing is guided.")
    kind = comfy.patcher_extension.WrappersMP.PREDICT_NOISE
    around = (options.get("transformer_options", {}).get("wrappers", {}) or options.get("wrappers", {})).get(kind, {})
    if any(key != ours and found for key, found in around.items()):
        lines.append("A patch around the sampler's steps (LazyCache and the like) has no effect here; EasyCache has.")
    if "denoise_mask_function" in options:
        lines.append("Differential Diffusion has no effect: the layout decides what is kept, not a noise mask.")
    return lines


def with_host(plan: Plan, host: Host) -> Plan:
    """The plan with every guidance handed to the host."""

    def handed(op: Any) -> Any:
        guidance = getattr(op, "guidance", None)
        if not isinstance(guidance, Guidance):
            return op
        values = {f.name: getattr(guidance, f.name) for f in fields(Guidance)}
        return replace(op, guidance=HostGuidance(**values, host=host))

    return replace(plan, ops=tuple(handed(op) for op in plan.ops))


def guided(
    guidance: Guidance,
    clean: Tensor,
    inside: Tensor | None,
    scaled: Callable[[Tensor, Tensor, float], Tensor],
) -> Tensor:
    """Clean predictions [R, N, C, h, w] in the order of the guidance's rows -> the guided one [N, C, h, w].

    scaled: positive, negative, scale -> guided. Another scale inside the condition is a second answer there: a patch
    may look at the whole picture, so that the two cannot be mixed before it.
    """
    negative, positive = clean[0], clean[1]
    if guidance.extra:
        shift = clean[2] - clean[3]
        negative = negative + (shift if inside is None else shift * (1.0 - inside))
    made = scaled(positive, negative, guidance.scale)
    if guidance.inside is None or inside is None:
        return made
    return torch.where(inside > 0.5, scaled(positive, negative, guidance.inside), made)


def host_formula(
    model: Any, conds: tuple[Any, Any], state: Tensor, sigma: Tensor, options: dict[str, Any]
) -> Callable[[Tensor, Tensor, float], Tensor]:
    """`comfy.samplers.sampling_function` from the predictions on: pre functions, the formula, post functions.

    conds: the positive and the negative prompt; state, sigma [N]: what the model was asked.
    """

    def scaled(positive: Tensor, negative: Tensor, scale: float) -> Tensor:
        out = [positive, negative]
        for function in options.get("sampler_pre_cfg_function", []):
            out = function({
                "conds": list(conds), "conds_out": out, "cond_scale": scale, "timestep": sigma, "input": state,
                "sigma": sigma, "model": model, "model_options": options,
            })  # fmt: skip
        return comfy.samplers.cfg_function(
            model, out[0], out[1], scale, state, sigma, model_options=options, cond=conds[0], uncond=conds[1]
        )

    return scaled
