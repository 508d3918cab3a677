"""`python -m sow_core bench quality`: pictures, numbers, report. Stops and resumes at any time."""

from __future__ import annotations

import argparse
import os
import sys

from .defaults import CASES, QUICK_CASES

SETTING_NAMES = ("normal", "style", "attribute")
"""By default: the paper's three. "small" is another."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", default="demo", metavar="MODEL", help="demo or a diffusers folder of the demo world (default: demo)")
    add("--judges", metavar="FOLDER", help="the demo world's judges (default: judges/ in the demo model's folder)")
    add("--split", choices=("val", "test"), default="test", help="val to tune, test to report (default: test)")
    add("--settings", default=",".join(SETTING_NAMES), metavar="NAME,...",
        help="of these and small, small boxes off the centre (default: %(default)s)")
    add("--methods", default="main", metavar="NAME,...",
        help="methods, groups (main, peers, presets, ablations, all) or an ablation's question (default: main)")
    add("--cases", type=int, metavar="N", help=f"cases per setting (default: {CASES})")
    add("--quick", action="store_true", help=f"{QUICK_CASES} cases per setting, to see that everything runs")
    add("--no-text", action="store_true", help="skip the diffusion classifier (half of the time)")
    add("--report-only", action="store_true", help="make the report of what is there; sample nothing")
    add("--publish", metavar="NAME", help="keep the run in benchmarks/quality/results and write docs/results.md anew")
    add("--device", default="cpu", help="default: cpu")
    add("--out", default="out/bench/quality", metavar="FOLDER", help="pictures, records, report (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from . import report
    from .session import Options, Session

    session = Session(Options.check(args))
    session.sample_and_measure()
    paths = report.write(session)
    if args.publish:
        from .publish import publish

        paths += publish(args.publish, session.options.out)
    for path in paths:
        print(path)
    for line in session.skipped:
        print(f"skipped: {line}", file=sys.stderr)
    return 0
