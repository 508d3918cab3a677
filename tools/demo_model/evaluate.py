"""Measures a trained pipeline: `python -m tools.demo_model.evaluate --model models/demo --judges models/demo/judges`.

Reconstruction by the autoencoder, caption following over held-out captions as the judges see it, the cube
world's F1, and DDIM inversion with reconstruction at guidance 1. Writes OUT/scores.json, a sheet of 32
held-out captions (OUT/sheet.png, with the captions in OUT/sheet.txt) and a sheet of reconstructions.
Everything is of the split "held_out".
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import checkpoint, judge_scores, visible, world
from .captions import cube_caption, portrait_caption
from .flow_pipe import FlowPipe
from .judge_scores import as_float
from .judges import Judges
from .progress import bar
from .render import sheet

NEGATIVE = "a bad quality and low-resolution image"
SHEET_SEED = 9_500_000
FOLLOW_SEED = 9_600_000


def pipeline(folder: Path, device: str, base: Path):  # noqa: ANN201 - diffusers is imported late
    """What generates: a Stable Diffusion folder, or one with a flow transformer, which shares the rest with `base`."""
    if (folder / "transformer").exists():
        return FlowPipe(folder / "transformer", base, device)
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    # The dtype has to be said: transformers keeps a float16 text encoder otherwise while the rest is float32.
    pipe = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32, safety_checker=None)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)


def generate(pipe, captions: list[str], steps: int, guidance: float, seed: int, batch: int = 16,
             negative: str = "") -> np.ndarray:  # noqa: ANN001  # fmt: skip
    """Pictures uint8 [N,H,W,3]; the noise of a picture depends on the seed and its place in the list alone."""
    out = []
    for i in bar(range(0, len(captions), batch), title="generate"):
        texts = captions[i : i + batch]
        noise = [torch.Generator().manual_seed(seed + i + k) for k in range(len(texts))]
        result = pipe(texts, num_inference_steps=steps, guidance_scale=guidance, generator=noise,
                      negative_prompt=[negative] * len(texts), output_type="np").images  # fmt: skip
        out.append((np.asarray(result) * 255).round().astype(np.uint8))
    return np.concatenate(out)


def psnr(a: Tensor, b: Tensor) -> float:
    """dB of two pictures in 0..1."""
    return float(-10 * torch.log10((a - b).square().mean().clamp(min=1e-10)))


@torch.no_grad()
def reconstruct(vae, images: Tensor) -> Tensor:  # noqa: ANN001
    """Through the autoencoder's mean latent, [N,3,H,W] in 0..1."""
    parts = [vae.decode(vae.encode(x * 2 - 1).latent_dist.mean).sample for x in images.split(32)]
    return (torch.cat(parts) / 2 + 0.5).clamp(0, 1)


def autoencoder(pipe, count: int) -> tuple[dict[str, float], np.ndarray]:  # noqa: ANN001
    """Mean PSNR over pictures: all, by style, cubes, and in the face boxes of photos and of all portraits."""
    samples = [world.render(s, degraded=False) for s in world.HELD_OUT[:count]]
    x = as_float(np.stack([s.image for s in samples])).to(pipe.device)
    y = reconstruct(pipe.vae, x)
    rows: dict[str, list[float]] = {}
    for i, s in enumerate(samples):
        value = psnr(x[i], y[i])
        rows.setdefault("all", []).append(value)
        rows.setdefault(s.portrait.style if s.portrait else "cubes", []).append(value)
        if s.portrait:
            x0, y0, x1, y1 = (round(v) for v in s.boxes["face"])
            face = psnr(x[i, :, y0:y1, x0:x1], y[i, :, y0:y1, x0:x1])
            rows.setdefault("face", []).append(face)
            if s.portrait.style == "photo":
                rows.setdefault("photo_face", []).append(face)
    pairs = torch.stack([x[:16], y[:16]], 1).flatten(0, 1)
    picture = (pairs.permute(0, 2, 3, 1).cpu().numpy() * 255).round().astype(np.uint8)
    return {k: float(np.mean(v)) for k, v in rows.items()}, picture


