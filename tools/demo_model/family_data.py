"""Pictures of many families on disk, drawn once: what the encoders and the prior train on.

FOLDER/images.npy  uint8 [N, 1 + changes, 128, 128, 3]; a family with fewer changes repeats its last
The words are made again from the seeds, which costs nothing beside drawing.
"""

from __future__ import annotations

from multiprocessing import Pool
from pathlib import Path

import numpy as np

from . import world
from .families import Member, family
from .progress import bar

CHANGES = 2
SCENES = 0.45
"""Share of the families that are scenes of the cube world."""


def kind_of(index: int) -> str:
    return "scene" if int(index * SCENES) != int((index + 1) * SCENES) else "portrait"


def members(seed: int, index: int, changes: int = CHANGES) -> tuple[Member, ...]:
    """The family `index` of a split that starts at `seed`, always 1 + changes long."""
    found = family(seed + index, kind_of(index), changes)
    return found + (found[-1],) * (1 + changes - len(found))


def _draw(job: tuple[int, int]) -> np.ndarray:
    return np.stack([m.draw() for m in members(*job)])


class Families:
    """`count` families of a split: pictures (memory-mapped) and members."""

    def __init__(self, folder: Path, split: str, count: int, workers: int = 1):
        start = world.SPLITS[split].start
        file, shape = folder / f"families_{split}.npy", (count, 1 + CHANGES, 128, 128, 3)
        if not file.exists() or len(np.load(file, mmap_mode="r")) < count:
            folder.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(".part")
            images = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
            with Pool(workers) as pool:
                drawn = pool.imap(_draw, [(start, i) for i in range(count)], chunksize=50)
                for i, pictures in enumerate(bar(drawn, count, f"drawing {split}")):
                    images[i] = pictures
            images.flush()
            del images
            part.replace(file)
        self.images = np.load(file, mmap_mode="r")[:count]
        self.members = [members(start, i) for i in range(count)]

    def __len__(self) -> int:
        return len(self.members)
