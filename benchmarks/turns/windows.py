"""What a window does for pictures larger than the model's: `python -m benchmarks.turns.windows [--out FILE.json]`.

Single additions to true pictures of validation scenes, with true regions, by --crop. Two kinds of pictures of --side
px: "near", a scene of the demo world drawn larger, and "wide", more things, as large as they are in one of 128 px.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sow_core.assets import asset_folder
from sow_core.backends.diffusers import DiffusersBackend
from sow_core.files import atomic_write
from sow_core.method.box import Box
from sow_core.method.condition import to_picture
from sow_core.turns.places import grown
from sow_core.turns.presets import edit_config, edit_options
from sow_core.turns.resolve import Scene, border, resolve
from sow_core.turns.session import painted
from sow_core.turns.things import Thing
from sow_core.turns.window import cropping
from tools.demo_model import edits, world
from tools.demo_model.captions import cube_caption
from tools.demo_model.cubes import COLORS, SHAPES
from tools.demo_model.cubes import Thing as Cube
from tools.demo_model.judges import Judges

from .methods import as_tensor
from .metrics import counts

FIRST = world.VALIDATION[80_006]
SIDE = 128
"""px of the demo model's own pictures, in which the judge looks."""
KINDS = ("near", "wide")


def scene(kind: str, seed: int, side: int) -> list[Cube]:
    """The things of a picture, in its px; the last one is to be added."""
    k = side / SIDE
    if kind == "near":
        count = int(np.random.default_rng(seed).integers(2, 5))
        things = edits.sample_scene(np.random.default_rng([seed, 7]), count)
        return [Cube(t.shape, t.color, t.x * k, t.y * k, t.size * k) for t in things]
    count, rng = int(np.random.default_rng(seed).integers(4, 9)), np.random.default_rng([seed, 9])
    names = [(s, c) for s in SHAPES for c in COLORS]
    while True:
        things, order = (), rng.permutation(len(names))
        for _ in range(600):
            if len(things) == count:
                return list(things)
            y = float(rng.uniform(66 * k, 116 * k))
            size = 12.5 + 5.0 * (y - 66 * k) / (50 * k)
            thing = Cube(*names[order[len(things)]], float(rng.uniform(size + 4, side - 4 - size * 1.3)), y, size)
            if edits._free(thing, things):
                things = (*things, thing)


def draw(things: Sequence[Cube], side: int) -> Tensor:
    k = SIDE / side
    small = tuple(Cube(t.shape, t.color, k * t.x, k * t.y, k * t.size) for t in things)
    return as_tensor(world.draw_cubes(small, side))


def box_of(thing: Cube, side: int) -> Box:
    """The whole pixels that a thing covers."""
    x0, y0, x1, y1 = thing.box
    x, y = math.floor(x0), math.floor(y0)
    return Box(x, y, math.ceil(x1) - x, math.ceil(y1) - y).clip(side, side)


def judged(judges: Judges, kind: str, picture: Tensor, things: Sequence[Cube], side: int) -> dict[str, float]:
    """right: the judge sees the new thing, and nothing else, where it should be. Of near pictures, which it can see as
    a whole: exact (all the names), f1."""
    new, x, y, seen = things[-1], 0, 0, picture
    if kind == "wide":
        x, y = (int(min(max(c - SIDE / 2, 0), side - SIDE)) for c in new.center)
        seen = picture[:, y : y + SIDE, x : x + SIDE]
    found, box = judges.objects(seen[None])[0], box_of(new, side)
    there = [
        t.name for t in found
        if box.x <= t.center[0] + x <= box.right and box.y <= t.center[1] + y <= box.bottom
    ]  # fmt: skip
    row = {"right": float(there == [new.name])}
    if kind == "near":
        asked, shown = [t.name for t in things], [t.name for t in found]
        row |= {"exact": float(sorted(asked) == sorted(shown)), "f1": counts(asked, shown)[2]}
    return row


def measure(kind: str, crops: Sequence[str], scenes: int, side: int, pictures: Path | None) -> dict[str, Any]:
    """Means by crop. seconds: of CPU; peak: MiB of memory above the loaded model's, so far in this process."""
    backend = DiffusersBackend.load("demo")
    judges = Judges.load(asset_folder("models") / "demo" / "judges")
    frame, advice = (side, side), backend.parts.recommended
    config, options = edit_config(advice), edit_options(advice, frame, None, None)
    start, rows, strips = _memory(), {}, {}
    for crop in crops:
        made_by = []
        for seed in range(FIRST, FIRST + scenes):
            things = scene(kind, seed, side)
            before = draw(things[:-1], side)
            region = grown(box_of(things[-1], side), border(box_of(things[-1], side)), frame)
            known = tuple(Thing(t.name, box_of(t, side)) for t in things[:-1])
            turn = resolve(f"add a {things[-1].name}", Scene(frame, cube_caption(tuple(things[:-1])), known), [region])
            window, began = cropping(crop, frame, backend.size), time.process_time()
            images, canvas = painted(backend, before, turn, None, config, options, [seed], crop=window)
            spent = time.process_time() - began
            drift = float(((images[0] - before).abs() * (1.0 - canvas.free)).max())
            made_by.append(judged(judges, kind, images[0], things, side) | {"drift": drift, "seconds": spent})
            strips.setdefault(seed, [before, draw(things, side)]).append(images[0])
        rows[crop] = {name: float(np.mean([row[name] for row in made_by])) for name in made_by[0]}
        rows[crop]["peak"] = _memory() - start
        print(kind, side, crop, {name: round(value, 3) for name, value in rows[crop].items()}, flush=True)
    for seed, strip in strips.items() if pictures else ():
        to_picture(torch.cat(strip, 2)).save(pictures / f"{kind}_{side}_{seed}.png")
    return rows


def _memory() -> float:
    """Peak of this process, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.turns.windows", description=__doc__)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--crops", default="auto,off", help="the one that needs least memory first (default: auto,off)")
    parser.add_argument("--scenes", type=int, default=32)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--out", type=Path, help="the numbers, added to what is there")
    parser.add_argument("--pictures", type=Path, help="a folder for strips: before, true, then each crop's")
    args = parser.parse_args(argv)
    rows = json.loads(args.out.read_text()) if args.out and args.out.is_file() else {}
    for kind in args.kinds.split(","):
        rows[f"{kind} {args.side} px, {args.scenes} scenes"] = measure(
            kind, args.crops.split(","), args.scenes, args.side, args.pictures
        )
    if args.out:
        atomic_write(args.out, json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
