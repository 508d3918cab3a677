"""Noise levels and the five formulas that move a latent between them.

A *level* k counts denoise steps from clean (0) to noise (n). The state at level k is the interpolant
``z_k = a_k z_0 + b_k eps``. With it diffusers' variance-preserving latents (a^2 + b^2 = 1), ComfyUI's
variance-exploding ones (a = 1, b = sigma) and flow models (a = 1 - t, b = t) need the same formulas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from torch import Tensor

from ..errors import SowError


@dataclass(frozen=True)
class Schedule:
    """Coefficients per level 0..n: `a` (signal), `b` (noise) and `t`, what the model is told there.

    `t` is the training timestep (0..999) for SD models and the noise time (0..1) for flow models; `t[0]` is never
    given to a model.
    """

    a: tuple[float, ...]
    b: tuple[float, ...]
    t: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.a) == len(self.b) == len(self.t) or len(self.a) < 2:
            raise ValueError("a, b and t need one value per level 0..n, n >= 1")
        if any(x <= 0 for x in self.a):
            raise SowError("This model's schedule reaches zero signal (a = 0); lower the number of steps.")

    @property
    def steps(self) -> int:
        return len(self.a) - 1

    def sigma(self, level: int) -> float:
        """Noise-to-signal ratio b/a: the VE sigma of k-diffusion and ComfyUI."""
        return self.b[level] / self.a[level]

    @classmethod
    def from_alphas_cumprod(
        cls, alphas_cumprod: Sequence[float], steps: int, *, offset: int = 1, final: float | None = None
    ) -> Schedule:
        """The "leading" DDIM grid: t_k = offset + (T // n)(k - 1) for k >= 1 (paper: n = 10, T = 1000).

        `final` is the a^2 of level 0: alphas_cumprod[0] by default (diffusers: set_alpha_to_one=False).
        """
        total = len(alphas_cumprod)
        if not 1 <= steps <= total:
            raise SowError(f"Bad number of steps {steps}: expected 1 to {total}.")
        stride = total // steps
        times = [min(offset + stride * (k - 1), total - 1) for k in range(1, steps + 1)]
        squares = [float(alphas_cumprod[0]) if final is None else final]
        squares += [float(alphas_cumprod[t]) for t in times]
        return cls(
            a=tuple(math.sqrt(s) for s in squares),
            b=tuple(math.sqrt(1.0 - s) for s in squares),
            t=(0.0, *map(float, times)),
        )

    @classmethod
    def from_flow(cls, times: Sequence[float]) -> Schedule:
        """A rectified-flow schedule (a = 1 - t, b = t), t in [0, 1), rising."""
        return cls(a=tuple(1.0 - t for t in times), b=tuple(map(float, times)), t=tuple(map(float, times)))

    @classmethod
    def matched_flow(cls, steps: int, shift: float = 1.0) -> Schedule:
        """The flow schedule whose levels have the noise-to-signal ratios of Stable Diffusion's grid, level 0 clean.

        t / (1 - t) = shift * sqrt(1 / abar - 1): with shift 1 a level means the same share of noise on every model
        (n = 10: levels 5 and 7 are t = .539 and .696), where a flow model's own grid would leave hardly anything of
        the scene at level 7. shift above 1 raises all levels alike, by 2 ln(shift) in log-SNR, as larger canvases want
        it (SD3, arXiv 2403.03206, eq. 23); ours, as the matching is.
        """
        grid = cls.from_alphas_cumprod(_stable_diffusion_alphas(), steps)
        ratios = [shift * grid.sigma(level) for level in range(1, steps + 1)]
        return cls.from_flow([0.0, *(ratio / (1.0 + ratio) for ratio in ratios)])


@cache
def _stable_diffusion_alphas() -> tuple[float, ...]:
    """abar of the 1000 training timesteps: betas from .00085 to .012, linear in their roots."""
    low, high = math.sqrt(0.00085), math.sqrt(0.012)
    kept, products = 1.0, []
    for step in range(1000):
        kept *= 1.0 - (low + (high - low) * step / 999) ** 2
        products.append(kept)
    return tuple(products)


def to_x0(x: Tensor, eps: Tensor, schedule: Schedule, level: int) -> Tensor:
    """The clean latent that the state `x` and the noise `eps` imply: (x - b eps) / a."""
    return (x - schedule.b[level] * eps) / schedule.a[level]


def add_noise(z0: Tensor, noise: Tensor, schedule: Schedule, level: int) -> Tensor:
    """Forward diffusion from clean in one jump: a z0 + b noise."""
    return schedule.a[level] * z0 + schedule.b[level] * noise


def pure_noise(noise: Tensor, schedule: Schedule, level: int) -> Tensor:
    """A start from nothing: noise as large as a state of unit-variance data is at `level`, sqrt(a^2 + b^2).

    1 in a variance-preserving diffusion; less in a flow below t = 1, whose states are smaller than both their ends.
    """
    return math.hypot(schedule.a[level], schedule.b[level]) * noise


def step_std(schedule: Schedule, level: int, target: int, eta: float) -> float:
    """Standard deviation of the fresh noise of a DDIM(eta) step (Song et al. 2021, eq. 16), any (a, b)."""
    a, b = schedule.a[level], schedule.b[level]
    a2, b2 = schedule.a[target], schedule.b[target]
    return eta * b2 * math.sqrt(max(1.0 - (a * b2 / (a2 * b)) ** 2, 0.0))


def ddim_step(
    x: Tensor, eps: Tensor, schedule: Schedule, level: int, target: int, eta: float = 0.0, noise: Tensor | None = None
) -> Tensor:
    """One DDIM step from `level` down to `target`; eta = 1 samples the DDPM posterior.

    `noise` (standard normal, shaped as `x`) is required when eta > 0.
    """
    z0 = to_x0(x, eps, schedule, level)
    std = step_std(schedule, level, target, eta)
    b2 = schedule.b[target]
    out = schedule.a[target] * z0 + math.sqrt(max(b2 * b2 - std * std, 0.0)) * eps
    if std > 0.0:
        if noise is None:
            raise ValueError("eta > 0 needs noise")
        out = out + std * noise
    return out


def invert_step(x: Tensor, eps: Tensor, schedule: Schedule, level: int, target: int) -> Tensor:
    """One DDIM inversion step from `level` up to `target` (the DDIM inversion that the paper starts from).

    `eps` is the model's answer at the *target* timestep: what diffusers >= 0.22 and prompt-to-prompt do.
    """
    return schedule.a[target] * to_x0(x, eps, schedule, level) + schedule.b[target] * eps


def renoise(x: Tensor, noise: Tensor, schedule: Schedule, level: int, target: int) -> Tensor:
    """Forward diffusion between two levels in one jump (paper Eq. 1-2): the cycle's way back up.

    r = a'/a; x' = r x + sqrt(b'^2 - r^2 b^2) noise, which has exactly the marginal of `target`.
    """
    ratio = schedule.a[target] / schedule.a[level]
    fresh = schedule.b[target] ** 2 - (ratio * schedule.b[level]) ** 2
    return ratio * x + math.sqrt(max(fresh, 0.0)) * noise
