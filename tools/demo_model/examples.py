"""Cuts the example conditions out of held-out renders: `python -m tools.demo_model.examples --out pictures`.

For each seed: NAME.png, a square crop around the face, NAME_mask.png, 255 where the face is (to be kept), and
NAME_source.png, the picture it came from.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from . import world
from .captions import portrait_caption

SEEDS: dict[str, int] = {"tom": 9_000_085, "mia": 9_000_195, "walt": 9_000_022, "rose": 9_000_005, "kai": 9_000_154}
CROP = 64
"""px; every face of the world fits."""


@dataclass(frozen=True)
class Condition:
    image: np.ndarray
    """uint8 [CROP,CROP,3]"""
    mask: np.ndarray
    """uint8 [CROP,CROP], 255 is the face"""
    origin: tuple[int, int]
    """Upper left corner in the source, px of a 128 px picture."""
    source: world.Sample


def condition(seed: int, size: int = 128) -> Condition:
    """The face of a held-out portrait, cropped to CROP/128 of the picture's side."""
    sample = world.render(seed, size, kind="portrait", degraded=False)
    side, k = CROP * size // 128, size / 128
    x0, y0, x1, y1 = (v * k for v in sample.boxes["face"])
    x = int(np.clip(round((x0 + x1 - side) / 2), 0, size - side))
    y = int(np.clip(round((y0 + y1 - side) / 2), 0, size - side))
    cut = np.s_[y : y + side, x : x + side]
    assert sample.face_mask is not None
    mask = np.where(sample.face_mask[cut] > 127, 255, 0).astype(np.uint8)
    return Condition(sample.image[cut], mask, (x, y), sample)


def write(out: Path, size: int = 128) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name, seed in SEEDS.items():
        c = condition(seed, size)
        Image.fromarray(c.image).save(out / f"{name}.png")
        Image.fromarray(c.mask).save(out / f"{name}_mask.png")
        Image.fromarray(c.source.image).save(out / f"{name}_source.png")
        assert c.source.portrait is not None
        print(f"{name}: seed {seed}, face at {c.origin}, {portrait_caption(c.source.portrait)}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.demo_model.examples", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"))
    parser.add_argument("--size", type=int, default=128)
    args = parser.parse_args(argv)
    write(args.out, args.size)


if __name__ == "__main__":
    main()
