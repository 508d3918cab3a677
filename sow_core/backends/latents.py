"""Between pictures and the scale that a model works in: what differs between VAEs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def channels(vae: Any) -> int:
    """Of a latent, as the model has it."""
    return int(vae.config.get("latent_channels") or vae.config.z_dim) * (4 if _is_patched(vae) else 1)


def factor(vae: Any) -> int:
    """px per latent cell of the model."""
    return 2 ** (len(vae.config.get("block_out_channels") or vae.config.dim_mult) - 1) * (2 if _is_patched(vae) else 1)


def encode(vae: Any, pixels: Tensor) -> Tensor:
    """The mean latent [B, C, h, w] of pictures [B, 3, H, W] in -1..1, in the model's scale, float32."""
    video = _is_video(vae)
    z = vae.encode(pixels[:, :, None] if video else pixels).latent_dist.mode().float()
    if video:
        mean, std = _statistics(vae, z)
        return (z[:, :, 0] - mean) / std
    if _is_patched(vae):
        mean, std = _running(vae, z)
        return (F.pixel_unshuffle(z, 2) - mean) / std
    shift = vae.config.get("shift_factor")
    return (z if shift is None else z - shift) * vae.config.scaling_factor


def decode(vae: Any, latent: Tensor) -> Tensor:
    """The pictures [B, 3, H, W], about -1..1, of latents in the model's scale."""
    if _is_video(vae):
        mean, std = _statistics(vae, latent)
        return vae.decode((latent * std + mean).to(vae.dtype)[:, :, None]).sample[:, :, 0]
    if _is_patched(vae):
        mean, std = _running(vae, latent)
        return vae.decode(F.pixel_shuffle(latent * std + mean, 2).to(vae.dtype)).sample
    shift, z = vae.config.get("shift_factor"), latent / vae.config.scaling_factor
    return vae.decode((z if shift is None else z + shift).to(vae.dtype)).sample


def _is_video(vae: Any) -> bool:
    """Whether its latents have an axis of frames: Qwen-Image's."""
    return "z_dim" in vae.config


def _is_patched(vae: Any) -> bool:
    """Whether 2x2 of its cells, normalized channel by channel, are one of the model's: Flux.2's."""
    return "batch_norm_eps" in vae.config


def _running(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel of a cell of the model, [C, 1, 1], from the weights."""
    mean, var = (x.to(like.device, torch.float32)[:, None, None] for x in (vae.bn.running_mean, vae.bn.running_var))
    return mean, (var + vae.config.batch_norm_eps).sqrt()


def _statistics(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel, [C, 1, 1]."""
    return tuple(torch.tensor(vae.config[k]).to(like.device)[:, None, None] for k in ("latents_mean", "latents_std"))  # type: ignore[return-value]
