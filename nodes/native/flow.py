"""Which flow transformer a MODEL is, and what of ComfyUI's such models cannot be sampled here, each with its line."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...sow_core.method import families
from ...sow_core.method.families import Family
from ...sow_core.method.schedule import Schedule

BY_CLASS = {"SD3": families.SD3, "Chroma": families.CHROMA, "QwenImage": families.QWEN_IMAGE,
            "HiDream": families.HIDREAM}  # fmt: skip
"""Families that have a class of `comfy.model_base` to themselves; `family_of` tells the others apart."""


def is_flow(model_sampling: Any) -> bool:
    """Whether the host's states are (1 - t) z0 + t eps, told by t; its UNets' are z0 + sigma eps."""
    from comfy.model_sampling import CONST

    return isinstance(model_sampling, CONST)


def family_of(base: Any) -> Family | None:
    """The family of a host's model, by its class and the shape of its net; None for one that does not run here."""
    name, config = type(base).__name__, base.model_config.unet_config
    if name == "Flux":
        return families.FLUX if config.get("guidance_embed") else families.FLUX_SCHNELL
    if name == "Flux2":
        return families.FLUX2 if config.get("guidance_embed") else families.FLUX2_KLEIN
    if name == "Lumina2":
        return families.Z_IMAGE if config.get("z_image_modulation") else families.LUMINA2
    return BY_CLASS.get(name)


def problem_of(base: Any, method: Any) -> str | None:
    """What keeps a flow model from being sampled here, as the end of a sentence; None for nothing.

    method: its sampling object, a node's in place of its own included.
    """
    import comfy.model_sampling as sampling

    net, latents = base.diffusion_model, base.latent_format
    if isinstance(method, getattr(sampling, "IMG_TO_IMG_FLOW", ())):
        return "turns one picture into another and has no noise levels"
    if getattr(latents, "spacial_downscale_ratio", 8) == 1:
        return "works on pixels, not on latents"
    if getattr(method, "noise_scale", 1.0) != 1.0:
        return f"is noised {method.noise_scale:g} times as strongly as others"
    family = family_of(base)
    if latents.latent_dimensions != (2 if family is None else family.latent_dims):
        return "makes video or sound"
    if family is None:
        return f"is a flow model of a family that does not run here ({type(base).__name__})"
    wider = _wider_input(base, net, family)
    if getattr(base, "concat_keys", ()) or wider:
        return f"is an inpainting, editing or control model ({wider or 'it takes a second picture'})"
    if base.model_config.unet_config.get("use_additional_t_cond"):
        return "makes a picture in layers"
    return None


def _wider_input(base: Any, net: Any, family: Family) -> str:
    """A net that takes more than the latent: Flux Fill, or a control LoRA that has widened it. "" for none."""
    net = getattr(net, "_orig_mod", net)
    layer = getattr(net, "img_in", None) or getattr(net, "x_embedder", None)
    weight = getattr(layer, "weight", None)
    if weight is None:
        weight = getattr(getattr(layer, "proj", None), "weight", None)
    if weight is None:  # some engines keep the weights to themselves
        return ""
    takes, fits = weight[0].numel(), base.latent_format.latent_channels * family.patch**2
    return f"{takes} values per token instead of {fits}" if takes > fits else ""


def schedule_of(model_sampling: Any, steps: int, shift: float = 1.0) -> Schedule:
    """A model's levels: the matched ones of a flow model, whatever shift the host samples it with; the DDIM grid of its
    own sigmas of a discrete one (sigma^2 = 1 / abar - 1)."""
    if is_flow(model_sampling):
        return Schedule.matched_flow(steps, shift)
    alphas = 1.0 / (model_sampling.sigmas.double().cpu() ** 2 + 1.0)
    return Schedule.from_alphas_cumprod(alphas.tolist(), steps)


class HostScale:
    """How the engine's state a z0 + b eps stands to the host's, at one level.

    The host's is `signal` z0 + `sigma` eps: the same for a flow model, over a for the others. `divisor` leads from one
    to the other.
    """

    def __init__(self, schedule: Schedule, level: int, flow: bool) -> None:
        a = schedule.a[level]
        self.divisor, self.signal = (1.0, a) if flow else (a, 1.0)
        self.sigma = schedule.b[level] if flow else schedule.sigma(level)

    def eps(self, state: Tensor, clean: Tensor) -> Tensor:
        """The noise that the host's state [N, ...] has over a clean prediction."""
        return (state - self.signal * clean) / self.sigma

    def clean(self, state: Tensor, eps: Tensor) -> Tensor:
        return (state - self.sigma * eps) / self.signal


def percent_of(sampling: Any, sigma: float) -> float:
    """The share of a flow model's sampling that lies above the noise `sigma`, as its own shift spreads it."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if float(sampling.percent_to_sigma(middle)) > sigma else (low, middle)
    return high
