"""One run: every arm on every scene, the judges' counts, a table, a sheet."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sow_core.assets import asset_folder
from sow_core.backends.diffusers import DiffusersBackend
from sow_core.backends.painting import paint
from sow_core.backends.patches import patched, read_patch
from sow_core.errors import SowError
from sow_core.files import atomic_write
from sow_core.method.advice import Advice
from sow_core.method.condition import to_picture, to_tensor
from sow_core.method.plan import Plan
from sow_core.method.separation import Separation
from sow_core.pictures.reading import load_picture
from sow_core.pictures.sheet import contact_sheet
from sow_core.settings import png_bytes
from tools.demo_model.judges import Judges

from ..quality.peers import blank_layout
from ..quality.session import weights_digest
from ..quality.store import Store
from .arms import ARMS, Arm, plan_of
from .scenes import Scene, scenes

RESULTS = Path(__file__).parent / "results"
SHEET_SCENES = 4
"""Of each number of things in the contact sheet."""


def run_bench(args: argparse.Namespace) -> list[Path]:
    """The paths of what was written. Raises SowError for bad options."""
    torch.set_num_threads(1)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    try:
        counts = [int(n) for n in args.things.split(",")]
    except ValueError:
        counts = []
    if not counts or not all(1 <= n <= 6 for n in counts) or not 1 <= args.scenes <= 500 or not 2 <= args.steps <= 100:
        raise SowError("Bad --things, --scenes or --steps: expected numbers from 1 to 6, 1 to 500, 2 to 100.")
    backend = DiffusersBackend.load("demo")
    told = backend.parts.recommended
    depth = args.depth if args.depth is not None else (told.separate or Separation()).depth
    keys = read_patch(args.patch, backend.parts.unet) if args.patch else None
    arms = [arm for arm in ARMS if keys is not None or not arm.patch]
    judges = Judges.load(asset_folder("models") / "demo" / "judges")
    store = Store(out / "records.jsonl")
    stamp = f"{weights_digest(backend)}/{args.steps}/{depth}/{'' if keys is None else _digest(keys)}"
    asked = [scene for count in counts for scene in scenes(count, args.scenes)]
    records = []
    for scene, arm in tqdm([(s, a) for s in asked for a in arms], "separate"):
        key = f"{arm.name}/{scene.key}"
        record = store.get(key, stamp)
        if record is None:
            plan = plan_of(arm, args.steps, told.guidance or 7.5, depth)
            within: AbstractContextManager[None] = nullcontext()
            if arm.patch and keys is not None:
                within = patched(backend.parts.unet, keys, arm.patch)
            with within:
                values, image = _make(backend, judges, plan, scene, told)
            path = out / "pictures" / f"{key.replace(' ', '_')}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, png_bytes(to_picture(image)))
            record = store.put(key, stamp, values)
        records.append(record | {"arm": arm.name, "count": len(scene.names)})
    summary = {"model": stamp.split("/")[0], "steps": args.steps, "depth": depth, "scenes": args.scenes,
               "table": list(_rows(records, counts, arms))}  # fmt: skip
    paths = [atomic_write(out / "separate.json", json.dumps(summary, indent=1) + "\n"),
             atomic_write(out / "separate.md", _markdown(summary)),
             atomic_write(out / "sheet.png", png_bytes(_sheet(out, asked, arms)))]  # fmt: skip
    if args.publish:
        paths += [atomic_write(RESULTS / name, (out / name).read_bytes()) for name in ("separate.json", "separate.md")]
    return paths


def _digest(keys: dict[str, Tensor]) -> str:
    import hashlib

    made = hashlib.sha256()
    for name in sorted(keys):
        made.update(keys[name].contiguous().numpy().tobytes())
    return made.hexdigest()[:12]


def _make(
    backend: DiffusersBackend, judges: Judges, plan: Plan, scene: Scene, told: Advice
) -> tuple[dict[str, Any], Tensor]:
    """One picture and what the judges count in it."""
    backend.set_prompts({"positive": scene.prompt, "negative": told.negative or ""})
    backend.set_concepts(scene.names)
    started = time.process_time()
    made = paint(plan, backend, blank_layout(128), [scene.seed])
    seconds = time.process_time() - started
    shown = [thing.name for thing in judges.objects(made.images)[0]]
    losses = [c.separation.mean().item() for c in made.trace.calls if c.separation is not None]
    left, hits = list(scene.names), 0
    for name in shown:
        if name in left:
            left.remove(name)
            hits += 1
    f1 = 2 * hits / max(len(shown) + len(scene.names), 1)
    return {
        "f1": f1,
        "exact": sorted(shown) == sorted(scene.names),
        "missing": bool(left),
        "merged": any(name not in scene.names for name in shown),
        "shown": shown,
        "loss_first": losses[0] if losses else None,
        "loss_last": losses[-1] if losses else None,
        "seconds": seconds,
    }, made.images[0]


def _rows(records: list[dict[str, Any]], counts: list[int], arms: list[Arm]) -> Iterator[dict[str, Any]]:
    """A row per number of things and arm, with the paired difference to the plain arm and its standard error."""
    for count in counts:
        plain = [r for r in records if r["count"] == count and r["arm"] == ARMS[0].name]
        for arm in arms:
            mine = [r for r in records if r["count"] == count and r["arm"] == arm.name]
            row: dict[str, Any] = {"things": count, "arm": arm.name, "n": len(mine)}
            for name in ("f1", "exact", "missing", "merged", "seconds"):
                row[name] = round(float(np.mean([r[name] for r in mine])), 4)
            # One scene's picture is the same noise in every arm: the difference is paired.
            gain = np.array([r["exact"] for r in mine], float) - np.array([r["exact"] for r in plain], float)
            row["exact_gain"] = round(float(gain.mean()), 4)
            row["exact_gain_se"] = round(float(gain.std(ddof=1) / np.sqrt(len(gain))), 4) if len(gain) > 1 else None
            for name in ("loss_first", "loss_last"):
                seen = [r[name] for r in mine if r[name] is not None]
                row[name] = round(float(np.mean(seen)), 4) if seen else None
            yield row


def _markdown(summary: dict[str, Any]) -> str:
    base = {row["things"]: row["seconds"] for row in summary["table"] if row["arm"] == ARMS[0].name}
    lines = [
        f"{summary['scenes']} scenes a row, {summary['steps']} DDIM steps, attention at depth {summary['depth']}.",
        "",
        "| things | arm | F1 | exact | paired gain of exact | one missing | one merged | loss, first to last | time |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in summary["table"]:
        gain = "" if r["arm"] == ARMS[0].name else f"{r['exact_gain']:+.3f} ± {r['exact_gain_se'] or 0:.3f}"
        loss = "" if r["loss_first"] is None else f"{r['loss_first']:.3f} to {r['loss_last']:.3f}"
        lines.append(f"| {r['things']} | {r['arm']} | {r['f1']:.3f} | {r['exact']:.3f} | {gain} | {r['missing']:.3f} | "
                     f"{r['merged']:.3f} | {loss} | {r['seconds'] / base[r['things']]:.2f} |")  # fmt: skip
    return "\n".join(lines) + "\n"


def _sheet(out: Path, asked: list[Scene], arms: list[Arm]) -> Any:
    tiles = []
    for count in sorted({len(s.names) for s in asked}):
        for scene in [s for s in asked if len(s.names) == count][:SHEET_SCENES]:
            for arm in arms:
                path = out / "pictures" / f"{arm.name.replace(' ', '_')}/{scene.key}.png"
                tiles.append((f"{arm.name}, {count}", to_picture(to_tensor(load_picture(path)[0]))))
    return contact_sheet(tiles, tile=128, columns=len(arms))
