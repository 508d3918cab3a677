"""`python -m sow_core plan`: a layout plan as JSON, its report, a drawing of it."""

from __future__ import annotations

import argparse
import json
import sys

from ..errors import SowError
from ..files import atomic_write_all, check_outputs
from ..method.box import Box
from ..outside.reading import read_text_file
from ..outside.text import one_line
from ..pipeline.job import parse_size
from ..planning.config import Config, write_template
from ..planning.language import MODES
from ..planning.patience import Limits
from ..planning.planner import DEFAULT_MODEL, FAILURES, PLANNERS, PlannerOptions, connect, plan_layout
from ..planning.reading import Target, read_plan
from ..planning.request import KINDS, ConditionPicture, PlanRequest
from ..planning.schema import Frame, LayoutPlan, SizeRule
from ..settings import png_bytes

DEFAULT_SIZE = "512x512"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--condition",
        action="append",
        default=[],
        metavar="IMG",
        help="a picture to place; repeat for several",
    )
    add(
        "--mask",
        action="append",
        default=[],
        metavar="IMG",
        help="its mask, white = keep, soft edges cut at half gray (default: its alpha)",
    )
    add(
        "--name",
        action="append",
        default=[],
        metavar="TEXT",
        help="what the prompt calls it, for example cat",
    )
    add(
        "--description",
        action="append",
        default=[],
        metavar="TEXT",
        help="what it shows, added to the prompt",
    )
    add(
        "--kind",
        action="append",
        default=[],
        choices=KINDS,
        help="what it is, for the offline rules (default: auto)",
    )
    add("--box", action="append", default=[], metavar="X,Y,W,H", help="its place, if you know it already, px")
    add("--prompt", default="", metavar="TEXT", help="the scene")
    add("--negative", default="", metavar="TEXT", help="passed through into the plan")
    add("--size", metavar="WxH", help="canvas px, multiples of 8 (default: 512x512, or the plan's own)")
    add("--min-size", type=int, metavar="PX", help="smallest longer side on a 512-px canvas (default: 180)")
    add("--max-size", type=int, metavar="PX", help="largest longer side on a 512-px canvas (default: 256)")
    add(
        "--planner",
        choices=PLANNERS,
        default="offline",
        help="offline: rules, no network (default). gemini and the others send the masked picture, at most 512 px, "
        "and the prompt to the service; auto: gemini if it is set up, else offline",
    )
    add(
        "--model",
        default="",
        metavar="NAME",
        help=f"the planner's model (default: {DEFAULT_MODEL}, or the profile's)",
    )
    add("--profile", default="", metavar="NAME", help="a profile of the config file, for openai-compatible")
    add("--mode", choices=MODES, default="combined", help="one call, or the paper's three")
    add("--no-prompt", action="store_true", help="leave out prompt intensification")
    add(
        "--no-position",
        action="store_true",
        help="leave out adaptive position: the middle, at the largest size",
    )
    add("--no-context", action="store_true", help="leave out the related regions")
    add("--refresh", type=int, default=0, metavar="N", help="another number asks again, past the plan cache")
    add("--seed", type=int, default=0, metavar="N", help="sent where the service takes one; best effort")
    add(
        "--timeout",
        type=float,
        default=Limits().timeout,
        metavar="S",
        help="of one request (default: %(default)s)",
    )
    add(
        "--on-failure",
        choices=FAILURES,
        default="offline",
        help="if the service cannot be asked (default: offline)",
    )
    add(
        "--from",
        dest="source",
        metavar="FILE.json",
        help="fit this plan, or a model's answer, instead of planning",
    )
    add("--out", metavar="FILE.json", help="the plan (default: standard output)")
    add("--draw", metavar="FILE.png", help="a drawing of the plan")
    add("--quiet", action="store_true", help="no report on standard error")
    add("--list-models", action="store_true", help="print the models of the planner's service and stop")
    add(
        "--init-config", action="store_true", help="write an empty config file for keys and profiles and stop"
    )


