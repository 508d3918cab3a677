"""Packs a run as a diffusers pipeline: `python -m tools.demo_model.export --run RUN --out models/demo`.

float16 safetensors; the tokenizer with tokenizer.json, vocab.json and merges.txt. Refuses to be larger than --limit.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch

from . import denoiser, train_vae

LIMIT_MB = 20.0
PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler")


def export(run: Path, out: Path, limit_mb: float = LIMIT_MB) -> int:
    """Writes the pipeline and returns its size in bytes. Files of `out` that are no part of it stay."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    for part in ("vae", "unet", "text_encoder", "tokenizer"):
        if not (run / part).exists():
            raise SystemExit(f"{run / part} is missing: train first (train_vae, train_unet)")
    half = {"torch_dtype": torch.float16}
    scheduler = DDIMScheduler(
        **denoiser.BETAS, clip_sample=False, set_alpha_to_one=False, steps_offset=1, prediction_type="epsilon"
    )
    pipe = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(run / "vae", **half),
        text_encoder=CLIPTextModel.from_pretrained(run / "text_encoder", **half),
        tokenizer=CLIPTokenizer.from_pretrained(run / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(run / "unet", **half),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    pipe.save_pretrained(part)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(run / "tokenizer" / name, part / "tokenizer" / name)
    strip_paths(part)
    size = sum(f.stat().st_size for f in part.rglob("*") if f.is_file())
    if size > limit_mb * 1e6:
        raise SystemExit(f"the pipeline has {size / 1e6:.1f} MB, more than {limit_mb:g} MB: train a smaller one")
    out.mkdir(parents=True, exist_ok=True)
    for name in (*PARTS, "model_index.json"):
        old = out / name
        shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
        (part / name).rename(old)
    shutil.rmtree(part)
    return size


def strip_paths(folder: Path) -> None:
    """Takes "_name_or_path" (where the parts were on this machine) out of the configs."""
    import json

    for path in folder.rglob("*.json"):
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, dict) and data.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m tools.demo_model.export", description=__doc__)
    p.add_argument("--run", type=Path, default=Path("out/demo_model/run"))
    p.add_argument("--out", type=Path, default=Path("models/demo"))
    p.add_argument("--limit", type=float, default=LIMIT_MB, help="largest size in MB")
    p.add_argument("--smoke", action="store_true", help="no difference, for symmetry with the other commands")
    return p


def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    size = export(args.run, args.out, args.limit)
    print(f"{args.out}: {size / 1e6:.1f} MB; scaling factor {train_vae.SCALING_FACTOR}")


if __name__ == "__main__":
    main()
