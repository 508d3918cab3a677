"""How well the kept region was kept, and how well it joins its surroundings: numbers without a judge."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .backend import Backend
from .condition import Layout, kept_mask
from .noise import NoiseSource
from .schedule import add_noise


def region_error(image: Tensor, layout: Layout) -> float:
    """Root mean square difference to the pasted pictures inside the mask, 0..1, of an image [3, H, W]."""
    mask = kept_mask(layout)
    difference = (image.cpu() - layout.canvas).square().mean(dim=0)
    return math.sqrt(float((difference * mask).sum() / mask.sum()))


def seam_contrast(image: Tensor, layout: Layout) -> float:
    """Mean colour step across the mask's border, over the mean step elsewhere near it.

    1 means that the border shows no more than the picture's own texture; hard pastes have several.
    Steps are absolute differences of neighbouring pixels, mean over channels.
    """
    mask = kept_mask(layout)
    pixels = image.cpu()
    across, along = [], []
    band = F.max_pool2d(_edge(mask)[None, None], 17, stride=1, padding=8)[0, 0] > 0
    for axis in (1, 2):
        step = pixels.diff(dim=axis).abs().mean(dim=0)
        border = mask.diff(dim=axis - 1).abs() > 0.5
        near = band[1:, :] if axis == 1 else band[:, 1:]
        across.append(step[border])
        along.append(step[near & ~border])
    border_steps, other_steps = torch.cat(across), torch.cat(along)
    if not len(border_steps) or not len(other_steps):
        return 1.0
    return float(border_steps.mean() / other_steps.mean().clamp(min=1e-6))


def _edge(mask: Tensor) -> Tensor:
    return F.max_pool2d(mask[None, None], 3, 1, 1)[0, 0] + F.max_pool2d(-mask[None, None], 3, 1, 1)[0, 0]


def seam_surprise(
    latents: Tensor, layout: Layout, backend: Backend, steps: int = 10, draws: int = 4, seed: int = 0
) -> list[float]:
    """The model's own denoising loss just outside the kept region, per image: high where the join is unlikely.

    latents: of the pictures, encoded anew: [N, C, h, w] in the model's scale. Mean squared error of eps over a band
    of two cells around the condition, under the row "positive", over the levels of t = 101 to 501 and `draws`
    noises shared by all images. The colour step across a border is blind to a second, displaced head; this is
    not. Costs 5 x draws unguided calls.
    """
    schedule = backend.schedule(steps)
    with torch.no_grad(), backend.session():
        noise = NoiseSource([seed], latents.device)
        inside = layout.regions.any_condition.to(latents)[None, None]
        band = F.max_pool2d(inside, 5, stride=1, padding=2) - inside
        total = torch.zeros(len(latents), device=latents.device)
        levels = range(2, 7)
        for level in levels:
            for _ in range(draws):
                eps = noise.draw(latents.shape[1:], [0])
                x = add_noise(latents, eps, schedule, level)
                error = (backend.predict(x, schedule, level, ("positive",))[0] - eps).square().mean(dim=1, keepdim=True)
                total += (error * band).sum(dim=(1, 2, 3)) / band.sum().clamp(min=1.0)
    return (total / (len(levels) * draws)).tolist()


def psnr(error: float) -> float:
    """Peak signal-to-noise ratio in dB of a root mean square error on 0..1."""
    return math.inf if error <= 0 else -20.0 * math.log10(error)
