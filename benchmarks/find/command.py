"""`python -m sow_core bench find`: recall of composed searches on held-out triplets, and the speed of the search.

Writes find.json, find.svg (R@1 against w_T for several w_I) and find_queries.jpg (eight questions and their answers).
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from sow_core.errors import SowError
from sow_core.files import atomic_write

HERE = Path(__file__).resolve().parent
PARTS = ("methods", "steps", "weights", "without", "mask", "sheet", "speed")
FAMILIES, QUICK = 250, 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--part", action="append", choices=PARTS, help="measure only this; repeatable; other parts keep their numbers")
    add("--families", type=int, metavar="N", help=f"of each kind, four pictures each (default: {FAMILIES})")
    add("--quick", action="store_true", help=f"{QUICK} families and a small search, to see that everything runs")
    add("--out", type=Path, default=HERE / "results", metavar="FOLDER")


def run(args: argparse.Namespace) -> int:
    """Run the measurements; a part is written as soon as it is there."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    from benchmarks.timing import machine

    from .measure import Session
    from .plot import plot

    if args.families is not None and args.families < 1:
        raise SowError(f"Bad --families {args.families}: expected at least 1.")
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "find.json"
    results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    session = Session(args.families or (QUICK if args.quick else FAMILIES), args.quick, args.out)
    results["machine"] = machine("cpu")
    results["setting"] = session.setting()
    for part in args.part or PARTS:
        print(f"--- {part}", flush=True)
        results[part] = getattr(session, part)()
        atomic_write(file, json.dumps(results, indent=1) + "\n")
    if "weights" in results:
        plot(results, args.out / "find.svg")
    print(file)
    return 0
