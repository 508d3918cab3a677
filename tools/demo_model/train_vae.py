"""Trains the autoencoder: `python -m tools.demo_model.train_vae --data DATA --out RUN`.

AutoencoderKL (Rombach et al. 2022) with f = 8 and 4 latent channels. L1, squared and gradient error, weighted
up on faces and objects, and a small KL term (2e-5: at 1e-4 a latent channel dies). At the end the latents are
standardised per channel by folding the scale into quant_conv and post_quant_conv, so that Stable Diffusion's
scaling_factor of 0.18215 gives unit variance. Stops and resumes at any step; RUN/vae holds the result.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import checkpoint
from .data import DataSet, batch_indices
from .muon import Muon, split_parameters
from .parallel import Ranks, launch
from .progress import bar

SCALING_FACTOR = 0.18215
ENDS = ("encoder.conv_in", "encoder.conv_out", "decoder.conv_out", "quant_conv")


def build(width: float, size: int):  # noqa: ANN201 - diffusers is imported late
    """A new autoencoder. Width 1 has 1.6 M parameters (for 128 px on a CPU), 1.5 about 3.6 M."""
    from diffusers import AutoencoderKL

    channels = tuple(int(round(c * width / 8) * 8) for c in (16, 32, 64, 96))
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=channels,
        layers_per_block=1,
        norm_num_groups=1,
        mid_block_add_attention=False,
        sample_size=size,
        scaling_factor=SCALING_FACTOR,
    )


def load(folder: Path | str):  # noqa: ANN201
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32)


def weight_map(boxes: list[tuple[tuple[float, float, float, float], ...]], size: int, gain: float) -> Tensor:
    """[B,1,size,size]: 1 everywhere, 1 + gain inside the boxes."""
    w = np.ones((len(boxes), 1, size, size), np.float32)
    for i, row in enumerate(boxes):
        for box in row:
            x0, y0, x1, y1 = (int(round(v * size / 128)) for v in box)
            w[i, :, max(y0, 0) : y1, max(x0, 0) : x1] = 1 + gain
    return torch.from_numpy(w)


def loss_of(y: Tensor, x: Tensor, mean: Tensor, logvar: Tensor, w: Tensor, kl_weight: float) -> Tensor:
    """Weighted L1 + 2 squared + 0.3 gradient error per value, plus the KL to a unit normal per value."""
    d = y - x
    total = w.mean()
    main = (w * (d.abs() + 2 * d * d)).mean() / total
    gx, gy = d[..., 1:] - d[..., :-1], d[..., 1:, :] - d[..., :-1, :]
    edges = ((w[..., 1:] * gx.abs()).mean() + (w[..., 1:, :] * gy.abs()).mean()) / total
    kl = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
    return main + 0.3 * edges + kl_weight * kl


@torch.no_grad()
def standardize(vae, latents: Tensor) -> None:  # noqa: ANN001
    """Folds (z - mean) / std into quant_conv and its inverse into post_quant_conv; `latents` [N,4,h,w]
    are means from the encoder as it is. Afterwards scaling_factor * latents has mean 0 and variance 1."""
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    gain = 1 / (std * SCALING_FACTOR)
    q, p, n = vae.quant_conv, vae.post_quant_conv, len(mean)
    q.weight[:n] *= gain.view(-1, 1, 1, 1)
    q.bias[:n].sub_(mean).mul_(gain)
    q.bias[n:] += 2 * gain.log()
    p.bias += (p.weight[:, :, 0, 0] * mean).sum(1)
    p.weight /= gain.view(1, -1, 1, 1)


@torch.no_grad()
def encode_means(vae, images: np.ndarray, device: str, batch: int = 32) -> Tensor:  # noqa: ANN001
    """Unscaled latent means [N,4,h,w] of uint8 pictures [N,H,W,3]."""
    parts = [
        vae.encode(checkpoint.to_tensor(np.asarray(images[i : i + batch]), device)).latent_dist.mean.cpu()
        for i in range(0, len(images), batch)
    ]
    return torch.cat(parts)


def train(args: argparse.Namespace, ranks: Ranks) -> None:
    torch.manual_seed(args.seed)
    data = DataSet(args.data)
    size, device = data.images.shape[1], args.device
    vae = (load(args.init) if args.init else build(args.width, size)).to(device, memory_format=torch.channels_last)
    matrices, others = split_parameters(vae.named_parameters(), ENDS)
    optimizer = Muon(matrices, others, lr=args.lr)
    ema = checkpoint.Ema(vae, 0.998)
    path, start = args.out / "vae.pt", 0
    if state := checkpoint.load(path):
        vae.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        ema.load_state(state["ema"])
        start = state["step"]
    log = checkpoint.Log(args.out / "vae.log")
    params, saved, mean_loss = list(vae.parameters()), time.time(), 0.0
    each = args.batch // ranks.world
    steps = range(start, args.steps)
    for step in bar(steps, args.steps, "vae", start) if ranks.first else steps:
        optimizer.scale_lr(checkpoint.trapezoid(step, args.steps))
        mine = slice(ranks.rank * each, (ranks.rank + 1) * each)
        rows = np.sort(batch_indices(len(data), args.batch, step, args.seed)[mine])
        x = checkpoint.to_tensor(data.images[rows], device)
        w = weight_map([data.truths[i].weight_boxes for i in rows], size, args.face_gain).to(device)
        torch.manual_seed(args.seed + step * ranks.world + ranks.rank)
        with checkpoint.bf16_autocast(device, not args.fp32):
            latent = vae.encode(x).latent_dist
            y = vae.decode(latent.sample()).sample
        # The latents carry Stable Diffusion's scale from the start, so that the KL does not have to find it.
        s = SCALING_FACTOR if args.init else 1.0
        mean, logvar = latent.mean.float() * s, latent.logvar.float() + 2 * float(np.log(s))
        loss = loss_of(y.float(), x, mean, logvar, w, args.kl)
        loss.backward()
        ranks.average_gradients(params)
        norm = torch.nn.utils.clip_grad_norm_(params, 1.0)
        if torch.isfinite(norm):
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        ema.update(vae)
        mean_loss += (loss.item() - mean_loss) / min(step - start + 1, 50)
        if ranks.first and (step + 1) % 50 == 0:
            log.write(step=step + 1, loss=mean_loss, z_std=[round(v, 3) for v in mean.std((0, 2, 3)).tolist()])
        if ranks.first and (time.time() - saved > args.save_every or step + 1 == args.steps):
            checkpoint.save(path, {"model": vae.state_dict(), "optimizer": optimizer.state_dict(), "ema": ema.state(),
                                   "step": step + 1})  # fmt: skip
            saved = time.time()
    if ranks.first:
        finish(vae, ema, data, args)


def finish(vae, ema: checkpoint.Ema, data: DataSet, args: argparse.Namespace) -> None:  # noqa: ANN001
    """EMA weights, standardised latents, saved as a diffusers folder."""
    ema.copy_to(vae)
    vae.eval()
    standardize(vae, encode_means(vae, data.images[:1024], args.device).to(args.device))
    z = encode_means(vae, data.images[:256], args.device) * SCALING_FACTOR
    psnr = reconstruction_psnr(vae, data.images[:256], args.device)
    checkpoint.Log(args.out / "vae.log").write(
        final=True, train_psnr=psnr, mean=z.mean((0, 2, 3)).tolist(), std=z.std((0, 2, 3)).tolist()
    )
    vae.to(memory_format=torch.contiguous_format).save_pretrained(args.out / "vae")


@torch.no_grad()
def reconstruction_psnr(vae, images: np.ndarray, device: str, batch: int = 32) -> float:  # noqa: ANN001
    """Mean PSNR in dB over pictures, from latent means."""
    out = []
    for i in range(0, len(images), batch):
        x = checkpoint.to_tensor(np.asarray(images[i : i + batch]), device)
        y = vae.decode(vae.encode(x).latent_dist.mean).sample.clamp(-1, 1)
        out.append(-10 * torch.log10(F.mse_loss(y, x, reduction="none").mean((1, 2, 3)) / 4))
    return float(torch.cat(out).mean())


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m tools.demo_model.train_vae", description=__doc__)
    p.add_argument("--data", type=Path, default=Path("out/demo_model/data"))
    p.add_argument("--out", type=Path, default=Path("out/demo_model/run"))
    p.add_argument("--init", type=Path, help="a diffusers VAE folder to start from (default: from scratch)")
    p.add_argument("--steps", type=int, default=10_000)
    p.add_argument("--batch", type=int, default=8, help="over all processes")
    p.add_argument("--width", type=float, default=1.0, help="1 for a CPU, 1.5 for 256 px on a GPU")
    p.add_argument("--lr", type=float, default=0.01)
    p.add_argument("--kl", type=float, default=2e-5)
    p.add_argument("--face-gain", type=float, default=2.5, help="extra weight of faces and objects")
    p.add_argument("--processes", type=int, default=1, help="one-thread processes that share the batch")
    p.add_argument("--device", default="cpu", help="cpu, cuda or cuda:0 (one process)")
    p.add_argument("--fp32", action="store_true", help="no bfloat16")
    p.add_argument("--finish", action="store_true", help="write out the last checkpoint, train no further")
    p.add_argument("--save-every", type=float, default=120, help="seconds between checkpoints")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--smoke", action="store_true", help="a few steps")
    return p


def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    if args.smoke:
        args.steps, args.batch, args.width = 3, 4, 0.5
    if args.device == "cpu":
        torch.set_num_threads(1)
    if args.finish:
        args.steps = checkpoint.reached(args.out / "vae.pt")
    launch(train, args, args.processes)


if __name__ == "__main__":
    main()
