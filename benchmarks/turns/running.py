"""One run of the benchmark: every method on every scene and portrait, records as they come."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from benchmarks.quality.session import folder
from benchmarks.quality.store import Store
from sow_core.assets import asset_folder
from sow_core.backends.opening import open_backend
from sow_core.errors import SowError
from sow_core.method.box import Box
from sow_core.method.condition import to_picture
from sow_core.turns.match_net import DemoMatch
from sow_core.turns.places import grown
from sow_core.turns.presets import edit_config, edit_options
from sow_core.turns.resolve import Scene, border
from sow_core.turns.things import Thing
from tools.demo_model import world
from tools.demo_model.captions import cube_caption
from tools.demo_model.cubes import Thing as Cube
from tools.demo_model.cubes import relation
from tools.demo_model.judges import Judges

from . import metrics, portraits
from .methods import METHODS, Method, as_tensor, step
from .scenes import FIRST, instruction, sample_scene

SIDE = 128
FRAME = (SIDE, SIDE)
NETS = {"demo": "unet", "demo_flow": "transformer"}
"""The folder of the net's weights in an embedded model."""


class Bench:
    def __init__(
        self,
        out: Path,
        split: str,
        turns: int,
        names: Sequence[str],
        settings: tuple[str, ...],
        model: str = "demo",
    ) -> None:
        unknown = [n for n in names if n not in METHODS]
        if unknown:
            raise SowError(f"Unknown method {unknown[0]!r}: expected some of {', '.join(METHODS)}.")
        self.out, self.split, self.turns, self.settings = folder(str(out)), split, turns, settings
        self.methods = [METHODS[n] for n in names]
        self.model = model
        self.backend = open_backend(model)
        self.recommended = self.backend.parts.recommended
        self.judges = Judges.load(asset_folder("models") / "demo" / "judges")
        self.store = Store(self.out / "records.jsonl")
        self.match = DemoMatch.load() if any(m.match == "demo" for m in self.methods) else None
        self.fingerprint = _fingerprint(self)

    def run(self, scenes: int, faces: int, report_only: bool) -> list[dict[str, Any]]:
        """The records of every method, scene by scene."""
        jobs = [("scene", FIRST[self.split] + n, m) for n in range(scenes) for m in self.methods]
        jobs += [
            ("portrait", portraits.FIRST[self.split] + n, m) for n in range(faces) for m in portraits.METHODS
        ]
        rows = []
        for kind, seed, method in tqdm(jobs, "turns", disable=report_only):
            key = f"{kind}/{seed}/{method if isinstance(method, str) else method.name}"
            row = self.store.get(key, self.fingerprint)
            if row is None and not report_only:
                made = (
                    self.scene(seed, method)
                    if isinstance(method, Method)
                    else portraits.measure(self, seed, method)
                )
                row = self.store.put(key, self.fingerprint, made)
            if row is not None:
                rows.append(row)
        return rows

    def scene(self, seed: int, method: Method) -> dict[str, Any]:
        """F1, RSIM and drift after each turn of one scene, and the strip of its pictures."""
        things = sample_scene(seed, self.turns + 1)
        picture = as_tensor(world.draw_cubes(things[:1]))
        scene = Scene(FRAME, cube_caption(things[:1]), (Thing(things[0].name, box_of(things[0])),))
        config = edit_config(self.recommended, (*self.settings, *method.changes))
        options = edit_options(self.recommended, FRAME, None, None)
        strip, turns = [picture], []
        for k in range(1, self.turns + 1):
            now = things[: k + 1]
            text = instruction(now, method.words)
            row: dict[str, Any] = {"instruction": text}
            try:
                box, started = box_of(now[-1]), time.perf_counter()
                made = step(
                    method,
                    self.backend,
                    picture,
                    scene,
                    text,
                    [grown(box, border(box), FRAME)],
                    config,
                    options,
                    seed + 100 * k,
                    self.match,
                )
                picture, scene = made.picture, made.scene
                row |= {"drift": made.drift, "rounds": made.rounds, "seconds": time.perf_counter() - started}
                if made.tried is not None:
                    row["best_possible"] = max(self.exact(x, now) for x in made.tried)
            except SowError as error:
                row["failed"] = str(error)
            turns.append(row | self.judged(picture, now))
            strip.append(picture)
        self.save_strip(f"scene_{seed}_{method.name}", strip)
        return {"kind": "scene", "method": method.name, "seed": seed, "turns": turns}

    def judged(self, picture: Tensor, asked: Sequence[Cube]) -> dict[str, Any]:
        """What the judge sees in a picture, beside what should be there."""
        found = self.judges.objects(picture[None])[0]
        shown: dict[str, tuple[float, float]] = {}
        for thing in found:
            shown.setdefault(thing.name, tuple(v / SIDE for v in thing.center))  # type: ignore[arg-type]
        names = [t.name for t in asked]
        precision, recall, f1 = metrics.counts(names, [t.name for t in found])
        wanted = {t.name: (t.center[0] / SIDE, t.center[1] / SIDE) for t in asked}
        return {
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "rsim": metrics.rsim(wanted, shown),
            "exact": float(sorted(names) == sorted(t.name for t in found)),
            "obeyed": _obeyed(asked, shown),
        }

    def exact(self, picture: Tensor, asked: Sequence[Cube]) -> float:
        return self.judged(picture, asked)["exact"]

    def save_strip(self, name: str, pictures: Sequence[Tensor]) -> None:
        to_picture(torch.cat(list(pictures), 2)).save(self.out / f"{name}.png")

    def strip(self, name: str) -> Image.Image | None:
        path = self.out / f"{name}.png"
        return Image.open(path) if path.is_file() else None

    def ceiling(self, scenes: int) -> dict[str, list[float]]:
        """The judge on true renders after each turn: what nobody can beat by more than luck."""
        out: dict[str, list[list[float]]] = {"f1": [], "rsim": []}
        for n in range(scenes):
            things = sample_scene(FIRST[self.split] + n, self.turns + 1)
            rows = [
                self.judged(as_tensor(world.draw_cubes(things[: k + 1])), things[: k + 1])
                for k in range(1, self.turns + 1)
            ]
            for name, values in out.items():
                values.append([r[name] for r in rows])
        return {name: np.mean(values, 0).round(4).tolist() for name, values in out.items()}


