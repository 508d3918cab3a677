"""The five looks of a portrait. Each takes the finished drawing (uint8 [H,W,3]) and gives one back."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

Rng = np.random.Generator


def _noise(rng: Rng, size: int, cells: int) -> np.ndarray:
    """Smooth noise in about -1..1, [size,size], with `cells` bumps along a side."""
    small = rng.standard_normal((cells, cells)).astype(np.float32)
    return np.asarray(Image.fromarray(small, "F").resize((size, size), Image.Resampling.BICUBIC))


def photo(rgb: np.ndarray, mask: np.ndarray, rng: Rng) -> np.ndarray:
    """Light from the upper left on the face, and darker corners."""
    n = rgb.shape[0]
    y, x = np.mgrid[0:n, 0:n].astype(np.float32) / n
    vignette = 1.04 - 0.22 * ((x - 0.5) ** 2 + (y - 0.5) ** 2) * 2
    ys, xs = np.nonzero(mask > 127)
    light = np.ones_like(vignette)
    if len(xs):
        cx, cy, w = xs.mean() / n, ys.mean() / n, (xs.max() - xs.min() + 1) / n
        slope = np.clip(((x - cx) + 0.6 * (y - cy)) / w, -0.7, 0.7)
        light = 1 - 0.17 * slope * (mask / 255.0)
    return np.clip(rgb * (vignette * light)[..., None], 0, 255).astype(np.uint8)


def flat(rgb: np.ndarray, mask: np.ndarray, rng: Rng) -> np.ndarray:
    """Already flat and outlined by the canvas."""
    return rgb


def pencil(rgb: np.ndarray, mask: np.ndarray, rng: Rng) -> np.ndarray:
    """Gray: dark edges, light tone, paper."""
    n = rgb.shape[0]
    image = Image.fromarray(rgb).convert("L")
    gray = np.asarray(image, np.float32)
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(n / 52)), np.float32)
    edge = np.clip(gray / np.maximum(soft, 1) * 1.02, 0, 1)
    tone = 0.62 + 0.38 * gray / 255
    value = 250 * edge**1.6 * tone**0.9
    paper = np.array([1.0, 0.99, 0.955])
    return np.clip(value[..., None] * paper, 0, 255).astype(np.uint8)


def watercolor(rgb: np.ndarray, mask: np.ndarray, rng: Rng) -> np.ndarray:
    """Pale washes with wobbly edges that fade into white paper."""
    n = rgb.shape[0]
    y, x = np.mgrid[0:n, 0:n]
    amount = n / 128 * 1.3
    u = np.clip(x + amount * _noise(rng, n, 14), 0, n - 1).astype(int)
    v = np.clip(y + amount * _noise(rng, n, 14), 0, n - 1).astype(int)
    wash = rgb[v, u].astype(np.float32)
    wash = 255 - (255 - wash) * (0.74 + 0.10 * _noise(rng, n, 6))[..., None]
    border = np.minimum(np.minimum(x, n - 1 - x), np.minimum(y, n - 1 - y)) / n * 128
    keep = np.clip((border + 2.5 * _noise(rng, n, 12) - 4) / 3, 0, 1)[..., None]
    return np.clip(wash * keep + np.array([252, 251, 246]) * (1 - keep), 0, 255).astype(np.uint8)


def pixel(rgb: np.ndarray, mask: np.ndarray, rng: Rng) -> np.ndarray:
    """Blocks of 4 px (of 128), few tones."""
    n = rgb.shape[0]
    small = np.asarray(Image.fromarray(rgb).reduce(n // 32), np.float32)
    small = np.round(small / 17) * 17
    return np.clip(small, 0, 255).astype(np.uint8).repeat(n // 32, 0).repeat(n // 32, 1)


APPLY = {f.__name__: f for f in (photo, flat, pencil, watercolor, pixel)}


def degrade(rgb: np.ndarray, rng: Rng) -> np.ndarray:
    """A spoilt copy: blurred by a small size and scale, smeared, with coarse noise."""
    n = rgb.shape[0]
    small = int(rng.integers(12, 30)) * n // 128
    image = Image.fromarray(rgb).resize((small, small), Image.Resampling.BILINEAR)
    out = np.asarray(image.resize((n, n), Image.Resampling.BILINEAR), np.float32)
    grain = np.stack([_noise(rng, n, 40) for _ in range(3)], -1)
    out = (out - 128) * rng.uniform(0.55, 0.9) + 128 + rng.uniform(4, 12) * grain
    return np.clip(out, 0, 255).astype(np.uint8)
