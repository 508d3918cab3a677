"""`python -m sow_core index FOLDER`: what `find` searches, made or brought up to date."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="pictures, its subfolders included; hidden ones are left out")
    add("--encoder", default="demo", metavar="demo|CLIP_FOLDER",
        help="demo (drawn portraits and cubes only), or a folder with a CLIP model of transformers (default: demo)")
    add("--index", type=Path, metavar="FILE", help="where the index goes (default: FOLDER/.sow_index.safetensors)")
    add("--anew", action="store_true", help="embed everything again: another encoder, or a damaged index")
    add("--device", default="cpu", metavar="DEVICE", help="cpu, cuda, mps (default: cpu)")
    add("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """0, or SowError in one line; unreadable pictures get a line each and are left out."""
    from tqdm import tqdm

    from ..pipeline.quiet import quiet_libraries
    from ..retrieval.build import list_pictures, update
    from ..retrieval.encoders import load_encoder
    from ..retrieval.index import index_file

    list_pictures(args.folder)  # a missing folder is told before a model is loaded
    with quiet_libraries(bars=False):
        encoder = load_encoder(args.encoder, args.device)
    file = index_file(args.folder, args.index)
    with tqdm(unit="picture", file=sys.stderr, disable=args.quiet) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        report = update(args.folder, file, encoder, args.anew, progress, lambda line: bar.write(line, file=sys.stderr))
    print(file)
    print(report.line(), file=sys.stderr)
    return 0
