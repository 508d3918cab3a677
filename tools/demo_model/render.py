"""Draws a data set: `python -m tools.demo_model.render --out DATA --count 40000`.

DATA/images.npy  uint8 [N,size,size,3]
DATA/truth.jsonl one line per picture: seed, caption and ground truth (`world.Sample.truth`)
A sheet of the first pictures goes to DATA/sheet.png. Pictures that are there already are not drawn again.
"""

from __future__ import annotations

import argparse
import json
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from . import world
from .progress import bar

CHUNK = 250


def _chunk(job: tuple[int, int, int]) -> tuple[np.ndarray, list[str]]:
    start, count, size = job
    samples = [world.render(seed, size) for seed in range(start, start + count)]
    return np.stack([s.image for s in samples]), [json.dumps(s.truth()) for s in samples]


def render_set(out: Path, split: str, count: int, size: int = 128, workers: int = 1) -> None:
    """Writes `count` samples of a split, in seed order, to `out`."""
    seeds = world.SPLITS[split]
    if count > len(seeds):
        raise SystemExit(f"the split {split!r} has {len(seeds)} seeds, {count} were asked for")
    out.mkdir(parents=True, exist_ok=True)
    shape = (count, size, size, 3)
    truth = out / "truth.jsonl"
    if truth.exists() and np.load(out / "images.npy", mmap_mode="r").shape == shape:
        print(f"{out} is complete: {count} pictures")
        return
    images = np.lib.format.open_memmap(out / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
    jobs = [(seeds[0] + i, min(CHUNK, count - i), size) for i in range(0, count, CHUNK)]
    done = 0
    part = truth.with_suffix(".part")
    with part.open("w") as f, Pool(workers) as pool:
        for pixels, lines in bar(pool.imap(_chunk, jobs), total=len(jobs), title="render"):
            images[done : done + len(pixels)] = pixels
            f.write("\n".join(lines) + "\n")
            done += len(pixels)
    images.flush()
    part.replace(truth)
    sheet(images[: min(64, count)]).save(out / "sheet.png")


def sheet(images: np.ndarray, columns: int = 8, gap: int = 2):  # noqa: ANN201 - PIL image
    """Pictures [N,H,W,3] in a grid on white."""
    from PIL import Image

    n, h, w, _ = images.shape
    rows = -(-n // columns)
    page = np.full((rows * (h + gap) + gap, min(n, columns) * (w + gap) + gap, 3), 255, np.uint8)
    for i, picture in enumerate(images):
        y, x = gap + i // columns * (h + gap), gap + i % columns * (w + gap)
        page[y : y + h, x : x + w] = picture
    return Image.fromarray(page)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.demo_model.render", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/demo_model/data"))
    parser.add_argument("--split", choices=sorted(world.SPLITS), default="train")
    parser.add_argument("--count", type=int, default=40_000)
    parser.add_argument("--size", type=int, default=128, help="pixels along a side")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="a handful of pictures")
    args = parser.parse_args(argv)
    render_set(args.out, args.split, 48 if args.smoke else args.count, args.size, args.workers)


if __name__ == "__main__":
    main()
