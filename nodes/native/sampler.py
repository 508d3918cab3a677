"""SOW as a ComfyUI SAMPLER, and the GUIDER that brings it more than two prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import comfy.model_management
import comfy.samplers
import node_helpers
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ...sow_core.errors import SowError
from ...sow_core.method.advice import Advice, guided
from ...sow_core.method.config import SowConfig
from ...sow_core.method.encoded import EncodedLayout
from ...sow_core.method.engine import Event, Trace, run
from ...sow_core.method.families import Family
from ...sow_core.method.guidance import NEGATIVE, POSITIVE
from ...sow_core.method.plan import Denoise, Plan, build_plan
from ..remarks import done, log, remark
from ..settings import advice_of
from .backend import NativeBackend, unframed
from .checks import check_latents, check_model
from .concepts import OPTION
from .flow import HostScale, is_flow, schedule_of
from .guidance import patched, unused, with_host
from .ranges import highest_level, never_acting


class SowGuider(comfy.samplers.CFGGuider):
    """CFGGuider that holds any named rows; with an ordinary sampler it is plain CFG."""

    def set_rows(self, rows: Mapping[str, Any]) -> None:
        """Row names ("positive", "negative", "empty", "suppress", "diverse") -> CONDITIONING."""
        # Every row but the positive one stands on the negative side; the SDXL refiner's score depends on it.
        extra = {
            name: conditioning
            if name in (POSITIVE, NEGATIVE)
            else node_helpers.conditioning_set_values(conditioning, {"prompt_type": NEGATIVE})
            for name, conditioning in rows.items()
        }
        self.inner_set_conds(extra)


def level_sigmas(model: Any, config: SowConfig) -> Tensor:
    """The levels' noise as ComfyUI's falling SIGMAS, for hooks and patches that look at them."""
    sampling = model.get_model_object("model_sampling")
    schedule, flow = schedule_of(sampling, config.steps, config.level_shift), is_flow(sampling)
    return torch.tensor([HostScale(schedule, level, flow).sigma for level in range(config.steps, 0, -1)] + [0.0])


def separated(config: SowConfig, model_options: Mapping[str, Any]) -> SowConfig:
    """The config with what SOW Separate has hung on the MODEL, its levels moved to the config's steps."""
    request = model_options.get(OPTION)
    if request is None:
        return config
    until = max(round(request.settings.until * config.steps / 10), 1)
    return replace(config, separate=replace(request.settings, until=until))


