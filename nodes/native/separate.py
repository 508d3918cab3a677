"""SOW Separate on an ordinary sampler: before each early step, its state is moved so that named things keep apart."""

from __future__ import annotations

from typing import Any

import comfy.patcher_extension
import torch

from ...sow_core.backends.gradients import differentiable
from ...sow_core.errors import SowError
from ...sow_core.method import separation
from .checks import check_unet
from .concepts import NEEDS_ONE, OPTION, Request, slope

WRAPPERS = comfy.patcher_extension.WrappersMP


def with_request(model: Any, request: Request) -> Any:
    """A clone of MODEL that carries the request: SOW's samplers take it into their plan, others obey the wrappers.

    Raises SowError for a model that is no Stable Diffusion UNet.
    """
    check_unet(model)
    clone = model.clone()
    clone.model_options[OPTION] = request
    for kind, wrapper in ((WRAPPERS.SAMPLER_SAMPLE, _around_sampling), (WRAPPERS.PREDICT_NOISE, _before_step)):
        comfy.patcher_extension.add_wrapper_with_key(kind, OPTION, wrapper, clone.model_options, is_model_options=True)
    return clone


def _around_sampling(executor: Any, guider: Any, *args: Any, **kwargs: Any) -> Any:
    """Weights that autograd accepts, once for the whole run."""
    with differentiable(guider.inner_model.diffusion_model):
        return executor(guider, *args, **kwargs)


def _before_step(
    executor: Any, x: torch.Tensor, timestep: torch.Tensor, model_options: dict[str, Any], seed: Any
) -> Any:
    """Move the sampler's own state: it goes on from the moved one, as the published method does."""
    guider = executor.class_obj
    request: Request = guider.model_options[OPTION]
    sigmas = (model_options.get("transformer_options") or {}).get("sample_sigmas")
    if sigmas is not None:
        size = _size(request, guider.inner_model.model_sampling, sigmas, float(timestep.flatten()[0]))
        if size:
            x.copy_(_moved(guider, request, x, timestep, model_options, size))
    return executor(x, timestep, model_options, seed)


def _size(request: Request, model_sampling: Any, sigmas: torch.Tensor, sigma: float) -> float:
    """The step's length for a state of noise sigma; 0 past the end of what is separated."""
    last = float(model_sampling.percent_to_sigma(request.end))
    early = [s for s in sigmas.tolist()[:-1] if s >= last]
    if sigma < last or not early:
        return 0.0
    number = min(sum(s > sigma * (1 + 1e-4) for s in early), len(early) - 1)
    return separation.step_sizes(request.settings.strength, len(early))[number]


def _moved(
    guider: Any, request: Request, x: torch.Tensor, timestep: torch.Tensor, options: dict[str, Any], size: float
) -> torch.Tensor:
    conds = guider.conds.get("positive")
    if not conds:
        raise SowError(NEEDS_ONE)
    sigma = timestep if timestep.numel() == len(x) else timestep.flatten()[:1].expand(len(x))
    found = slope(
        guider.inner_model, conds, x, sigma, options, request.tokens, request.settings.depth,
        lambda maps: separation.loss(maps, request.settings.beta),
    )  # fmt: skip
    # ComfyUI's states grow with sigma; a step is as long as on the unit-variance state that the method speaks of.
    length = size * float((1.0 + sigma.flatten()[0] ** 2) ** 0.5)
    moved = separation.step(x, found.gradient, length, torch.ones_like(x[:1, :1]))
    return torch.where((found.values > request.settings.enough)[:, None, None, None], moved, x)
