"""`python -m sow_core describe`: what a preset does and costs, before anything runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..assets import EMBEDDED, asset_folder
from ..errors import SowError
from ..method.advice import Advice
from ..method.config import SowConfig
from ..method.overrides import override
from ..method.plan import build_plan
from ..method.presets import PRESETS, preset
from ..outside.reading import expanded, read_json_file
from ..outside.text import one_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", default="normal", help=f"one of {', '.join(PRESETS)} (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="assignments",
                        help="change a setting of the preset, for example cycles=5; repeatable")
    parser.add_argument("--model", metavar="FOLDER",
                        help="as a model folder (or demo, demo_flow) recommends it in its sow.json; of a flow "
                        "transformer the noise time of each level is shown as well")
    parser.add_argument("--conditions", type=int, default=1, metavar="N", help="pictures to keep (default: 1)")
    parser.add_argument("--json", action="store_true", help="print the settings and the cost as JSON")


def run(args: argparse.Namespace) -> int:
    config = advice(args.model).config(args.preset) if args.model else preset(args.preset)
    plan = build_plan(override(config, args.assignments), args.conditions)
    times = flow_times(args.model, plan.config) if args.model else None
    if args.json:
        cost = plan.cost
        total = {"calls": cost.calls, "rows": cost.rows, "crop_rows": cost.crop_rows}
        levels = {} if times is None else {"times": list(times)}
        print(json.dumps({"settings": plan.config.as_dict(), "cost": total, **levels}, indent=2))
    else:
        print("\n".join(plan.describe(times)))
    return 0


def model_folder(model: str) -> Path:
    """The folder of a model that comes with the program, or is given by its path. Raises SowError if there is none."""
    folder = asset_folder("models") / model if model in EMBEDDED else expanded(model)
    if not folder.is_dir():
        raise SowError(f"No such model folder: {one_line(model)}; expected {', '.join(EMBEDDED)}, or a folder.")
    return folder


def advice(model: str) -> Advice:
    """What a model folder recommends; nothing where it has no sow.json. Raises SowError if there is no such folder."""
    file = model_folder(model) / "sow.json"
    return Advice.from_dict(read_json_file(file, "the recommendation"), str(file)) if file.is_file() else Advice()


def flow_times(model: str, config: SowConfig) -> tuple[float, ...] | None:
    """The noise time of each level, from level 0, if the folder holds a flow transformer. Raises SowError."""
    from ..backends.checks import FLOW_FAMILIES, check_index
    from ..backends.configs import Index, read_config

    file = model_folder(model) / "model_index.json"
    if not file.is_file() or check_index(model, read_config(file, Index)) not in FLOW_FAMILIES:
        return None
    from ..method.schedule import Schedule

    return Schedule.matched_flow(config.steps, config.level_shift).t
