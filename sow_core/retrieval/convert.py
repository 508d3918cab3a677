"""`python -m sow_core.retrieval.convert IN OUT.safetensors`: the published prior, which is a pickle, as safetensors.

Only numbers are read from the pickle (weights_only): it cannot run code here. The tensors must be the prior's.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import SowError
from ..files import atomic_write, check_writable
from .checkpoint import MADE_ANEW, PREFIX, ROTARY, build


def convert(source: Path, target: Path) -> int:
    """Writes the file; how many tensors it has. Raises SowError and writes nothing if it is no prior."""
    from safetensors.torch import save

    check_writable(target)
    try:
        loaded: Any = torch.load(source, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise SowError(f"No such file: {source}.") from None
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())[:100]
        raise SowError(f"Cannot read {source} safely ({reason}); expected a checkpoint of tensors alone.") from error
    for wrapper in ("ema_model", "state_dict"):
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise SowError(f"{source} is no checkpoint: expected a dict of tensors.")
    state = {PREFIX + str(k).removeprefix("model.").removeprefix("net."): v for k, v in loaded.items()
             if not MADE_ANEW.search(str(k))}  # fmt: skip
    build(state, str(source))
    state = {k: v for k, v in state.items() if not ROTARY.search(k)}
    data = save({k: v.detach().clone().contiguous() for k, v in state.items()})
    atomic_write(target, data)
    return len(state)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sow_core.retrieval.convert", description=__doc__)
    parser.add_argument("source", type=Path, metavar="IN", help="pytorch_model.bin of the published checkpoint")
    parser.add_argument("target", type=Path, metavar="OUT.safetensors")
    args = parser.parse_args(argv)
    try:
        count = convert(args.source, args.target)
    except SowError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{args.target}: {count} tensors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