def run(args: argparse.Namespace) -> int:
    """Exit code. Raises SowError."""
    if args.init_config:
        print(write_template(Config.load()))
        return 0
    options = PlannerOptions(
        args.planner,
        args.model,
        args.profile,
        args.mode,
        args.refresh,
        args.seed,
        args.on_failure,
        Limits(timeout=args.timeout, budget=2 * args.timeout),
    )
    if args.list_models:
        return _list_models(options)
    check_outputs(filter(None, (args.out, args.draw)), filter(None, (*args.condition, *args.mask, args.source)))
    conditions = _conditions(args)
    plan = _read(args, conditions) if args.source else _plan(args, conditions, options)
    files: list[tuple[str, bytes | str]] = []
    if args.draw:
        from ..planning.draw import draw_plan

        files.append((args.draw, png_bytes(draw_plan(plan, conditions))))
    if args.out:
        files.append((args.out, plan.to_json() + "\n"))
    atomic_write_all(files)
    if not args.out:
        print(_encodable(plan.to_json()))
    if not args.quiet:
        print(plan.report(), file=sys.stderr)
    return 0


def _encodable(text: str) -> str:
    """JSON for standard output, whose encoding may lack some of its letters: JSON has its own way to write those."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(json.loads(text), indent=2)
    return text


def _plan(
    args: argparse.Namespace, conditions: tuple[ConditionPicture, ...], options: PlannerOptions
) -> LayoutPlan:
    if not conditions:
        raise SowError("Nothing to place: expected --condition IMG (or --from FILE.json).")
    if not args.prompt.strip():
        raise SowError("No scene: expected --prompt TEXT.")
    request = PlanRequest(
        args.prompt,
        conditions,
        Frame(*parse_size(args.size or DEFAULT_SIZE), _rule(args) or SizeRule()),
        args.negative,
        use_prompt=not args.no_prompt,
        use_position=not args.no_position,
        use_context=not args.no_context,
    )
    return plan_layout(request, options)


def _read(args: argparse.Namespace, conditions: tuple[ConditionPicture, ...]) -> LayoutPlan:
    text = read_text_file(args.source, "the plan")
    width, height = parse_size(args.size) if args.size else (None, None)
    return read_plan(
        text,
        width=width,
        height=height,
        rule=_rule(args),
        prompt=args.prompt,
        negative=args.negative,
        targets=[Target(condition.aspect, condition.box) for condition in conditions],
    )


def _conditions(args: argparse.Namespace) -> tuple[ConditionPicture, ...]:
    count = len(args.condition)
    for option in ("mask", "name", "description", "kind", "box"):
        given = len(getattr(args, option))
        if given > count:
            raise SowError(
                f"{given} --{option} for {count} --condition: expected at most one for each, in order."
            )

    # The canvas of a plan that is read is only known then.
    canvas = None if args.source and not args.size else parse_size(args.size or DEFAULT_SIZE)

    def of(option: str, index: int) -> str:
        values = getattr(args, option)
        return values[index] if index < len(values) else ""

    return tuple(
        ConditionPicture.open(
            path,
            of("mask", i) or None,
            name=of("name", i),
            description=of("description", i),
            kind=of("kind", i) or "auto",
            box=_snapped(of("box", i), canvas) if of("box", i) else None,
        )
        for i, path in enumerate(args.condition)
    )


def _snapped(text: str, canvas: tuple[int, int] | None) -> Box:
    box = Box.parse(text, "--box")
    return box.snap_inside(*canvas) if canvas and box.inside(*canvas) else box.snap()


def _rule(args: argparse.Namespace) -> SizeRule | None:
    if args.min_size is None and args.max_size is None:
        return None
    known = SizeRule()
    low = known.low if args.min_size is None else args.min_size
    return SizeRule(low, max(known.high, low) if args.max_size is None else args.max_size)


def _list_models(options: PlannerOptions) -> int:
    if options.planner == "offline":
        raise SowError("The offline planner has no models: add --planner gemini, or openai-compatible.")
    service = connect(options, Config.load())
    for name in service.models(options.limits.timeout):
        print(one_line(name))
    return 0
