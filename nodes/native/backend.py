"""The engine's backend protocol over a running ComfyUI sampler: its model, its prompts, its options."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import comfy.conds
import comfy.samplers
import torch
from torch import Tensor

from ...sow_core.errors import SowError
from ...sow_core.method.backend import Pull
from ...sow_core.method.guidance import POSITIVE, Guidance
from ...sow_core.method.modulation import AttentionControl
from ...sow_core.method.schedule import Schedule
from .attention import AttentionHooks, Hooks
from .checks import check_unet
from .concepts import OPTION, slope
from .flow import HostScale, family_of, is_flow, schedule_of
from .guidance import guided, host_formula
from .joint import JointHooks

LOCAL = ("area", "mask", "mask_strength", "set_area_to_bounds", "strength", "default", "control",
         "control_apply_to_uncond", "gligen", "concat_latent_image", "concat_mask", "noise_concat",
         "reference_latents", "attention_mask_img_shape")  # fmt: skip
"""What places a prompt on the canvas; meaningless for a crop that is inverted alone."""
SIZES = ("width", "height", "crop_w", "crop_h", "target_width", "target_height")
"""SDXL's size conditioning, where a node has set it by hand; a crop has a size of its own."""


class _Asked(NamedTuple):
    """The last call of several rows, for the guidance that follows it."""

    state: Tensor
    scale: HostScale
    conds: list[Any]
    names: dict[Any, str]
    control: AttentionControl | None