def following(pipe, judges: Judges, count: int, steps: int, guidance: float) -> dict[str, Any]:  # noqa: ANN001
    """Share of generated portraits that show what their caption says, per attribute. Captions name
    everything that a picture of theirs could show; only what it could show is counted."""
    samples = [world.render(s, kind="portrait", degraded=False) for s in range(FOLLOW_SEED, FOLLOW_SEED + count)]
    texts = [portrait_caption(s.portrait) for s in samples if s.portrait]
    images = generate(pipe, texts, steps, guidance, FOLLOW_SEED)
    return judge_portraits(judges, samples, images)


def judge_portraits(judges: Judges, samples: list[world.Sample], images: np.ndarray) -> dict[str, Any]:
    """`images` were asked for with the portraits of `samples`."""
    told = [r for part in judge_scores.in_batches(judges.labels, images) for r in part]
    found = torch.cat([f.scores for f in judge_scores.in_batches(judges.faces, images)])
    right: dict[str, list[bool]] = {"face": (found >= 0.5).tolist()}
    for s, row in zip(samples, told, strict=True):
        assert s.portrait is not None
        for k, v in visible.values(s.portrait).items():
            right.setdefault(k, []).append(row[k] == v)
            if k in ("glasses", "hat") and v != "none":
                right.setdefault(f"{k}_worn", []).append(row[k] == v)
    return {k: float(np.mean(v)) for k, v in right.items()}


def cubes(pipe, judges: Judges, count: int, steps: int, guidance: float) -> dict[str, float]:  # noqa: ANN001
    """F1 of the objects (shape and colour) that captions ask for, as multisets; places are not counted, since
    captions do not give them."""
    samples = [world.render(s, kind="cubes", degraded=False) for s in range(FOLLOW_SEED, FOLLOW_SEED + count)]
    images = generate(pipe, [cube_caption(s.things) for s in samples], steps, guidance, FOLLOW_SEED)
    found = [f for part in judge_scores.in_batches(judges.objects, images) for f in part]
    return multiset_f1([[t.name for t in s.things] for s in samples], [[t.name for t in f] for f in found])


def multiset_f1(asked: list[list[str]], shown: list[list[str]]) -> dict[str, float]:
    hits = 0
    for a, b in zip(asked, shown, strict=True):
        left = list(a)
        for name in b:
            if name in left:
                left.remove(name)
                hits += 1
    precision = hits / max(sum(map(len, shown)), 1)
    recall = hits / max(sum(map(len, asked)), 1)
    exact = float(np.mean([sorted(a) == sorted(b) for a, b in zip(asked, shown, strict=True)]))
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    return {"precision": precision, "recall": recall, "f1": f1, "exact": exact}


