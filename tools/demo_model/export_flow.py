"""Packs a flow run: `python -m tools.demo_model.export_flow --run RUN --out models/demo_flow`.

The transformer alone, float16 safetensors; the other files of the folder (model_index.json, sow.json, the card) stay.
Refuses to be larger than --limit.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch

from .export import strip_paths

LIMIT_MB = 16.0


def export(run: Path, out: Path, limit_mb: float = LIMIT_MB) -> int:
    """Writes OUT/transformer and returns its size in bytes."""
    from diffusers import SD3Transformer2DModel

    if not (run / "transformer").exists():
        raise SystemExit(f"{run / 'transformer'} is missing: train first (train_flow)")
    net = SD3Transformer2DModel.from_pretrained(run / "transformer", torch_dtype=torch.float16)
    part = out / "transformer.part"
    shutil.rmtree(part, ignore_errors=True)
    net.save_pretrained(part)
    strip_paths(part)
    size = sum(f.stat().st_size for f in part.rglob("*") if f.is_file())
    if size > limit_mb * 1e6:
        shutil.rmtree(part)
        raise SystemExit(f"the transformer has {size / 1e6:.1f} MB, more than --limit {limit_mb:g}")
    shutil.rmtree(out / "transformer", ignore_errors=True)
    part.rename(out / "transformer")
    return size


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.demo_model.export_flow", description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("out/demo_model/flow"))
    parser.add_argument("--out", type=Path, default=Path("models/demo_flow"))
    parser.add_argument("--limit", type=float, default=LIMIT_MB, help="MB")
    args = parser.parse_args(argv)
    print(f"{args.out}: {export(args.run, args.out, args.limit) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
