"""Trains the denoiser and its text encoder: `python -m tools.demo_model.train_unet --data DATA --out RUN`.

Needs RUN/vae (from train_vae). Latents are encoded once into RUN/latents.npy. eps prediction, min-SNR weights,
10 % empty captions, captions drawn anew for every picture and step, EMA. --cubes, --glasses, --faces,
--lean and --high-noise dwell on what is hard (see emphasis.py). Stops and resumes at any step; RUN/unet,
RUN/text_encoder and RUN/tokenizer hold the result.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from . import checkpoint, denoiser, emphasis, tokenizer, train_vae, world
from .data import DataSet, Truth
from .loop import add_options, fit, start
from .parallel import Ranks
from .progress import bar

EMPTY_CAPTIONS = 0.1
ENDS = ("conv_in", "conv_out", "embedding")


class Model(nn.Module):
    """UNet and text encoder in one, so that one optimiser and one EMA serve both."""

    def __init__(self, unet: nn.Module, text: nn.Module):
        super().__init__()
        self.unet, self.text = unet, text

    def forward(self, x: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        return self.unet(x, t, self.text(ids).last_hidden_state).sample


def plain_attention(unet: nn.Module) -> None:
    """Matrix products instead of the fused kernel, whose bfloat16 backward is slow on CPUs."""
    from diffusers.models.attention_processor import AttnProcessor

    unet.set_attn_processor(AttnProcessor())  # type: ignore[operator]


def build(args: argparse.Namespace, latent_size: int):  # noqa: ANN201
    """(model, tokenizer), new or from --init."""
    if args.init:
        words = tokenizer.build(args.init / "tokenizer")
        unet, text = denoiser.load(args.init)
        from transformers import CLIPTokenizer

        text = denoiser.adopt_tokens(text, CLIPTokenizer.from_pretrained(args.init / "tokenizer").get_vocab(), words)
    else:
        words, size = tokenizer.build(), denoiser.SIZES[args.size]
        unet, text = denoiser.build_unet(size, latent_size), denoiser.build_text(size, words)
    return Model(unet, text), words


def encode_all(data: DataSet, args: argparse.Namespace, ranks: Ranks) -> np.ndarray:
    """Scaled latent means float16 [N,4,h,w], cached in RUN/latents.npy; the ranks share the work."""
    path, part = args.out / "latents.npy", args.out / "latents.part.npy"
    if path.exists():
        return np.load(path, mmap_mode="r")
    count = min(args.limit or len(data), len(data))
    side = data.images.shape[1] // 8
    if ranks.first:
        np.lib.format.open_memmap(part, mode="w+", dtype=np.float16, shape=(count, 4, side, side)).flush()
    ranks.wait()
    latents = np.lib.format.open_memmap(part, mode="r+")
    vae = train_vae.load(args.out / "vae").to(args.device, memory_format=torch.channels_last).eval()
    starts = range(ranks.rank * 64, count, ranks.world * 64)
    with checkpoint.bf16_autocast(args.device, args.device == "cpu"):
        for i in bar(starts, title="encode") if ranks.first else starts:
            z = train_vae.encode_means(vae, data.images[i : min(i + 64, count)], args.device, 64)
            latents[i : i + 64] = (z.float() * train_vae.SCALING_FACTOR).half().numpy()
    latents.flush()
    ranks.wait()
    if ranks.first:
        os.replace(part, path)
    ranks.wait()
    return np.load(path, mmap_mode="r")


def captions(truths: list[Truth], rng: np.random.Generator) -> list[str]:
    return [
        "" if rng.random() < EMPTY_CAPTIONS else world.caption_of(t.portrait, t.things, t.degraded, rng) for t in truths
    ]


def tokens(words, texts: list[str], device: str) -> Tensor:  # noqa: ANN001
    """Ids [B,77], padded as the pipelines do."""
    return words(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids.to(device)


def train(args: argparse.Namespace, ranks: Ranks) -> None:
    torch.manual_seed(args.seed)
    data, device = DataSet(args.data), args.device
    latents = encode_all(data, args, ranks)
    model, words = build(args, latents.shape[-1])
    model.to(device).train()
    plain_attention(model.unet)
    abar = denoiser.alphas_cumprod(device)
    weight = denoiser.min_snr_weight(abar) * emphasis.noise_gain(abar, args.high_noise)

    def loss_of(step: int, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        truths = [data.truths[i] for i in rows]
        ids = tokens(words, captions(truths, rng), device)
        z = torch.from_numpy(np.asarray(latents[rows], np.float32)).to(device)
        noise = torch.from_numpy(rng.standard_normal(z.shape, np.float32)).to(device)
        even, scenes = stratified(rng, truths)
        t = torch.from_numpy(emphasis.noise_levels(even, scenes, args.lean)).to(device)
        a = abar[t].view(-1, 1, 1, 1)
        with checkpoint.bf16_autocast(device, not args.fp32):
            eps = model(a.sqrt() * z + (1 - a).sqrt() * noise, t, ids)
        error = emphasis.weighted((eps.float() - noise).square().mean(1), truths, args.faces)
        return (error * weight[t]).mean()

    chances = emphasis.draw_chances(data.truths[: len(latents)], args.cubes, args.glasses)
    ema = fit(args, ranks, model, "unet", ENDS, len(latents), chances, loss_of)
    if ranks.first:
        finish(model, words, ema, args.out)


def stratified(rng: np.random.Generator, truths: list[Truth]) -> tuple[np.ndarray, np.ndarray]:
    """(even numbers [N] in 0..1, one in each N-th; which pictures are cube scenes): less variance than independent
    draws. The rows must be in no order of their own (sorted, each picture would meet the same noise every time)."""
    count = len(truths)
    scenes = np.array([t.portrait is None for t in truths])
    return (np.arange(count) + rng.random(count)) / count, scenes


def finish(model: Model, words, ema: checkpoint.Ema, out: Path) -> None:  # noqa: ANN001
    """EMA weights as diffusers and transformers folders."""
    from diffusers.models.attention_processor import AttnProcessor2_0

    ema.copy_to(model)
    model.eval()
    model.unet.set_attn_processor(AttnProcessor2_0())  # type: ignore[operator]
    model.unet.save_pretrained(out / "unet")  # type: ignore[operator]
    model.text.save_pretrained(out / "text_encoder")  # type: ignore[operator]
    tokenizer.save(words, out / "tokenizer")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m tools.demo_model.train_unet", description=__doc__)
    add_options(p, steps=8_000)
    p.add_argument("--init", type=Path, help="a diffusers pipeline folder to start from (default: from scratch)")
    p.add_argument("--size", choices=sorted(denoiser.SIZES), default="cpu")
    p.add_argument("--high-noise", type=float, default=0.0, metavar="POWER",
                   help="loss weight max(1, 1/SNR)^POWER; 0: none")
    return p


def main(argv: list[str] | None = None) -> None:
    start(parser().parse_args(argv), train, "unet")


if __name__ == "__main__":
    main()