@torch.no_grad()
def inversion(pipe, steps: int, count: int) -> dict[str, float]:  # noqa: ANN001
    """DDIM inversion at guidance 1 with the picture's caption and back, PSNR in dB against the picture and
    against the autoencoder's own reconstruction of it (Song et al. 2021, deterministic both ways; the UNet is
    asked at the destination timestep when inverting, as DDIMInverseScheduler does)."""
    samples = [world.render(s, kind="portrait", degraded=False, style="photo") for s in world.HELD_OUT[:count]]
    x = as_float(np.stack([s.image for s in samples])).to(pipe.device)
    vae, scale = pipe.vae, pipe.vae.config.scaling_factor
    z0 = vae.encode(x * 2 - 1).latent_dist.mean * scale
    plain = (vae.decode(z0 / scale).sample / 2 + 0.5).clamp(0, 1)
    if isinstance(pipe, FlowPipe):
        return against(pipe.there_and_back(x, [s.caption for s in samples], steps), x, plain)
    text = pipe.encode_prompt([s.caption for s in samples], pipe.device, 1, False)[0]
    abar = pipe.scheduler.alphas_cumprod.to(z0)
    times = [1 + (1000 // steps) * k for k in range(steps)]
    levels = [abar[0], *(abar[t] for t in times)]

    def move(z: Tensor, eps: Tensor, a: Tensor, b: Tensor) -> Tensor:
        clean = (z - (1 - a).sqrt() * eps) / a.sqrt()
        return b.sqrt() * clean + (1 - b).sqrt() * eps

    z = z0
    for k in range(steps):
        eps = pipe.unet(z, times[k], text).sample
        z = move(z, eps, levels[k], levels[k + 1])
    for k in reversed(range(steps)):
        eps = pipe.unet(z, times[k], text).sample
        z = move(z, eps, levels[k + 1], levels[k])
    return against((vae.decode(z / scale).sample / 2 + 0.5).clamp(0, 1), x, plain)


def against(back: Tensor, x: Tensor, plain: Tensor) -> dict[str, float]:
    return {
        "to_picture": float(np.mean([psnr(a, b) for a, b in zip(back, x, strict=True)])),
        "to_reconstruction": float(np.mean([psnr(a, b) for a, b in zip(back, plain, strict=True)])),
    }


def sample_sheet(pipe, steps: int, guidance: float, count: int = 32) -> tuple[np.ndarray, list[str]]:  # noqa: ANN001
    """Pictures of the captions of held-out seeds, as the renderer gives them (parts dropped)."""
    captions = [world.describe(s) for s in range(SHEET_SEED, SHEET_SEED + count)]
    return generate(pipe, captions, steps, guidance, SHEET_SEED), captions


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m tools.demo_model.evaluate", description=__doc__)
    p.add_argument("--model", type=Path, default=Path("models/demo"))
    p.add_argument("--base", type=Path, default=Path("models/demo"), help="what a flow transformer shares: VAE, text")
    p.add_argument("--judges", type=Path, default=Path("models/demo/judges"))
    p.add_argument("--out", type=Path, default=Path("out/demo_model/evaluation"))
    p.add_argument("--count", type=int, default=500, help="captions to follow; a fifth as many cube scenes")
    p.add_argument("--pictures", type=int, default=256, help="pictures for the autoencoder")
    p.add_argument("--inversions", type=int, default=16)
    p.add_argument("--steps", type=int, default=25)
    p.add_argument("--guidance", type=float, default=5.0)
    p.add_argument("--device", default="cpu")
    p.add_argument("--smoke", action="store_true", help="a few pictures")
    return p


def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    if args.smoke:
        args.count, args.pictures, args.inversions, args.steps = 4, 16, 2, 2
    if args.device == "cpu":
        torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    pipe, judges = pipeline(args.model, args.device, args.base), Judges.load(args.judges, args.device)
    scores: dict[str, Any] = {"steps": args.steps, "guidance": args.guidance, "captions": args.count}
    scores["autoencoder"], pairs = autoencoder(pipe, args.pictures)
    sheet(pairs).save(args.out / "reconstructions.png")
    scores["inversion"] = {n: inversion(pipe, n, args.inversions) for n in ((2,) if args.smoke else (10, 25, 50))}
    images, captions = sample_sheet(pipe, args.steps, args.guidance, 4 if args.smoke else 32)
    sheet(images).save(args.out / "sheet.png")
    checkpoint.write_text(args.out / "sheet.txt", "".join(f"{i + 1:2} {c}\n" for i, c in enumerate(captions)))
    scores["following"] = following(pipe, judges, args.count, args.steps, args.guidance)
    scores["cubes"] = cubes(pipe, judges, max(args.count // 5, 2), args.steps, args.guidance)
    checkpoint.write_text(args.out / "scores.json", json.dumps(scores, indent=1) + "\n")
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
