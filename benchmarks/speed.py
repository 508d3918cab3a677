"""`python -m sow_core bench speed`: attention (joint too), runs, batches, cycles, sizes, memory, shares, files of jobs.

Writes speed.json and speed.svg. Only the ratios mean something on another machine. `COW_PEER` (a checkout of the
predecessor's official code) adds that code, as it is, to the whole runs.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from sow_core.errors import SowError
from sow_core.files import atomic_write

HERE = Path(__file__).resolve().parent
PARTS = ("attention", "joint", "runs", "batches", "cycles", "sizes", "memory", "shares", "jobs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--part", action="append", choices=PARTS, help="measure only this; repeatable; other parts keep their numbers")
    add("--quick", action="store_true", help="few rounds, small sizes: minutes instead of an hour")
    add("--rounds", type=int, metavar="N", help="rounds per comparison (default: 5, quick: 3)")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--out", type=Path, default=HERE / "results", metavar="FOLDER")


def run(args: argparse.Namespace) -> int:
    """Run the measurements; a part is written as soon as it is there."""
    import torch

    if args.device == "cuda" and not torch.cuda.is_available():
        raise SowError("This machine has no CUDA device; leave --device out.")
    if args.rounds is not None and args.rounds < 1:
        raise SowError(f"Bad --rounds {args.rounds}: expected at least 1.")
    torch.set_num_threads(1)
    name = "speed" if args.device == "cpu" else "speed_cuda"
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / f"{name}.json"
    results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    from .plot_speed import plot
    from .timing import machine

    results["machine"] = machine(args.device)
    for part in args.part or PARTS:
        print(f"--- {part}", flush=True)
        results[part] = measure(part, args)
        atomic_write(file, json.dumps(results, indent=1) + "\n")
    plot(results, args.out / f"{name}.svg")
    print(file)
    return 0


def measure(part: str, args: argparse.Namespace) -> Any:
    """One part's results, as JSON values."""
    import torch

    from sow_core.assets import asset_folder
    from tests.tiny_models import build

    from . import attention_speed, job_speed, memory_speed, run_speed

    rounds = args.rounds or (3 if args.quick else 5)
    demo = asset_folder("models") / "demo"
    peer = Path(os.environ["COW_PEER"]) if os.environ.get("COW_PEER") else None
    if part == "attention":
        grids = {1024: 20, 256: 40} if args.quick else attention_speed.GRIDS
        dtypes = (torch.float32,) if args.quick else (torch.float32, torch.bfloat16)
        return attention_speed.measure(rounds, args.device, dtypes, grids)
    if part == "joint":
        size = attention_speed.JOINT | ({"tokens": 256, "text": 64} if args.quick else {})
        dtypes = (torch.float32,) if args.device == "cpu" else (torch.bfloat16,)
        return attention_speed.measure_joint(rounds, args.device, dtypes, size)
    if part == "memory":
        return memory_speed.measure((256,) if args.quick else (512, 1024), args.device)
    if part == "jobs":
        return job_speed.measure(demo, args.device, rounds, args.quick)
    if part == "shares":
        return run_speed.shares(demo, args.device, 128)
    if part == "batches":
        return run_speed.batches(demo, args.device, rounds, 128, (1, 2, 4) if args.quick else (1, 2, 4, 8))
    if part == "cycles":
        return run_speed.cycles(demo, args.device, rounds, 128, (1, 4, 10) if args.quick else (1, 2, 4, 6, 10, 15, 20))
    with tempfile.TemporaryDirectory() as folder:
        model = build("sd2", folder)
        if part == "runs":
            # the official code's canvas is 512 px, so with it there is no smaller run
            side = 256 if args.quick and peer is None else 512
            return run_speed.presets(model, args.device, rounds, peer, side)
        return run_speed.sizes(model, args.device, rounds, (256,) if args.quick else (256, 512, 768))