def box_of(thing: Cube) -> Box:
    """The whole pixels that an object covers."""
    x0, y0, x1, y1 = thing.box
    x, y = math.floor(x0), math.floor(y0)
    return Box(x, y, math.ceil(x1) - x, math.ceil(y1) - y).clip(*FRAME)


def _obeyed(asked: Sequence[Cube], shown: dict[str, tuple[float, float]]) -> float | None:
    """Whether the last object stands to its nearest neighbour as a short instruction says; None: not both are seen."""
    *before, new = asked
    near = min(before, key=lambda t: (t.x - new.x) ** 2 + (t.y - new.y) ** 2)
    if new.name not in shown or near.name not in shown:
        return None
    (x, y), (ax, ay) = shown[new.name], shown[near.name]
    return float(
        {"left of": x < ax, "right of": x > ax, "behind": y < ay, "in front of": y > ay}[relation(new, near)]
    )


def _fingerprint(bench: Bench) -> str:
    """Changes with the weights, the settings and the code of turns: records of others are made anew."""
    digest = hashlib.sha256(repr((bench.split, bench.turns, bench.settings)).encode())
    root = Path(__file__).resolve().parents[2]
    for file in (
        *sorted((root / "sow_core" / "turns").glob("*.py")),
        root / "models" / bench.model / NETS[bench.model] / "diffusion_pytorch_model.safetensors",
    ):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
