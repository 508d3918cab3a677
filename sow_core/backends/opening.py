"""From a model's name to what the engine runs on."""

from __future__ import annotations

from pathlib import Path

import torch

from .base import ModelBackend
from .components import Components, Parts
from .loading import load


def open_backend(
    model: str | Path = "demo",
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    download: bool = False,
    config: str | Path | None = None,
) -> ModelBackend:
    """See `loading.load` for what `model` and `config` may be, and the errors."""
    return backend_of(load(model, dtype=dtype, download=download, config=config), device)


def backend_of(parts: Parts, device: str | torch.device = "cpu") -> ModelBackend:
    """The backend of loaded parts: a UNet's or a transformer's."""
    if isinstance(parts, Components):
        from .diffusers import DiffusersBackend

        return DiffusersBackend(parts, device)
    from .transformer import TransformerBackend

    return TransformerBackend(parts, device)
