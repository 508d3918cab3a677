"""What the commands' tests share: a quick run's options, what a command answers, files and pixels."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[3]
QUICK = ("--preset", "fast", "--cycles", "1", "--size", "64x64", "--device", "cpu", "--quiet")
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
GOOD = ["--condition", "face.png", "--prompt", "a cat", "--box", "16,16,32,24", "--size", "64x64"]


class Outcome(NamedTuple):
    code: int
    out: list[str]
    err: str


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def pixels(path: str | Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def draw(name: str, size: tuple[int, int] = (32, 24), color: object = 0, mode: str = "L") -> str:
    Image.new(mode, size, color).save(name)
    return name
