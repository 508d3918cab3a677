"""`python -m sow_core generate`: from pictures, masks and a text to a finished picture."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ..method.presets import PRESETS
from ..pipeline.job import PLANNERS, check
from ..pipeline.model import DTYPES, load
from ..pipeline.options import Options
from ..pipeline.repeat import Saved
from ..pipeline.results import Outputs

if TYPE_CHECKING:
    from ..method.trace import Event


def add_options(parser: argparse._ActionsContainer) -> None:
    """What is to be made: the fields of Options, as they are said on a command line."""
    add = parser.add_argument
    add("--condition", action="append", metavar="IMG", help="a picture to keep; repeat for several")
    add("--mask", action="append", metavar="IMG",
        help="its mask, white = keep, soft edges cut at half gray (default, and for '': its alpha, else all of it)")
    add("--prompt", metavar="TEXT", help="the scene")
    add("--negative", metavar="TEXT", help="what to avoid (default: the paper's negative prompt)")
    add("--suppress", metavar="TEXT", help="four-row guidance: what the surroundings must not repeat (cow_official)")
    add("--diverse", metavar="TEXT", help="four-row guidance: what the surroundings should have (cow_official)")
    add("--separate", metavar="WORDS",
        help='things of the prompt that are to stay apart, as in "hat, glasses"; strength: --set separate.strength=.3')
    add("--patch", metavar="FILE.safetensors[:STRENGTH]",
        help="weight differences for this run, from python -m tools.separate tune")
    add("--box", action="append", metavar="X,Y,W,H", help="where a condition goes, px; one per --condition, in order")
    add("--related", action="append", metavar="[N:]X,Y,W,H",
        help="a place that continues condition N (default 1) in the finished picture; repeatable")
    add("--plan", metavar="FILE.json", help="boxes, related regions and prompt from a plan file")
    add("--planner", choices=PLANNERS,
        help="who places what has no box (default: offline; gemini sends the masked picture and prompt to Google)")
    add("--preset", metavar="NAME", help=f"one of {', '.join(PRESETS)} (default: normal)")
    add("--steps", type=int, metavar="N", help="DDIM steps of the whole noise range; levels move along")
    add("--cycles", type=int, metavar="N", help="cycles of one-way diffusion")
    add("--cfg", type=float, metavar="W", help="classifier-free guidance scale")
    add("--no-attention", action="store_true", help="switch attention modulation off")
    add("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
        help="any other setting, for example trajectory=noise or modulation.enhance=2; repeatable")
    add("--size", metavar="WxH", help="canvas px, multiples of 8 (default: the model's own)")
    add("--background", metavar="COLOR|IMG", help="the canvas before pasting: a colour name, #rrggbb or a picture")
    add("--seed", type=int, metavar="N", help="random seed of the first picture (default: 0)")
    add("--count", type=int, metavar="N", help="pictures, with seeds seed, seed+1, ... (default: 1)")
    add("--paste-back", type=int, metavar="PX", help="lay the kept pixels over the result, feathered by PX pixels")


def add_model(parser: argparse._ActionsContainer) -> None:
    """With which model, and how it is loaded."""
    add = parser.add_argument
    add("--model", metavar="MODEL", help="demo, demo_flow, a diffusers folder, a .safetensors checkpoint or a hub id")
    add("--config", metavar="FOLDER", help="for a checkpoint: a diffusers folder of its family (layout, tokenizer)")
    add("--download", action="store_true", help="allow a hub id to be downloaded; otherwise only local files are read")
    add("--device", metavar="DEVICE", help="cpu, cuda, mps (default: the best there is)")
    add("--dtype", choices=DTYPES, help="of the UNet (default: float16 on cuda)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser)
    add_model(parser)
    add = parser.add_argument
    add("--out", metavar="FILE.png", help="the picture; with --count, FILE_1.png, ... (default: sow.png)")
    add("--sheet", metavar="FILE.png", help="a contact sheet: condition, canvas, each cycle, result")
    add("--report", metavar="FILE.json", help="plan, calls, rows, seconds, indicator, fidelity of the kept region")
    add("--no-settings", action="store_true", help="leave the settings out of the PNG; --from cannot repeat it then")
    add("--from", dest="source", metavar="FILE.png",
        help="repeat a picture from its settings, with its files beside it or in the working directory; options given "
             "here win")
    add("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Write the pictures; 0, or SowError in one line and nothing written."""
    from tqdm import tqdm

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    options = Options.of(vars(args))
    asked = {"model": args.model, "model_config": args.config, "dtype": args.dtype, "device": args.device}
    saved = Saved(args.source, options, asked) if args.source else None
    job = check(options, saved.config if saved else None, saved.plan if saved else None)
    if saved is not None and saved.only is not None:
        job.only = saved.only
        say(f"note: it is number {saved.only + 1} of {len(job.seeds)}, and is repeated in that batch, bit for bit; "
            "--seed makes one alone.")  # fmt: skip
    outputs = Outputs.check(job, args.out, args.sheet, args.report, args.source)
    model = load(asked["model"] or "demo", device=asked["device"], dtype=asked["dtype"], download=args.download,
                 config=asked["model_config"], say=say)  # fmt: skip
    with tqdm(unit="call", file=sys.stderr, disable=args.quiet, leave=True) as bar:

        def progress(event: Event) -> None:
            bar.total = event.total  # the model's recommendations have had their say
            bar.set_description(event.phase if event.cycle is None else f"{event.phase} {event.cycle + 1}")
            bar.update(event.call - bar.n)

        made = model.make(job, progress, say=say)
    for path in outputs.write(made, settings=not args.no_settings):
        print(path)
    return 0