class NativeBackend:
    """One run's view of a guider that is sampling. Lives inside `comfy.samplers.Sampler.sample`.

    guider: has `inner_model` and `conds` by row name, as CFGGuider sets them; options: the run's own copy of
    the model options; canvas: its latent's (rows, columns). States are a z0 + b eps; what ComfyUI's models take of
    them says `HostScale`. Their latents may have an axis of frames, which the engine's have not.
    """

    def __init__(
        self, guider: Any, options: dict[str, Any], canvas: tuple[int, int], device: torch.device, seed: int
    ) -> None:
        self.device = device
        self._guider = guider
        self._model = guider.inner_model
        self._options = options
        self._seed = seed
        self._canvas = canvas
        self._flow = is_flow(self._model.model_sampling)
        family = family_of(self._model) if self._flow else None
        self._told = family is not None and family.guidance == "embedded"
        self._frames = self._model.latent_format.latent_dimensions == 3
        self._hooks = hooks_of(self._model, options, canvas)
        self._crops: dict[tuple[str, tuple[int, ...]], list[dict[str, Any]]] = {}
        self._last_sigma = math.inf
        self._asked: _Asked | None = None

    def schedule(self, steps: int, shift: float = 1.0) -> Schedule:
        return schedule_of(self._model.model_sampling, steps, shift)

    def session(self) -> AbstractContextManager[object]:
        return self._hooks.installed()

    def predict(
        self,
        x: Tensor,
        schedule: Schedule,
        level: int,
        rows: Sequence[str],
        control: AttentionControl | None = None,
        embedded: bool = True,
    ) -> Tensor:
        scale = HostScale(schedule, level, self._flow)
        if scale.sigma > self._last_sigma:
            self._restart_hook_schedules()
        self._last_sigma = scale.sigma
        state = x / scale.divisor
        # The positive prompt first, as the host has it: patches tell it from the others by its number.
        order = sorted(range(len(rows)), key=lambda n: rows[n] != POSITIVE)
        told = embedded or not self._told
        conds = [c if told else unguided(c) for c in (self._conds(rows[n], state) for n in order)]
        names = {c["uuid"]: rows[n] for n, cond in zip(order, conds, strict=True) for c in cond if "uuid" in c}
        with self._hooks.active(control, [rows[n] for n in order], names):
            found = self._call(conds, state, scale.sigma)
        clean = [found[order.index(n)] for n in range(len(rows))]
        if len(rows) > 1:
            self._asked = _Asked(state, scale, [conds[order.index(n)] for n in range(len(rows))], names, control)
        # For eps, v and flow prediction alike this is the eps whose clean latent, seen from `x`, the model returned.
        return scale.eps(state, torch.stack(clean).float())

    def _call(self, conds: list[Any], state: Tensor, noise: float) -> list[Tensor]:
        """Clean predictions, one a prompt; through another node's function where there is one."""
        state, sigma = self._framed(state), state.new_full((len(state),), noise)
        function = self._options.get("sampler_calc_cond_batch_function")
        if function is None:
            found = comfy.samplers.calc_cond_batch(self._model, conds, state, sigma, self._options)
        else:
            # Those functions expect the two of the host's guidance; an absent one is None.
            pair = conds if len(conds) > 1 else [*conds, None]
            found = function({"conds": pair, "input": state, "sigma": sigma, "model": self._model,
                              "model_options": self._options})[: len(conds)]  # fmt: skip
        return [unframed(clean) for clean in found]

    def _framed(self, latent: Tensor) -> Tensor:
        """[N, C, h, w] as the host's model has it: with one frame where it could make several."""
        return latent.unsqueeze(2) if self._frames else latent

    def guide(self, guidance: Guidance, eps: Tensor, inside: Tensor | None) -> Tensor:
        """The last call's rows combined by the host's own guidance with its patches; for `HostGuidance`.

        What a patch asks the model besides (PAG, SAG) is modulated like the call itself, and measures nothing.
        """
        assert self._asked is not None
        state, scale, conds, names, control = self._asked
        sigma = state.new_full((len(state),), scale.sigma)
        pair = (conds[1], conds[0])
        formula = host_formula(self._model, pair, self._framed(state), sigma, self._options)

        def scaled(positive: Tensor, negative: Tensor, factor: float) -> Tensor:
            return unframed(formula(self._framed(positive), self._framed(negative), factor))

        with self._hooks.active(_unobserved(control), guidance.rows, names):
            made = guided(guidance, scale.clean(state, eps), inside, scaled)
        return scale.eps(state, made.float())

    def pull(
        self, x: Tensor, schedule: Schedule, level: int, objective: Callable[[Tensor], Tensor], depth: int
    ) -> Pull:
        request = self._options.get(OPTION)
        if request is None:
            raise SowError("No things to keep apart: put SOW Separate between the model and the sampler.")
        check_unet(self._guider.model_patcher)
        sigma, a = schedule.sigma(level), schedule.a[level]
        state = x / a
        noise = state.new_full((len(state),), sigma)
        conds = self._conds(POSITIVE, state)
        found = slope(self._model, conds, state, noise, self._options, request.tokens, depth, objective)
        return Pull(found.gradient / a, found.values, (state - found.clean.float()) / sigma)

    def _restart_hook_schedules(self) -> None:
        """Scheduled hooks (a LoRA by keyframes) start over: ComfyUI moves them towards less noise only, and
        an inversion or a new cycle has just gone back up."""
        groups = {id(h): h for conds in self._guider.conds.values() for c in conds if (h := c.get("hooks"))}
        schedules = [hook.hook_keyframe for group in groups.values() for hook in group.hooks]
        schedules = [schedule for schedule in schedules if not schedule.is_empty()]
        if not schedules:
            return
        for schedule in schedules:
            schedule.reset()
            # The first keyframe need not be held for its guaranteed steps again: no step is skipped by that.
            schedule._current_used_steps = schedule._current_keyframe.guarantee_steps
        patcher = self._model.current_patcher
        patcher.cached_hook_patches.clear()  # weights patched at the strength before
        patcher.patch_hooks(None)

    def _conds(self, row: str, state: Tensor) -> list[dict[str, Any]]:
        """A row's prompts, made for this latent size."""
        conds = self._guider.conds.get(row)
        if not conds:
            raise SowError(f"The guider has no {row!r} prompt; use SOW Guider and connect one.")
        size = tuple(state.shape[-2:])
        if size == self._canvas:
            return conds
        state = self._framed(state)
        if (row, size) not in self._crops:
            whole = [c for c in conds if "area" not in c and "mask" not in c] or conds
            plain = [{k: v for k, v in c.items() if k not in LOCAL + SIZES} for c in whole]
            self._crops[row, size] = comfy.samplers.encode_model_conds(
                self._model.extra_conds,
                plain,
                state,
                state.device,
                row,
                latent_image=torch.zeros_like(state),
                denoise_mask=None,
                seed=self._seed,
            )
        return self._crops[row, size]


def hooks_of(model: Any, options: dict[str, Any], canvas: tuple[int, int]) -> Hooks:
    """The hooks for the attention of a host's model, on the run's own options."""
    own = options.setdefault("transformer_options", {})
    family = family_of(model) if is_flow(model.model_sampling) else None
    return AttentionHooks(own) if family is None else JointHooks(own, family, canvas)


def unframed(latent: Tensor) -> Tensor:
    """A latent of the host's as the engine has it: [N, C, h, w]."""
    return latent[:, :, 0] if latent.ndim == 5 else latent


def unguided(conds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The prompts of a model that is told its guidance, with the guidance 1. Changes none of them."""
    none = {"guidance": comfy.conds.CONDRegular(torch.FloatTensor([1.0]))}
    return [{**cond, "model_conds": {**cond["model_conds"], **none}} for cond in conds]


def _unobserved(control: AttentionControl | None) -> AttentionControl | None:
    """A control that modulates alike; what it measures goes nowhere."""
    if control is None:
        return None
    quiet = copy.copy(control)
    quiet._values, quiet._joint = [], []
    return quiet
