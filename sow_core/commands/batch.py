"""`python -m sow_core batch`: the jobs of a file, one after another or on a Ray cluster, resumable."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SowError
from ..files import check_outputs
from ..pipeline.options import Options
from .generate import add_model, add_options

if TYPE_CHECKING:
    from ..batch.run import Tally
    from ..batch.survey import Survey

FILES = ("condition", "mask", "plan", "patch", "background")
"""Options that name files."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("jobs", metavar="JOBS.jsonl",
        help="one job a line, as JSON: generate's options by their names, paths relative to this file, and an id")
    add("--out", metavar="FOLDER", help="<id>.png and results.jsonl; a second start goes on there (default: sow_batch)")
    add("--engine", choices=("local", "ray"), default="local", help="this process, or workers of Ray (default: local)")
    add("--address", metavar="ADDRESS", help="of a running Ray: auto, ray://host:port (default: one of our own)")
    add("--workers", type=int, metavar="N", help="of Ray (default: as many as there is room for)")
    add("--gpus-per-worker", type=float, default=0.0, metavar="F", help="of Ray, for example 1 or 0.5 (default: 0)")
    add("--retries", type=int, default=2, metavar="N",
        help="further tries of a job whose worker died or that met an unexpected error (default: 2)")
    add("--limit", type=int, metavar="N", help="do at most N jobs this time")
    add("--sheet", metavar="FILE.png", help="a contact sheet of the pictures")
    add("--make", metavar="PICTURES", help="write JOBS.jsonl from a folder of pictures and the options given, and stop")
    add("--masks", metavar="FOLDER", help="with --make: a folder with their masks (default: NAME_mask.png beside NAME)")
    add("--quiet", action="store_true", help="no progress bar")
    options = parser.add_argument_group("what a job has that its line leaves out")
    add_options(options)
    add_model(options)


def run(args: argparse.Namespace) -> int:
    """0 if every job is done, 1 if some failed, SowError if the batch cannot go on."""
    for option, least in (("workers", 1), ("limit", 1), ("retries", 0), ("gpus_per_worker", 0)):
        value = getattr(args, option)
        if value is not None and not least <= value <= 1_000_000:
            raise SowError(f"Bad --{option.replace('_', '-')} {value}: expected {least} or more.")
    if args.make:
        return _make(args)
    try:
        return _do(args)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        raise


def _make(args: argparse.Namespace) -> int:
    from ..batch.making import make_jobs

    here = Path(args.jobs).absolute().parent
    common = _with_files(_given(args), lambda path: os.path.relpath(path, here))
    common["set"] = common.pop("settings", [])
    common |= {"model": args.model, "config": args.config, "dtype": args.dtype}
    count = make_jobs(args.jobs, args.make, args.masks, {k: v for k, v in common.items() if v})
    print(f"{args.jobs}: {count} jobs")
    return 0


def _do(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ..batch.overview import write_overview
    from ..batch.rays import Cluster
    from ..batch.run import run_batch
    from ..batch.task import Defaults, ModelKey
    from ..batch.worker import Setup

    out = Path(args.out or "sow_batch")
    sheet = _sheet(args, out) if args.sheet else None
    key = ModelKey(args.model or "demo", args.config, args.dtype)
    defaults = Defaults(_with_files(_given(args), os.path.abspath), key)
    cluster = Cluster(args.address, args.workers, args.gpus_per_worker) if args.engine == "ray" else None
    started = time.perf_counter()
    with tqdm(unit="picture", file=sys.stderr, disable=args.quiet, leave=True) as bar:
        failed = 0

        def looked(survey: Survey) -> None:
            bar.reset(survey.pictures)

        def ended(record: dict[str, Any]) -> None:
            nonlocal failed
            failed += record["state"] == "failed"
            bar.set_postfix_str(f"{failed} failed" if failed else "", refresh=False)
            bar.update(len(record.get("files", ())))

        tally = run_batch(
            args.jobs, out, defaults=defaults, setup=Setup(args.device, args.download, _threads()), ray=cluster,
            retries=args.retries, limit=args.limit, looked=looked, ended=ended,
            reserved=(sheet.name,) if sheet and sheet.parent == out else (),
        )  # fmt: skip
    _tell(tally, out, time.perf_counter() - started)
    if sheet is not None:
        write_overview(out, sheet)
        print(sheet)
    return 1 if tally.failed else 0


def _sheet(args: argparse.Namespace, out: Path) -> Path:
    """Where the contact sheet goes. Raises SowError; the folder of the results need not be there yet."""
    sheet = Path(args.sheet)
    if sheet.suffix.lower() != ".png":
        raise SowError(f"Bad --sheet {sheet}: expected a name that ends in .png.")
    if sheet.parent != out or sheet.exists():
        check_outputs([sheet], [args.jobs])
    return sheet


def _tell(tally: Tally, out: Path, seconds: float) -> None:
    rate = f" in {seconds:.1f} s ({tally.pictures / seconds:.2f} a second)" if tally.pictures else ""
    before = f", {tally.before} before" if tally.before else ""
    print(f"{out / 'results.jsonl'}: {tally.done} done{before}, {tally.failed} failed; {tally.pictures} pictures{rate}")
    for line in [*tally.changed.lines(), *tally.failures.lines()]:
        print(line)


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """The options that the command line gives, as JSON values."""
    values = {f.name: getattr(args, f.name, None) for f in fields(Options)}
    return {name: value for name, value in values.items() if value is not None and value is not False and value != []}


def _with_files(options: dict[str, Any], renamed: Callable[[str], str]) -> dict[str, Any]:
    """The options with their files' names changed, but for empty ones and a background that is a colour."""

    def change(name: str, value: Any) -> Any:
        if name not in FILES or (name == "background" and not os.path.exists(value)):
            return value
        return [path and renamed(path) for path in value] if isinstance(value, list) else renamed(value)

    return {name: change(name, value) for name, value in options.items()}


def _threads() -> int:
    """What torch takes here, for every worker: a picture's bits may depend on it."""
    import torch

    return torch.get_num_threads()
