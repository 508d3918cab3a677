"""`python -m sow_core find FOLDER`: the pictures of an indexed folder that fit a picture and words."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SowError, one_line
from ..files import atomic_write, atomic_write_all, check_outputs
from ..retrieval.guidance import Guidance, check_weight

if TYPE_CHECKING:
    from ..retrieval.find import Answer, Query
    from ..retrieval.index import Index

METHODS = ("fusion", "compodiff")
SHEET_MOST = 48


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="a folder that `index` has seen")
    add("--image", type=Path, metavar="IMG", help="like this one")
    add("--mask", type=Path, metavar="IMG", help="a part of --image to ignore, white = ignore")
    add("--text", default="", metavar="TEXT", help="but so: \"wearing a crown\"")
    add("--without", default="", metavar="TEXT", help="and without that: \"glasses\"")
    add("--method", choices=METHODS, default="fusion",
        help="fusion: directions added, any encoder, nothing to train. compodiff: a diffusion prior composes them "
             "(default: fusion)")
    add("--image-weight", type=float, metavar="W",
        help="how much the picture counts (fusion: 1; compodiff: the prior's)")
    add("--text-weight", type=float, metavar="W",
        help="how much the words count (fusion: 1; compodiff: the prior's)")
    add("--source-weight", type=float, metavar="S",
        help="compodiff: share of the picture laid over the result (default: .1, with a mask .05)")
    add("--prior", default="demo", metavar="demo|FILE",
        help="compodiff: the embedded miniature, or a prior as safetensors (default: demo)")
    add("--prior-text", type=Path, metavar="FOLDER",
        help="compodiff: the text encoder that the prior reads (published: OpenCLIP bigG), if it is not the index's")
    add("--steps", type=int, metavar="N", help="compodiff: network passes (default: the prior's)")
    add("--samples", type=int, metavar="N", help="compodiff: embeddings drawn and averaged (default: the prior's)")
    add("--seed", type=int, default=0, metavar="N", help="compodiff: random seed (default: 0)")
    add("--top", type=int, default=5, metavar="K", help="pictures to find (default: %(default)s)")
    add("--encoder", default="demo", metavar="demo|CLIP_FOLDER", help="the one that the index was made with")
    add("--index", type=Path, metavar="FILE", help="the index (default: FOLDER/.sow_index.safetensors)")
    add("--device", default="cpu", metavar="DEVICE", help="cpu, cuda, mps (default: cpu)")
    add("--json", action="store_true", help="names, scores and copies as JSON")
    add("--sheet", metavar="FILE.png", help="a contact sheet of the query and what was found")
    add("--copy-to", type=Path, metavar="FOLDER", help="copy what was found there, named by rank")


def run(args: argparse.Namespace) -> int:
    """0, or SowError in one line and nothing written."""
    query = check(args)
    from ..pipeline.quiet import quiet_libraries
    from ..retrieval.encoders import load_encoder
    from ..retrieval.find import digest_of, look_up
    from ..retrieval.index import index_file, read_index

    file = index_file(args.folder, args.index)
    index = read_index(file)
    with quiet_libraries(bars=False):
        encoder = load_encoder(args.encoder, args.device)
        vector = _vector(args, query, encoder)
    own = digest_of(args.image) if args.image else b""
    answer = look_up(args.folder, index, encoder, vector, args.top, file, own)
    _say(args, index, answer)
    if args.sheet:
        from ..settings import png_bytes

        atomic_write(args.sheet, png_bytes(sheet(args.folder, query, answer)))
    if args.copy_to:
        copy(args.folder, answer, args.copy_to)
    return 0


def check(args: argparse.Namespace) -> Query:
    """The query, everything that needs no model checked. Raises SowError."""
    from ..pictures.reading import load_mask, load_picture
    from ..retrieval.find import MOST, Query

    if not 1 <= args.top <= MOST:
        raise SowError(f"Bad --top {args.top}: expected 1 to {MOST}.")
    for name in ("image_weight", "text_weight"):
        if getattr(args, name) is not None:
            check_weight(f"--{name.replace('_', '-')}", getattr(args, name))
    if not 0 <= args.seed < 2**63:
        raise SowError(f"Bad --seed {args.seed}: expected 0 to {2**63 - 1}.")
    guidance_of(args, Guidance())
    if not args.folder.is_dir():
        raise SowError(f"No such folder: {args.folder}.")
    if args.sheet:
        check_outputs([args.sheet], filter(None, (args.image, args.mask)))
    if args.mask and not args.image:
        raise SowError("A mask without a picture: --mask says which part of --image to ignore.")
    picture = load_picture(args.image)[0] if args.image else None
    return Query(picture, load_mask(args.mask) if args.mask else None, args.text, args.without)


def guidance_of(args: argparse.Namespace, known: Guidance) -> Guidance:
    """The prior's own guidance with what was given. Raises SowError."""
    from dataclasses import replace

    given = {"image": args.image_weight, "text": args.text_weight, "steps": args.steps, "samples": args.samples,
             "source": args.source_weight}  # fmt: skip
    return replace(known, **{k: v for k, v in given.items() if v is not None})


