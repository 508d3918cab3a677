"""A backend whose exact denoiser is known: data are N(mean, std^2 I), so eps has a closed form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sow_core.method.modulation import AttentionControl
from sow_core.method.schedule import Schedule


def sd_alphas(steps: int = 1000) -> list[float]:
    """Stable Diffusion's scaled_linear betas, cumulated."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, steps, dtype=torch.float64) ** 2
    return torch.cumprod(1.0 - betas, dim=0).tolist()


class GaussianBackend:
    """eps = b (x - a mean) / (a^2 std^2 + b^2); rows shift the mean. Records every call."""

    def __init__(self, std: float = 0.5, means: dict[str, float] | None = None, flow: bool = False) -> None:
        self.flow = flow
        self.device = torch.device("cpu")
        self.std = std
        self.means = {"positive": 0.3, "negative": -0.1, "empty": 0.0, "suppress": 0.2, "diverse": 0.1} | (means or {})
        self.calls: list[dict[str, Any]] = []
        self.encodings = 0
        self.encoded = 0
        """Calls of the VAE, and pictures in them."""
        self.open_sessions = 0
        self.fail_at: int | None = None

    def schedule(self, steps: int, shift: float = 1.0) -> Schedule:
        return Schedule.matched_flow(steps, shift) if self.flow else Schedule.from_alphas_cumprod(sd_alphas(), steps)

    @contextmanager
    def session(self) -> Iterator[None]:
        self.open_sessions += 1
        try:
            yield
        finally:
            self.open_sessions -= 1

    def encode(self, image: Tensor) -> Tensor:
        self.encodings += 1
        self.encoded += len(image)
        z = F.avg_pool2d(image * 2.0 - 1.0, 8)
        return torch.cat([z, z.mean(dim=1, keepdim=True)], dim=1)

    def decode(self, latent: Tensor) -> Tensor:
        return (F.interpolate(latent[:, :3], scale_factor=8.0) / 2.0 + 0.5).clamp(0.0, 1.0)

    def predict(
        self,
        x: Tensor,
        schedule: Schedule,
        level: int,
        rows: Sequence[str],
        control: AttentionControl | None = None,
        embedded: bool = True,
    ) -> Tensor:
        call = {"level": level, "rows": tuple(rows), "shape": tuple(x.shape), "control": control, "x": x}
        self.calls.append(call | {"embedded": embedded})
        if self.fail_at == len(self.calls):
            raise RuntimeError("the model broke")
        a, b = schedule.a[level], schedule.b[level]
        gain = b / (a * a * self.std**2 + b * b)
        return torch.stack([gain * (x - a * self.means[row]) for row in rows])
