"""Between what a VAE gives and the scale that its model works in, as each VAE's config says."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def to_model(vae: Any, z: Tensor) -> Tensor:
    """A VAE's mean [B, C, h, w] in the model's scale."""
    shift = vae.config.get("shift_factor")
    return (z if shift is None else z - shift) * vae.config.scaling_factor


def from_model(vae: Any, latent: Tensor) -> Tensor:
    """The inverse of `to_model`."""
    shift, z = vae.config.get("shift_factor"), latent / vae.config.scaling_factor
    return z if shift is None else z + shift
