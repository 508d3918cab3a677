"""`python -m sow_core generate`: from pictures, masks and a text to a finished picture."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SowError
from ..memory import is_out_of_memory
from ..method.plan import PRESETS, build_plan
from ..pipeline.job import Job, check
from ..pipeline.model import load_model, native_size, recommend
from ..pipeline.placing import make_canvas, place
from ..pipeline.repeat import Saved, settings_of
from ..pipeline.results import write_results

if TYPE_CHECKING:
    from ..backends.diffusers import DiffusersBackend
    from ..method.condition import Layout
    from ..method.trace import Result

PROMPT_TOKENS = 75
"""Tokens of a prompt that CLIP reads; the rest is cut off."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--condition", action="append", metavar="IMG", help="a picture to keep; repeat for several")
    add("--mask", action="append", metavar="IMG",
        help="its mask, white = keep (default, and for an empty name: its alpha, else all of it)")
    add("--prompt", metavar="TEXT", help="the scene")
    add("--negative", metavar="TEXT", help="what to avoid (default: the paper's negative prompt)")
    add("--suppress", metavar="TEXT", help="four-row guidance: what the surroundings must not repeat (cow_official)")
    add("--diverse", metavar="TEXT", help="four-row guidance: what the surroundings should have (cow_official)")
    add("--box", action="append", metavar="X,Y,W,H", help="where a condition goes, px; one per --condition, in order")
    add("--related", action="append", metavar="[N:]X,Y,W,H",
        help="a place that continues condition N (default 1) in the finished picture; repeatable")
    add("--plan", metavar="FILE.json", help="boxes, related regions and prompt from a plan file")
    add("--planner", choices=("offline", "gemini", "none"),
        help="who places what has no box (default: offline; gemini sends the masked picture and prompt to Google)")
    add("--model", metavar="MODEL", help="demo, a diffusers folder, a .safetensors checkpoint or a hub id")
    add("--config", metavar="FOLDER", help="for a checkpoint: a diffusers folder of its family (layout, tokenizer)")
    add("--download", action="store_true", help="allow a hub id to be downloaded; otherwise only local files are read")
    add("--preset", metavar="NAME", help=f"one of {', '.join(PRESETS)} (default: normal)")
    add("--steps", type=int, metavar="N", help="DDIM steps of the whole noise range; levels move along")
    add("--cycles", type=int, metavar="N", help="cycles of one-way diffusion")
    add("--cfg", type=float, metavar="W", help="classifier-free guidance scale")
    add("--no-attention", action="store_true", help="switch attention modulation off")
    add("--set", action="append", default=[], metavar="NAME=VALUE", dest="assignments",
        help="any other setting, for example trajectory=noise or modulation.enhance=2; repeatable")
    add("--size", metavar="WxH", help="canvas px, multiples of 8 (default: the model's own)")
    add("--background", metavar="COLOR|IMG", help="the canvas before pasting: a colour name, #rrggbb or a picture")
    add("--seed", type=int, metavar="N", help="random seed of the first picture (default: 0)")
    add("--count", type=int, metavar="N", help="pictures, with seeds seed, seed+1, ... (default: 1)")
    add("--paste-back", type=int, metavar="PX", help="lay the kept pixels over the result, feathered by PX pixels")
    add("--out", metavar="FILE.png", help="the picture; with --count, FILE_1.png, ... (default: sow.png)")
    add("--sheet", metavar="FILE.png", help="a contact sheet: condition, canvas, each cycle, result")
    add("--report", metavar="FILE.json", help="plan, calls, rows, seconds, indicator, fidelity of the kept region")
    add("--device", metavar="DEVICE", help="cpu, cuda, mps (default: the best there is)")
    add("--dtype", choices=("float32", "float16", "bfloat16"), help="of the UNet (default: float16 on cuda)")
    add("--from", dest="source", metavar="FILE.png", help="repeat a picture from its settings; options given here win")
    add("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Write the pictures; 0, or SowError in one line and nothing written."""
    saved = Saved(args) if args.source else None
    job = check(args, saved.config if saved else None)
    from ..pipeline.quiet import quiet_libraries

    with quiet_libraries(bars=args.download):
        backend = load_model(args)
        if saved is None or saved.config is None:
            recommend(args, job, backend.parts.recommended)
        size = job.size or native_size(backend)
        try:
            written = _generate(args, job, saved, backend, size)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise SowError(
                f"Out of memory at {size[0]}x{size[1]} with {len(job.seeds)} pictures on {backend.device}; "
                "lower --size or --count, or use --dtype float16."
            ) from None
    for path in written:
        print(path)
    return 0


def _generate(
    args: argparse.Namespace, job: Job, saved: Saved | None, backend: DiffusersBackend, size: tuple[int, int]
) -> list[Path]:
    plan = place(args, job, size, backend.token_count)
    layout = make_canvas(job, size)
    result = _sample(args, job, backend, layout)
    images = result.images
    if args.paste_back is not None:
        from ..pictures.composite import paste_back

        images = paste_back(images, layout, args.paste_back)
    settings = settings_of(args, job, size, plan or (saved.plan if saved else None))
    return write_results(job, backend.decode, layout, result, images, settings)


def _sample(args: argparse.Namespace, job: Job, backend: DiffusersBackend, layout: Layout) -> Result:
    from tqdm import tqdm

    from ..method.engine import generate
    from ..method.trace import Event

    tokens = backend.token_count(job.prompt)
    if tokens > PROMPT_TOKENS:
        print(f"note: the prompt has {tokens} tokens; the model reads the first {PROMPT_TOKENS}.", file=sys.stderr)
    backend.set_prompts({"positive": job.prompt, "negative": job.negative, **job.extra})
    plan = build_plan(job.config, len(job.conditions))
    with tqdm(total=plan.cost.calls, unit="call", file=sys.stderr, disable=args.quiet, leave=True) as bar:

        def progress(event: Event) -> None:
            bar.set_description(event.phase if event.cycle is None else f"{event.phase} {event.cycle + 1}")
            bar.update(event.call - bar.n)

        return generate(plan, backend, layout, job.seeds, progress)
