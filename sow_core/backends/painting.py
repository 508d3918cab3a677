"""From a layout to pictures on a backend that brings its own VAE: what stands around the engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ..method.backend import Backend
from ..method.condition import Layout
from ..method.encoded import EncodedLayout, check_finite, encode_with
from ..method.engine import generate
from ..method.plan import Plan
from ..method.trace import Event, Result


class Autoencoder(Protocol):
    """The VAE of a backend. Pictures are [B, 3, H, W] in 0..1, latents float32 in the model's scale."""

    def encode(self, image: Tensor) -> Tensor:
        """The mean latent of pictures."""

    def decode(self, latent: Tensor) -> Tensor:
        """The pictures of latents, clamped to 0..1."""


class Painter(Backend, Autoencoder, Protocol):
    """A model with its VAE."""


@dataclass(frozen=True)
class Painted(Result):
    """The engine's result and its pictures: images [N, 3, H, W] in 0..1."""

    images: Tensor


def encode_layout(backend: Autoencoder, layout: Layout, plan: Plan) -> EncodedLayout:
    """The pictures of a layout that the plan reads, encoded. Raises SowError if a latent is not finite."""
    return encode_with(backend.encode, layout, plan.reads)


def decode_latents(backend: Autoencoder, latents: Tensor) -> Tensor:
    """The pictures [N, 3, H, W] in 0..1 of finished latents. Raises SowError if a value is not finite."""
    images = backend.decode(latents)
    check_finite(images, "the decoded picture")
    return images


def paint(
    plan: Plan,
    backend: Painter,
    layout: Layout,
    seeds: Sequence[int],
    progress: Callable[[Event], object] | None = None,
) -> Painted:
    """Encode, `generate`, decode; the trace's seconds have all three."""
    started = time.perf_counter()
    encoded = encode_layout(backend, layout, plan)
    spent = time.perf_counter() - started
    result = generate(plan, backend, encoded, seeds, progress)
    started = time.perf_counter()
    images = decode_latents(backend, result.latents)
    result.trace.add_seconds("encode", spent)
    result.trace.add_seconds("decode", time.perf_counter() - started)
    return Painted(result.latents, result.trace, images)