def _vector(args: argparse.Namespace, query: Query, encoder: Any) -> Any:
    from ..retrieval.find import composed, fused

    if args.method == "fusion":
        weights = (1.0 if w is None else w for w in (args.image_weight, args.text_weight))
        return fused(query, encoder, *weights)
    from ..retrieval.checkpoint import load_prior
    from ..retrieval.priors import prior_file

    prior = load_prior(prior_file(args.prior), args.device)
    states = None
    if args.prior_text:
        from ..retrieval.clip_encoder import ClipStates

        states = ClipStates(args.prior_text, args.device)
    return composed(query, encoder, prior, guidance_of(args, prior.guidance), args.seed, states)


def _say(args: argparse.Namespace, index: Index, answer: Answer) -> None:
    if args.json:
        rows = [{"name": f.name, "score": round(f.score, 4), "copies": list(f.copies)} for f in answer.found]
        print(json.dumps(rows, indent=1))  # ASCII: a file's name cannot steer the terminal
    else:
        for f in answer.found:
            copies = f" (and {len(f.copies)} copies)" if f.copies else ""
            print(f"{f.score:.4f} {one_line(f.name)}{copies}")
    if answer.stale:
        print(f"note: {answer.stale} better ones are gone or changed; run `sow index` again.", file=sys.stderr)
    if not index.complete:
        print("note: the index is not finished; run `sow index` again.", file=sys.stderr)


def sheet(folder: Path, query: Query, answer: Answer) -> Any:
    """The query and what was found, in a page."""
    from PIL import Image

    from ..pictures.reading import load_picture
    from ..pictures.sheet import contact_sheet

    tiles = []
    if query.picture is not None:
        shown = query.picture
        if query.hidden is not None:
            black = Image.new("RGB", shown.size)
            shown = Image.composite(black, shown, query.hidden.convert("L").point(lambda v: 255 if v >= 128 else 0))
        tiles.append((" ".join(filter(None, (query.text, query.without and f"not {query.without}"))) or "query", shown))
    for rank, f in enumerate(answer.found[:SHEET_MOST], 1):
        tiles.append((f"{rank}: {f.score:.3f} {one_line(f.name)}", load_picture(folder / f.name)[0]))
    return contact_sheet(tiles)


def copy(folder: Path, answer: Answer, target: Path) -> None:
    """1_name.png, 2_name.png, ... in `target`, made if missing; nothing there is overwritten. Raises SowError."""
    pairs = [(folder / f.name, target / f"{rank}_{Path(f.name).name}") for rank, f in enumerate(answer.found, 1)]
    taken = next((new for _, new in pairs if new.exists()), None)
    if taken is not None:
        raise SowError(f"{taken} is there already; choose another --copy-to.")
    try:
        target.mkdir(parents=True, exist_ok=True)
        atomic_write_all([(new, old.read_bytes()) for old, new in pairs])
    except OSError as error:
        raise SowError(f"Cannot copy to {target}: {error.strerror or error}.") from error
