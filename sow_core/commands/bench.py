"""`python -m sow_core bench SUITE`: measurements, which live in the clone beside the package."""

from __future__ import annotations

import argparse
import importlib
import sys
from types import ModuleType

from ..assets import PACKAGE
from ..errors import SowError

SUITES = {
    "quality": ("benchmarks.quality.command", "TV2I-mini: what the method keeps, follows and breaks, beside its peers"),
    "separate": ("benchmarks.separate.command", "things that stay apart: counts on the cube world, paired"),
    "tv2i": ("benchmarks.tv2i.command", "a face set and a checkpoint to the layout of the paper's Tables I to IV"),
    "turns": ("benchmarks.turns.command", "scenes built by one instruction after another"),
    "find": ("benchmarks.find.command", "composed searches on held-out triplets, and the speed of the search"),
    "speed": ("benchmarks.speed", "attention variants, whole runs, batches and memory, as ratios"),
}
"""Each module has add_arguments(parser) and run(args) -> exit code, and imports nothing heavy at its top."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    suites = parser.add_subparsers(dest="suite", metavar="|".join(SUITES), required=True)
    for name, (_, text) in SUITES.items():
        suite = _suite(name)
        sub = suites.add_parser(name, help=text, description=text, allow_abbrev=False)
        suite.add_arguments(sub)
        sub.set_defaults(bench=suite.run)


def run(args: argparse.Namespace) -> int:
    return args.bench(args)


def _suite(name: str) -> ModuleType:
    """The module of a suite. Raises SowError outside a clone of the project."""
    root = PACKAGE.parent
    module = SUITES[name][0]
    if not (root / "benchmarks" / "__init__.py").is_file():
        raise SowError("The benchmarks are not part of an installed package: run this inside a clone of the project.")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        how = "pip install -r requirements-test.txt, in the clone"
        raise SowError(f"bench {name} needs the package {error.name}: {how}.") from None
