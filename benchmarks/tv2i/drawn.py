"""Faces of the demo world in the folders that real ones come in, to try the benchmark from end to end:

    python -m benchmarks.tv2i.drawn FOLDER --count 12 [--layout celeba|alpha]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from tools.demo_model import world

FIRST = world.HELD_OUT[0] + 400_000
LAYOUTS = ("alpha", "celeba")


def draw_faces(folder: Path, count: int, layout: str = "alpha") -> None:
    """`count` portraits: NAME.png with alpha, or CelebAMask-HQ's faces/N.jpg, masks/0/NNNNN_part.png; sexes.txt."""
    faces = folder / "faces" if layout == "celeba" else folder
    masks = folder / "masks" / "0"
    for made in (faces, *([masks] if layout == "celeba" else [])):
        made.mkdir(parents=True, exist_ok=True)
    lines = [str(count), "Male Smiling"]
    for number in range(count):
        sample = world.render(FIRST + number, 256, kind="portrait", degraded=False, style="photo", hat="none")
        assert sample.face_mask is not None and sample.portrait is not None
        picture = Image.fromarray(sample.image)
        if layout == "celeba":
            picture.save(faces / f"{number}.jpg", quality=95)
            upper = np.arange(256)[:, None] < 128  # two parts, so that their union is what counts
            for part, half in (("skin", upper), ("mouth", ~upper)):
                Image.fromarray(np.where(half, sample.face_mask, 0).astype(np.uint8)).save(
                    masks / f"{number:05}_{part}.png")  # fmt: skip
        else:
            picture.putalpha(Image.fromarray(sample.face_mask))
            picture.save(faces / f"{number}.png")
        lines.append(f"{number}.jpg {1 if sample.portrait.gender == 'man' else -1} -1")
    (folder / "sexes.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--layout", choices=LAYOUTS, default="alpha")
    args = parser.parse_args()
    draw_faces(args.folder, args.count, args.layout)
