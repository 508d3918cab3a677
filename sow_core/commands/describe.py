"""`python -m sow_core describe`: what a preset does and costs, before anything runs."""

from __future__ import annotations

import argparse
import json

from ..method.overrides import override
from ..method.plan import build_plan
from ..method.presets import PRESETS, preset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", default="normal", help=f"one of {', '.join(PRESETS)} (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="assignments",
                        help="change a setting of the preset, for example cycles=5; repeatable")
    parser.add_argument("--conditions", type=int, default=1, metavar="N", help="pictures to keep (default: 1)")
    parser.add_argument("--json", action="store_true", help="print the settings and the cost as JSON")


def run(args: argparse.Namespace) -> int:
    plan = build_plan(override(preset(args.preset), args.assignments), args.conditions)
    if args.json:
        cost = plan.cost
        total = {"calls": cost.calls, "rows": cost.rows, "crop_rows": cost.crop_rows}
        print(json.dumps({"settings": plan.config.as_dict(), "cost": total}, indent=2))
    else:
        print("\n".join(plan.describe()))
    return 0
