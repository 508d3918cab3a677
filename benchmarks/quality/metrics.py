"""Numbers that need no judge: what the kept region lost, and how it joins its surroundings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sow_core.backends.base import ModelBackend
from sow_core.method.condition import Layout, kept_mask
from sow_core.method.fidelity import psnr, region_error, seam_contrast


def region(image: Tensor, layout: Layout) -> dict[str, float]:
    """region_rms 0..1 and region_psnr dB inside the mask; seam_contrast across its border (1: none visible)."""
    error = region_error(image, layout)
    return {
        "region_rms": error,
        "region_psnr": psnr(max(error, 1e-6)),
        "seam_contrast": seam_contrast(image, layout),
        "gray_halo": gray_halo(image, layout),
    }


def gray_halo(image: Tensor, layout: Layout, width: int = 4, tolerance: float = 0.06) -> float:
    """Share of the `width` px around the mask that still have the canvas's gray, 0..1."""
    mask = kept_mask(layout)
    grown = F.max_pool2d(mask[None, None], 2 * width + 1, stride=1, padding=width)[0, 0]
    ring = (grown - mask) > 0.5
    if not ring.any():
        return 0.0
    gray = (image - 128 / 255).abs().amax(dim=0) < tolerance
    return float(gray[ring].float().mean())


def autoencoder(backend: ModelBackend, layout: Layout) -> float:
    """region_rms of the pasted canvas merely encoded and decoded: no latent method can do better by much."""
    again = backend.decode(backend.encode(layout.filled[None]))[0]
    return region_error((again * 255).round() / 255, layout)


def spread(values: list[float]) -> dict[str, float]:
    """Mean and the standard error of the mean."""
    x = torch.tensor(values, dtype=torch.float64)
    error = float(x.std() / len(x) ** 0.5) if len(x) > 1 else float("nan")
    return {"mean": float(x.mean()), "se": error, "n": len(values)}
