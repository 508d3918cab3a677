"""`python -m sow_core bench turns`: scenes built and portraits changed turn by turn. Stops and resumes at any time."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

SCENES, QUICK, TURNS = 60, 2, 4
MODELS = ("demo", "demo_flow")
METHODS = "given,given_own,given_retry,found,own,retry,match,guided,short,latent_mask,sdedit,regenerate"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--split",
        choices=("val", "test"),
        default="test",
        help="val to choose on, test to report (default: test)",
    )
    add(
        "--scenes",
        type=int,
        default=SCENES,
        metavar="N",
        help="scenes of the cube world (default: %(default)s)",
    )
    add("--portraits", type=int, default=SCENES, metavar="N", help="portraits (default: %(default)s)")
    add(
        "--turns",
        type=int,
        default=TURNS,
        metavar="N",
        help="instructions a scene, 1 to 4 (default: %(default)s)",
    )
    add(
        "--model",
        choices=MODELS,
        default=MODELS[0],
        help="embedded model that paints; others than %(default)s publish beside its results (default: %(default)s)",
    )
    add("--methods", default=METHODS, metavar="NAME,...", help="default: %(default)s")
    add(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="settings",
        help="any setting of the runs",
    )
    add("--quick", action="store_true", help=f"{QUICK} of each, to see that everything runs")
    add("--report-only", action="store_true", help="the report of what is there; paint nothing")
    add("--publish", action="store_true", help="keep JSON, plot and sheet in benchmarks/turns/results")
    add(
        "--out",
        default="out/bench/turns",
        metavar="FOLDER",
        help="pictures, records, report (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    from sow_core.errors import SowError

    from . import report
    from .running import Bench

    torch.set_num_threads(1)
    if not 1 <= args.turns <= TURNS:
        raise SowError(f"Bad --turns {args.turns}: expected 1 to {TURNS}.")
    scenes, portraits = (QUICK, QUICK) if args.quick else (args.scenes, args.portraits)
    if min(scenes, portraits) < 0 or max(scenes, portraits) > 1000 or scenes + portraits == 0:
        raise SowError("Bad --scenes or --portraits: expected 0 to 1000, not both 0.")
    bench = Bench(Path(args.out), args.split, args.turns, args.methods.split(","), tuple(args.settings), args.model)
    rows = bench.run(scenes, portraits, args.report_only)
    for path in report.write(bench, rows, args.publish):
        print(path)
    return 0
