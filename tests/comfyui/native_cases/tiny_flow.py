"""Small random flow models of the host's own classes, with prompts and a VAE that fit them."""

from __future__ import annotations

from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.supported_models
import torch
from shapes import CONFIGS

_models: dict[str, Any] = {}


def tiny_flow(name: str) -> Any:
    """The MODEL of a family; random, always the same, built once."""
    if name not in _models:
        class_name, config = CONFIGS[name]
        _models[name] = build(getattr(comfy.supported_models, class_name), config)
    return _models[name]


def build(cls: Any, config: dict[str, Any]) -> Any:
    """A MODEL of a class of supported models: ComfyUI leaves new weights as they lie in memory."""
    made = cls(dict(config))
    made.unet_config = {**config, "dtype": torch.float32}
    made.manual_cast_dtype = made.custom_operations = None
    model = made.get_model({}, "", device="cpu")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for key, value in [*model.named_parameters(), *model.diffusion_model.named_buffers()]:
            if not value.is_floating_point():
                continue
            if value.ndim > 1:
                drawn = torch.randn(value.shape, generator=generator) * (0.8 / value[0].numel() ** 0.5)
            else:
                drawn = torch.ones_like(value) if key.endswith(("weight", "scale")) else torch.zeros_like(value)
                drawn = drawn + 0.1 * torch.randn(value.shape, generator=generator)
            value.copy_(drawn)
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)


def prompt(name: str, seed: int, tokens: int = 7) -> Any:
    """A CONDITIONING that the family takes."""
    generator = torch.Generator().manual_seed(seed)
    options = {"pooled_output": torch.randn(1, 24, generator=generator)}
    if name == "hidream":
        options["conditioning_llama3"] = torch.randn(1, 2, tokens, 40, generator=generator)
    if name in ("lumina2", "z_image"):
        options = {"attention_mask": torch.ones(1, tokens)}  # theirs has no pooled states
    return [[torch.randn(1, tokens, 40, generator=generator), options]]


class FlowVae:
    """Pooled colours in as many channels as the family's latent has."""

    first_stage_model = object()

    def __init__(self, name: str) -> None:
        latents = tiny_flow(name).model.latent_format
        self.latent_channels, self.latent_dim = latents.latent_channels, latents.latent_dimensions
        self.factor = latents.spacial_downscale_ratio

    def spacial_compression_encode(self) -> int:
        return self.factor

    def encode(self, pixels: Any) -> Any:
        pooled = torch.nn.functional.avg_pool2d(pixels.movedim(-1, 1) * 2 - 1, self.factor)
        latent = pooled.repeat(1, self.latent_channels // 3 + 1, 1, 1)[:, : self.latent_channels]
        return latent.unsqueeze(2) if self.latent_dim == 3 else latent

    def decode(self, latent: Any) -> Any:
        flat = latent[:, :, 0] if latent.ndim == 5 else latent
        assert (latent.ndim == 5) == (self.latent_dim == 3)
        pixels = torch.nn.functional.interpolate(flat[:, :3], scale_factor=float(self.factor)) / 2 + 0.5
        pixels = pixels.clamp(0, 1).movedim(1, -1)
        return pixels[:, None] if latent.ndim == 5 else pixels
