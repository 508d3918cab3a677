"""Methods of others as plans of the engine's own ops: same model, same steps, same noise, nothing reimplemented."""

from __future__ import annotations

import torch

from sow_core.method.box import Box
from sow_core.method.condition import Condition, Layout, make_layout
from sow_core.method.config import Fill, SowConfig
from sow_core.method.guidance import Guidance
from sow_core.method.plan import (
    Decode,
    Denoise,
    Encode,
    NoiseTrajectory,
    Op,
    Place,
    Plan,
    Renoise,
    SeedCanvas,
)


def _config(steps: int, guidance: float, fill: Fill = "gray") -> SowConfig:
    """What the engine reads beside the ops: the grid, the trajectory's kind, what surrounds the condition."""
    return SowConfig(
        steps=steps, hi=steps, lo=steps - 1, cycles=0, preserve=(), guidance=guidance, unguided_tail=0,
        trajectory="noise_fresh", init="none", fill=fill, modulation=None,
    )  # fmt: skip


def text_to_image(steps: int, guidance: float, negative: str = "negative") -> Plan:
    """Deterministic DDIM from pure noise; the picture to keep is not looked at."""
    ops: list[Op] = [Encode(canvas=False), SeedCanvas("none", steps)]
    ops += [Denoise(k, 0.0, Guidance(guidance, negative=negative), False, None) for k in range(steps, 0, -1)]
    return Plan(_config(steps, guidance), (*ops, Decode()))


def sdedit(steps: int, level: int, guidance: float, negative: str = "negative") -> Plan:
    """SDEdit (Meng et al. 2022): the pasted canvas noised to `level`, then denoised."""
    ops: list[Op] = [Encode(canvas=True), SeedCanvas("noise", level)]
    ops += [Denoise(k, 0.0, Guidance(guidance, negative=negative), False, None) for k in range(level, 0, -1)]
    return Plan(_config(steps, guidance), (*ops, Decode()))


def replacement(steps: int, guidance: float, rounds: int = 1, negative: str = "negative") -> Plan:
    """Inpainting by replacement: at every level the known cells are the picture's, freshly noised (RePaint,
    Lugmayr et al. 2022, Algorithm 1; without resampling: blended diffusion, Avrahami et al. 2022).

    rounds: resampling; each step is undone by forward diffusion and repeated that many times (jump length 1).
    Ancestral steps (eta 1), and the picture itself in the clean latent, encoded without gray at its edge, as ours.
    """
    guide = Guidance(guidance, negative=negative)
    ops: list[Op] = [Encode(canvas=False), NoiseTrajectory(fresh=True), SeedCanvas("none", steps)]
    for k in range(steps, 0, -1):
        for again in range(rounds):
            ops += [Place(k, None), Denoise(k, 1.0 if k > 1 else 0.0, guide, False, None)]
            if again < rounds - 1:
                ops.append(Renoise(k - 1, k, 0, None))
    return Plan(_config(steps, guidance, "extend"), (*ops, Place(0, None), Decode()))


def blank_layout(size: int) -> Layout:
    """A layout for plans that look at no condition: the engine wants one all the same."""
    gray = Condition(torch.full((3, 8, 8), 0.5), torch.ones(8, 8), Box(0, 0, 8, 8))
    return make_layout([gray], size, size)
