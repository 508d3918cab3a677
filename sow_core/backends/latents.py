"""Between pictures and the scale that a model works in: what differs between VAEs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def channels(vae: Any) -> int:
    """Of a latent."""
    return int(vae.config.get("latent_channels") or vae.config.z_dim)


def factor(vae: Any) -> int:
    """px per latent cell."""
    return 2 ** (len(vae.config.get("block_out_channels") or vae.config.dim_mult) - 1)


def encode(vae: Any, pixels: Tensor) -> Tensor:
    """The mean latent [B, C, h, w] of pictures [B, 3, H, W] in -1..1, in the model's scale, float32."""
    video = _is_video(vae)
    z = vae.encode(pixels[:, :, None] if video else pixels).latent_dist.mode().float()
    if video:
        mean, std = _statistics(vae, z)
        return (z[:, :, 0] - mean) / std
    shift = vae.config.get("shift_factor")
    return (z if shift is None else z - shift) * vae.config.scaling_factor


def decode(vae: Any, latent: Tensor) -> Tensor:
    """The pictures [B, 3, H, W], about -1..1, of latents in the model's scale."""
    if _is_video(vae):
        mean, std = _statistics(vae, latent)
        return vae.decode((latent * std + mean).to(vae.dtype)[:, :, None]).sample[:, :, 0]
    shift, z = vae.config.get("shift_factor"), latent / vae.config.scaling_factor
    return vae.decode((z if shift is None else z + shift).to(vae.dtype)).sample


def _is_video(vae: Any) -> bool:
    """Whether its latents have an axis of frames: Qwen-Image's."""
    return "z_dim" in vae.config


def _statistics(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel, [C, 1, 1]."""
    return tuple(torch.tensor(vae.config[k]).to(like.device)[:, None, None] for k in ("latents_mean", "latents_std"))  # type: ignore[return-value]
