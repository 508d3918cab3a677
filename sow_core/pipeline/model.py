"""The model of `generate`: which device and precision, loading it, and what it recommends."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import SowError
from ..memory import is_out_of_memory
from ..method.box import CELL
from ..settings import with_config
from .job import Job

if TYPE_CHECKING:
    from ..backends.diffusers import DiffusersBackend


def load_model(args: argparse.Namespace) -> DiffusersBackend:
    """The model that the options name, on its device. Raises SowError."""
    import torch

    from ..backends.diffusers import DiffusersBackend

    device = args.device or _best_device()
    try:
        kind = torch.device(device).type
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n")[0][:100]
        raise SowError(f"The device {device!r} cannot be used here ({reason}); try --device cpu.") from None
    dtype = getattr(torch, args.dtype or ("float16" if kind == "cuda" else "float32"))
    name = args.model or "demo"
    try:
        return DiffusersBackend.load(name, device=device, dtype=dtype, download=args.download, config=args.config)
    except Exception as error:
        if is_out_of_memory(error):
            raise SowError(
                f"Out of memory while loading {name} on {device}; use --dtype float16, or another device."
            ) from None
        raise


def recommend(args: argparse.Namespace, job: Job, values: Mapping[str, Any]) -> None:
    """A model folder's own recommendations (sow.json), where the user says nothing else."""
    if args.negative is None and "negative" in values:
        job.negative = values["negative"]
    chosen = any(a.partition("=")[0].strip() == "guidance" for a in args.assignments)
    if args.cfg is None and not chosen and "guidance" in values:
        job.config = with_config(job.config, guidance=float(values["guidance"]))


def native_size(backend: DiffusersBackend) -> tuple[int, int]:
    """(width, height) in px that the model was trained at."""
    cells = backend.parts.unet.config.sample_size or 64
    height, width = cells if isinstance(cells, (list, tuple)) else (cells, cells)
    return int(width) * CELL, int(height) * CELL


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
