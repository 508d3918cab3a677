"""The paper's toy experiment: two inverted halves side by side, attention between them raised or cut.

Two pictures are inverted; the left half of one and the right half of the other are put together at a noise level
and denoised. Left is the condition C, right the related region R: S keeps C from reading R, E makes R read C. Where
attention flows, the halves grow into each other; one-way flow changes one half and leaves the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sow_core.backends.diffusers import DiffusersBackend
from sow_core.method.modulation import AttentionControl, Modulation
from sow_core.method.regions import Regions
from sow_core.method.schedule import ddim_step, invert_step

STEPS = 20
LEVELS = (8, 12, 16)
"""Where the halves meet, of STEPS: t = 351, 551, 751."""


@dataclass(frozen=True)
class Flow:
    """name; both strengths in nats, without decay, gate or distance."""

    name: str
    suppress: float
    enhance: float


FLOWS = (
    Flow("as it is", 0, 0),
    Flow("left cut off from right", 20, 0),
    Flow("right reads left more", 0, 3),
    Flow("both: one way", 20, 3),
)


@torch.no_grad()
def invert(backend: DiffusersBackend, image: Tensor, prompt: str, level: int) -> Tensor:
    """DDIM inversion without guidance of a picture [3,H,W] to `level`: [1,C,h,w]."""
    schedule = backend.schedule(STEPS)
    backend.set_prompts({"positive": prompt})
    z = backend.encode(image[None])
    for k in range(level):
        z = invert_step(z, backend.predict(z, schedule, k + 1, ("positive",))[0], schedule, k, k + 1)
    return z


@torch.no_grad()
def meet(backend: DiffusersBackend, left: Tensor, right: Tensor, prompt: str, level: int, flow: Flow) -> Tensor:
    """The halves of two inverted latents, denoised together from `level`: a picture [3,H,W]."""
    schedule = backend.schedule(STEPS)
    height, width = left.shape[-2:]
    mask = torch.zeros(height, width)
    mask[:, : width // 2] = 1
    constant = Modulation(
        flow.suppress, flow.enhance, suppress_rate=0, enhance_rate=0, distance_rate=0, threshold=0, rows="all"
    )
    control = AttentionControl(Regions(mask[None], 1 - mask[None]), constant, 1, backend.device)
    x = torch.where(mask.to(left) > 0.5, left, right)
    backend.set_prompts({"positive": prompt})
    with backend.session():
        for k in range(level, 0, -1):
            control.begin(0)
            eps = backend.predict(x, schedule, k, ("positive",), control if flow.suppress or flow.enhance else None)[0]
            x = ddim_step(x, eps, schedule, k, k - 1)
    return backend.decode(x)[0]


def distances(image: Tensor, left: Tensor, right: Tensor) -> dict[str, float]:
    """How far each half has moved from the picture that it came from (rms, 0..1)."""
    half = image.shape[-1] // 2

    def rms(a: Tensor, b: Tensor) -> float:
        return float((a - b).square().mean().sqrt())

    return {"left": rms(image[..., :half], left[..., :half]), "right": rms(image[..., half:], right[..., half:])}
