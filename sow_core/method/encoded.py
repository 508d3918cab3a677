"""A layout in latents: what the engine starts from. The VAE stays with whoever runs the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import SowError
from .condition import Layout
from .plan import Encode


@dataclass(frozen=True)
class EncodedLayout:
    """A layout and the mean latents of those of its pictures that a run reads, float32.

    crops: one [1, C, h/8, w/8] per condition, or none; canvas: [1, C, H/8, W/8], or None. For the engine they are in
    the model's scale (unit variance) on its device; `mapped` brings them there from another one.
    Raises SowError if a latent is not finite, ValueError for crops that are not the layout's.
    """

    layout: Layout
    crops: tuple[Tensor, ...]
    canvas: Tensor | None

    def __post_init__(self) -> None:
        if len(self.crops) not in (0, len(self.layout.conditions)) or not self.latents:
            raise ValueError(f"expected a latent of every condition or of the canvas, got {len(self.crops)} crops")
        for latent in self.latents:
            check_finite(latent, "the VAE's encoding")

    @property
    def latents(self) -> tuple[Tensor, ...]:
        return self.crops if self.canvas is None else (*self.crops, self.canvas)

    @property
    def channels(self) -> int:
        return self.latents[0].shape[1]

    def mapped(self, change: Callable[[Tensor], Tensor]) -> EncodedLayout:
        """The same layout with every latent through `change`: into another scale, or onto another device."""
        canvas = None if self.canvas is None else change(self.canvas)
        return replace(self, crops=tuple(map(change, self.crops)), canvas=canvas)


def encode_with(encode: Callable[[Tensor], Tensor], layout: Layout, reads: Encode) -> EncodedLayout:
    """The pictures that a plan `reads`, through `encode`: [n, 3, H, W] in 0..1 -> [n, C, H/8, W/8].

    Crops of one size go through it in one call.
    """
    by_size: dict[tuple[int, ...], list[int]] = {}
    pictures = [c.filled for c in layout.conditions] if reads.crops else []
    for index, picture in enumerate(pictures):
        by_size.setdefault(tuple(picture.shape), []).append(index)
    crops: dict[int, Tensor] = {}
    for indices in by_size.values():
        made = encode(torch.stack([pictures[i] for i in indices]))
        crops.update({i: made[n : n + 1] for n, i in enumerate(indices)})
    canvas = encode(layout.filled[None]) if reads.canvas else None
    return EncodedLayout(layout, tuple(crops[i] for i in range(len(pictures))), canvas)


def check_finite(x: Tensor, what: str) -> None:
    """Raises SowError if a value is NaN or infinite; `what` is what the error calls it."""
    if not torch.isfinite(x).all():
        raise SowError(
            f"NaN or infinite values in {what}: the model's weights are damaged or its precision is too low; "
            "try float32, or another file of the model."
        )