class SowSampler(comfy.samplers.Sampler):
    """A whole SOW run on any CFG guider.

    encoded: in the VAE's own scale, on any device. config: a function of what the model's loader advises, where the
    model is not known before. seeds: one per image, or None: the run's noise seed, plus the
    image's number in the batch.
    """

    def __init__(
        self,
        encoded: EncodedLayout,
        config: SowConfig | Callable[[Advice | None], SowConfig],
        seeds: Sequence[int] | None = None,
    ) -> None:
        self.encoded = encoded
        self.config = config
        self.seeds = seeds
        self.trace: Trace | None = None
        """The last run's record, on the CPU, previews in the VAE's own scale."""

    def sample(
        self,
        model_wrap: Any,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: Callable[[int, Tensor, Tensor, int], object] | None,
        noise: Tensor,
        latent_image: Tensor | None = None,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        """ComfyUI's entry. Only shape, device and count are taken of `noise`: the engine draws its own.

        Returns the latents in the model's scale. A cancel raises out of here within one model call.
        """
        guider = model_wrap
        _check_guider(guider)
        family = check_model(guider.model_patcher)
        check_latents(self.encoded, guider.inner_model, noise, family)
        if denoise_mask is not None:
            remark("The latent's noise mask is ignored: the layout decides what is kept.")
        config = self.config(advice_of(guider.model_patcher)) if callable(self.config) else self.config
        config = separated(guided(config, guider.cfg), guider.model_options)
        plan = build_plan(config, len(self.encoded.layout.conditions))
        seed = int(extra_args.get("seed") or 0)
        seeds = list(self.seeds) if self.seeds else [seed + index for index in range(len(noise))]
        grid = (noise.shape[-2], noise.shape[-1])
        options = extra_args["model_options"]
        backend = NativeBackend(guider, options, grid, noise.device, seed)
        _warn(plan, guider, options, family)
        if patched(options):
            plan = with_host(plan, backend.guide)
        framed = noise.ndim == 5
        events = run(plan, backend, self._in_the_models_scale(guider.inner_model, noise.device, framed), seeds)
        try:
            with tqdm(total=plan.cost.calls, disable=disable_pbar) as bar:
                for event in events:
                    if event.kind == "call":
                        bar.update()
                        _report(event, callback, framed)
                    elif event.result is not None:
                        if event.call < event.total:  # the adaptive stop ended early: the bar should not hang
                            _report(replace(event, call=event.total, x0=event.result.latents), callback, framed)
                        self.trace = _off_device(event.result.trace, guider.inner_model, framed)
                        done()
                        return event.result.latents.unsqueeze(2) if framed else event.result.latents
        finally:
            events.close()  # type: ignore[attr-defined]
        raise RuntimeError("the plan has no Decode")

    def _in_the_models_scale(self, base: Any, device: torch.device, framed: bool) -> EncodedLayout:
        return self.encoded.mapped(lambda z: scaled(base.process_latent_in, z.to(device, torch.float32), framed))


def scaled(function: Callable[[Tensor], Tensor], latent: Tensor, framed: bool) -> Tensor:
    """A latent [N, C, h, w] through the host's change of scale, which may want an axis of frames."""
    return unframed(function(latent.unsqueeze(2) if framed else latent))


def _warn(plan: Plan, guider: Any, options: dict[str, Any], family: Family | None) -> None:
    """What the user has connected and this run does not use, or uses dearly."""
    sampling, config = guider.inner_model.model_sampling, plan.config
    schedule = schedule_of(sampling, config.steps, config.level_shift)
    sigma = HostScale(schedule, highest_level(plan), is_flow(sampling)).sigma
    lines = [*never_acting(guider.conds, options, sampling, sigma), *unused(plan, options, OPTION)]
    if family is not None and family.one_row and config.guidance > 1:
        lines.append(f"{family.name} is made for cfg 1: at {config.guidance:g} a call takes twice as long and the "
                     "picture may be overdone.")  # fmt: skip
    if family is not None and options["transformer_options"].get("patches_replace", {}).get("dit"):
        lines.append("Another node replaces blocks of the model: a cache among them (TeaCache and the like) expects "
                     "the noise to fall, and every cycle raises it again.")  # fmt: skip
    if all(len(op.guidance.rows) == 1 for op in plan.ops if isinstance(op, Denoise)) and NEGATIVE in guider.conds:
        log.info("SOW: at cfg %g the negative prompt is unused.", config.guidance)
    for line in lines:
        remark(line)


def _report(event: Event, callback: Callable[[int, Tensor, Tensor, int], object] | None, framed: bool) -> None:
    """Progress and preview; the host's hook behind the callback raises when the user has cancelled."""
    if callback is not None:
        assert event.x0 is not None
        clean = event.x0.unsqueeze(2) if framed else event.x0
        callback(event.call - 1, clean, clean, event.total)
    comfy.model_management.throw_exception_if_processing_interrupted()


def _check_guider(guider: Any) -> None:
    """A guider with a formula of its own (perp-neg, dual cfg) would be ignored silently: refuse it."""
    plain = comfy.samplers.CFGGuider
    if not isinstance(guider, plain) or type(guider).predict_noise is not plain.predict_noise:
        name = type(guider).__name__
        raise SowError(f"The SOW sampler needs SOW Guider, CFGGuider or BasicGuider, got {name}.")


def _off_device(trace: Trace, base: Any, framed: bool) -> Trace:
    """The trace outlives the run in the host's cache: it must not hold the GPU's memory."""
    trace.previews = [scaled(base.process_latent_out, x.float(), framed).cpu() for x in trace.previews]
    trace.masses = [(cycle, mass.cpu()) for cycle, mass in trace.masses]
    trace.calls = [call.on_cpu() for call in trace.calls]
    return trace
