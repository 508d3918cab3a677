"""A part of a model: a module that a library builds from a checked config, with the weights that were read here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import SowError
from .components import readable
from .weights import read_weights


def assemble(build: Callable[[], Any], folder: Path, dtype: torch.dtype | None) -> Any:
    """What `build` makes, on no device, with the weights in `folder`, in `dtype` (None: as they are stored).

    Weights that a model ties to others may be stored under either name. Raises SowError if a weight is missing: it
    would be random.
    """
    from accelerate import init_empty_weights

    state = read_weights(folder)
    with readable(str(folder)):
        with init_empty_weights():
            made = build()
        wanted = made.state_dict()
        named = {_new_name(key, wanted): value for key, value in state.items()}
        kept = {key: _as(value, _precision(made, key, dtype)) for key, value in named.items() if key in wanted}
        for key, other in _tied(made).items():
            if key not in kept and other in kept:
                kept[key] = kept[other]
        missing = sorted(k for k in wanted if k not in kept and not k.endswith("position_ids"))
        if missing:
            raise SowError(
                f"The weights in {folder} are incomplete: {len(missing)} missing ({missing[0]}, ...); fetch them again."
            )
        made.load_state_dict(kept, strict=False, assign=True)
    return made


def _precision(made: Any, key: str, dtype: torch.dtype | None) -> torch.dtype | None:
    """float32 for what a library keeps in it because it overflows in float16 (T5's last layers of a block)."""
    full = getattr(made, "_keep_in_fp32_modules", None) or ()
    return torch.float32 if dtype is torch.float16 and set(full) & set(key.split(".")) else dtype


def _tied(made: Any) -> dict[str, str]:
    """Names of weights that are others', by transformers' own record: T5's second name of its embedding."""
    tied = getattr(made, "_tied_weights_keys", None)
    if isinstance(tied, dict):
        return {key: other for key, other in tied.items() if isinstance(other, str)}
    return {"encoder.embed_tokens.weight": "shared.weight"} if tied else {}


def _as(value: Tensor, dtype: torch.dtype | None) -> Tensor:
    """A copy: what safetensors gives is the file itself in memory, which goes bad when the file is written over."""
    return value.to(dtype if dtype is not None and value.is_floating_point() else value.dtype, copy=True)


_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Of an autoencoder's middle, as diffusers named it before version 0.15 and Stable Diffusion 1.x still does."""


def _new_name(key: str, wanted: dict[str, Tensor]) -> str:
    """The name by which the installed library knows a weight that another version of it wrote."""
    if key in wanted:
        return key
    prefix = "text_model."  # comes and goes between versions of transformers
    other = key.removeprefix(prefix) if key.startswith(prefix) else prefix + key
    if other in wanted:
        return other
    # A language model with its head, or with eyes, of which only the states are read.
    inner = key.removeprefix("model.").removeprefix("language_model.")
    if inner in wanted:
        return inner
    head, _, last = key.rpartition(".")
    head, _, part = head.rpartition(".")
    return f"{head}.{_OLD_ATTENTION.get(part, part)}.{last}"
