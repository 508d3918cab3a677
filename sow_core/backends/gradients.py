"""Gradients through parts of a model to what goes into them; the weights take no part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..errors import SowError
from ..memory import is_out_of_memory


@contextmanager
def differentiable(module: torch.nn.Module) -> Iterator[None]:
    """A module through which gradients flow to its input, and stop at its weights; as before after it.

    Weights that a host has loaded under inference mode cannot take part in autograd: copies stand in for them.
    """
    asked = [p for p in module.parameters() if p.requires_grad]
    stood_in: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for p in asked:
            p.requires_grad_(False)
        with torch.inference_mode(False):
            for part in module.modules():
                tables: tuple[dict[str, Any], ...] = (part._parameters, part._buffers)
                for held in tables:
                    for name, value in held.items():
                        if value is not None and value.is_inference():
                            copy = value.clone()
                            stood_in.append((held, name, value))
                            held[name] = (
                                torch.nn.Parameter(copy, requires_grad=False) if held is part._parameters else copy
                            )
        yield
    finally:
        for held, name, value in stood_in:
            held[name] = value
        for p in asked:
            p.requires_grad_(True)


@contextmanager
def explained(message: str) -> Iterator[None]:
    """What torch raises where something has no gradient becomes a SowError: `message`, its {} the reason."""
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        if is_out_of_memory(error) or isinstance(error, SowError):
            raise
        raise SowError(message.format(" ".join(str(error).split())[:120])) from error


LOSS_SCALE = 2.0**12
"""Keeps the small slopes of a picture's many pixels above the smallest numbers of half precision."""


def slope(x: Tensor, value: Callable[[Tensor], Tensor]) -> Tensor:
    """The gradient of the sum of value(x) [N] with respect to x, float32; also where the caller has switched it off."""
    with torch.inference_mode(False), torch.enable_grad():
        state = x.detach().clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(value(state).float().sum() * LOSS_SCALE, state)
    return gradient.detach().float() / LOSS_SCALE
