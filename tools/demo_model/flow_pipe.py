"""Plain sampling with the flow transformer, called like a diffusers pipeline: what `evaluate` measures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from . import flow, tokenizer


class FlowPipe:
    """transformer: a folder of SD3Transformer2DModel; base: the demo model, whose autoencoder and text encoder it
    shares."""

    def __init__(self, transformer: Path, base: Path, device: str = "cpu"):
        from diffusers import AutoencoderKL, SD3Transformer2DModel

        full = {"torch_dtype": torch.float32}
        self.device = torch.device(device)
        self.net = SD3Transformer2DModel.from_pretrained(transformer, **full).to(self.device).eval()
        self.vae = AutoencoderKL.from_pretrained(base / "vae", **full).to(self.device).eval()
        self.words = flow.Words(base).to(self.device)

    @torch.no_grad()
    def __call__(
        self, prompt: list[str], *, num_inference_steps: int, guidance_scale: float,
        generator: Sequence[torch.Generator], negative_prompt: list[str], output_type: str = "np",
    ) -> SimpleNamespace:  # fmt: skip
        """Euler from t = 1 to 0 in even steps; .images float [N,H,W,3] in 0..1."""
        side = self.net.config.sample_size
        x = torch.stack([torch.randn(4, side, side, generator=g) for g in generator]).to(self.device)
        texts = self.words([*negative_prompt, *prompt], tokenizer.MAX_LENGTH)
        times = torch.linspace(1, 0, num_inference_steps + 1)
        for now, then in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
            away, toward = self.velocity(x.repeat(2, 1, 1, 1), now, texts).chunk(2)
            x = x + (then - now) * (away + guidance_scale * (toward - away))
        pictures = (self.vae.decode(x / self.vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)
        return SimpleNamespace(images=pictures.permute(0, 2, 3, 1).cpu().numpy())

    def velocity(self, x: Tensor, t: float, texts: tuple[Tensor, Tensor]) -> Tensor:
        """eps - z at noise time t, [N,4,h,w]."""
        states, pooled = texts
        told = torch.full((len(x),), 1000 * t, device=x.device)
        return self.net(hidden_states=x, encoder_hidden_states=states, pooled_projections=pooled, timestep=told,
                        return_dict=False)[0]  # fmt: skip

    @torch.no_grad()
    def there_and_back(self, images: Tensor, captions: list[str], steps: int) -> Tensor:
        """Pictures [N,3,H,W] in 0..1 inverted to pure noise at guidance 1 and sampled back, both by Euler on the same
        grid; on the way up the network is asked at the destination, as DDIM inversion does."""
        scale = self.vae.config.scaling_factor
        x = self.vae.encode(images * 2 - 1).latent_dist.mean * scale
        texts = self.words(captions, tokenizer.MAX_LENGTH)
        times = np.linspace(0, 1, steps + 1).tolist()
        for below, above in zip(times[:-1], times[1:], strict=True):
            x = x + (above - below) * self.velocity(x, above, texts)
        for below, above in zip(times[-2::-1], times[:0:-1], strict=True):
            x = x + (below - above) * self.velocity(x, above, texts)
        return (self.vae.decode(x / scale).sample / 2 + 0.5).clamp(0, 1)
