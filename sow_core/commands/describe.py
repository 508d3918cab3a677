"""`python -m sow_core describe`: what a preset does and costs, before anything runs."""

from __future__ import annotations

import argparse
import json

from ..assets import asset_folder
from ..errors import SowError
from ..method.advice import Advice
from ..method.overrides import override
from ..method.plan import build_plan
from ..method.presets import PRESETS, preset
from ..outside.reading import expanded, read_json_file
from ..outside.text import one_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", default="normal", help=f"one of {', '.join(PRESETS)} (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="assignments",
                        help="change a setting of the preset, for example cycles=5; repeatable")
    parser.add_argument("--model", metavar="FOLDER", help="as a model folder (or demo) recommends it in its sow.json")
    parser.add_argument("--conditions", type=int, default=1, metavar="N", help="pictures to keep (default: 1)")
    parser.add_argument("--json", action="store_true", help="print the settings and the cost as JSON")


def run(args: argparse.Namespace) -> int:
    config = advice(args.model).config(args.preset) if args.model else preset(args.preset)
    plan = build_plan(override(config, args.assignments), args.conditions)
    if args.json:
        cost = plan.cost
        total = {"calls": cost.calls, "rows": cost.rows, "crop_rows": cost.crop_rows}
        print(json.dumps({"settings": plan.config.as_dict(), "cost": total}, indent=2))
    else:
        print("\n".join(plan.describe()))
    return 0


def advice(model: str) -> Advice:
    """What a model folder recommends; nothing where it has no sow.json. Raises SowError if there is no such folder."""
    folder = asset_folder("models") / "demo" if model == "demo" else expanded(model)
    if not folder.is_dir():
        raise SowError(f"No such model folder: {one_line(model)}; expected demo, or a folder.")
    file = folder / "sow.json"
    return Advice.from_dict(read_json_file(file, "the recommendation"), str(file)) if file.is_file() else Advice()
