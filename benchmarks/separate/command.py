"""`python -m sow_core bench separate`: pictures, counts, table. Stops and resumes at any time."""

from __future__ import annotations

import argparse
import os


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--scenes", type=int, default=24, metavar="N", help="scenes per number of things (default: %(default)s)")
    add("--things", default="1,2,3,4,5", metavar="LIST", help="numbers of things (default: %(default)s)")
    add("--steps", type=int, default=10, metavar="N", help="DDIM steps (default: %(default)s)")
    add("--depth", type=int, metavar="D", help="halvings of the grid at which attention is read (default: the model's)")
    add("--patch", metavar="FILE.safetensors", help="keys tuned by tools.separate; without it those arms are left out")
    add("--out", default="out/bench/separate", metavar="FOLDER", help="pictures, records (default: %(default)s)")
    add("--publish", action="store_true", help="write benchmarks/separate/results anew")


def run(args: argparse.Namespace) -> int:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from .session import run_bench

    for path in run_bench(args):
        print(path)
    return 0
