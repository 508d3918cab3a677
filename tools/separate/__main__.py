"""`python -m tools.separate tune --concepts "cat, dog" --out patch.safetensors`: see tune.py for what it trains."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sow_core.errors import SowError


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.separate", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    tune = commands.add_parser("tune", help="train the keys of cross-attention for these words; no pictures needed")
    tune.add_argument("--model", default="demo", help="demo, a diffusers folder or a .safetensors file")
    tune.add_argument("--concepts", required=True, action="append", metavar="WORDS",
                      help='2 to 8 things that are to stay apart, as in "cat, dog"; repeat for more groups')
    tune.add_argument("--out", required=True, metavar="FILE.safetensors")
    tune.add_argument("--steps", type=int, default=200)
    tune.add_argument("--rate", type=float, default=8e-6, help="learning rate (default: %(default)s)")
    tune.add_argument("--batch", type=int, default=4)
    tune.add_argument("--norm", type=float, default=0.5, help="weight of the norm loss (default: %(default)s; 0: off)")
    tune.add_argument("--depth", type=int, help="halvings of the latent grid at which attention is read (default: "
                      "the model's recommendation, else 2)")
    tune.add_argument("--seed", type=int, default=0)
    tune.add_argument("--device", default="cpu")
    args = parser.parse_args(argv)
    try:
        return _tune(args)
    except SowError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _tune(args: argparse.Namespace) -> int:
    import torch
    from tqdm import tqdm

    from sow_core.backends.diffusers import DiffusersBackend
    from sow_core.backends.patches import write_patch
    from sow_core.files import check_writable
    from sow_core.method.separation import Separation, parse_concepts

    from .tune import Recipe, tune

    groups = [parse_concepts(text) for text in args.concepts]
    for text, words in zip(args.concepts, groups, strict=True):
        if len(words) < 2:
            raise SowError(f"Bad --concepts {text!r}: expected at least two things to keep apart.")
    out = check_writable(Path(args.out))
    if out.suffix != ".safetensors":
        raise SowError(f"Bad --out {out}: expected a name that ends in .safetensors.")
    for name, least in (("steps", 1), ("batch", 1), ("rate", 0.0), ("norm", 0.0)):
        if not getattr(args, name) >= least:
            raise SowError(f"Bad --{name} {getattr(args, name)}: expected at least {least}.")
    backend = DiffusersBackend.load(args.model, device=args.device, dtype=torch.float32)
    told = backend.parts.recommended.separate or Separation()
    depth = args.depth if args.depth is not None else told.depth
    recipe = Recipe(args.steps, args.rate, args.batch, args.norm, Separation().beta, depth, args.seed)
    with tqdm(total=args.steps, unit="step") as bar:

        def progress(step: int, separate: float, norm: float) -> None:
            bar.set_postfix(separate=f"{separate:.4f}", norm=f"{norm:.6f}")
            bar.update(step - bar.n)

        differences = tune(backend, groups, recipe, progress)
    about = {"concepts": "; ".join(", ".join(words) for words in groups),
             "steps": str(args.steps), "rate": str(args.rate), "norm": str(args.norm),
             "model": Path(args.model).name}
    print(write_patch(out, differences, about))
    return 0


if __name__ == "__main__":
    sys.exit(main())
