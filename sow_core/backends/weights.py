"""The safetensors weights of one part of a model folder: in one file or in shards, under every name that is in use.

Nothing but torch and safetensors is needed, and no library is asked what to open: a pickle is never read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import SowError
from ..outside.reading import open_file, read_json_file
from ..outside.text import one_line, shown

if TYPE_CHECKING:
    from torch import Tensor

PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle")
WHY_NO_PICKLE = "a pickle, which can run code when it is opened; convert it to .safetensors and load that"

NAME = re.compile(
    r"(?:diffusion_pytorch_)?model(?:\.(?P<variant>\w+))?(?:-(?P<number>\d+)-of-(?P<count>\d+))?"
    r"(?:\.(?P<old>\w+))?\.safetensors"
)
"""model.safetensors, model.fp16.safetensors, model-00001-of-00002.safetensors, model.fp16-00001-of-00002.safetensors,
and model-00001-of-00002.fp16.safetensors, as older libraries wrote it."""
MOST_SHARDS = 1000


class WeightFile(NamedTuple):
    """A file of weights by its name: variant "fp16", "non_ema", ... or ""; its number and how many there are."""

    path: Path
    variant: str
    number: int
    of: int


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a part's weights: the plain ones, else fp16, else the first variant there is.

    Raises SowError if there are none, a shard is missing, or an index names something that is no safetensors file.
    """
    found = [f for f in map(_weight_file, sorted(_listed(folder))) if f is not None]
    if not found:
        pickles = sorted(p.name for p in _listed(folder) if p.suffix.lower() in PICKLES)
        if pickles:
            raise SowError(f"{one_line(folder / pickles[0])} is {WHY_NO_PICKLE}.")
        raise SowError(f"No weights in {one_line(folder)}: expected a .safetensors file; fetch the model again.")
    _check_indexes(folder)
    variants = {f.variant for f in found}
    variant = next((v for v in ("", "fp16") if v in variants), min(variants))
    chosen = [f for f in found if f.variant == variant]
    whole = [f.path for f in chosen if not f.of]
    return whole[:1] or _shards(folder, chosen)


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise SowError(f"Cannot read the folder {one_line(folder)}: {one_line(error.strerror or error)}.") from None


def _weight_file(path: Path) -> WeightFile | None:
    match = NAME.fullmatch(path.name)
    if match is None or (match["old"] and (match["variant"] or not match["number"])):
        return None
    return WeightFile(path, match["variant"] or match["old"] or "", *(int(match[n] or 0) for n in ("number", "count")))


def _shards(folder: Path, found: list[WeightFile]) -> list[Path]:
    count = min(found[0].of, MOST_SHARDS)
    numbered = {f.number: f.path for f in found if f.of == found[0].of}
    missing = [n for n in range(1, count + 1) if n not in numbered]
    if missing:
        raise SowError(f"The weights in {one_line(folder)} are incomplete: shard {missing[0]} of {count} is missing; "
                       "fetch them again.")  # fmt: skip
    return [numbered[n] for n in range(1, count + 1)]


def _check_indexes(folder: Path) -> None:
    """The shards are found by their names; an index that names anything else belongs to no model that is read here."""
    for path in sorted(folder.glob("*.safetensors.index*.json")):
        values = read_json_file(path, "the index")
        named = values.get("weight_map") if isinstance(values, dict) else None
        if not isinstance(named, dict):
            raise SowError(f"Bad weight_map in {one_line(path)}: expected an object; fetch the model again.")
        for file in named.values():
            if not isinstance(file, str) or not NAME.fullmatch(file):
                reason = f" It is {WHY_NO_PICKLE}." if str(file).lower().endswith(PICKLES) else ""
                raise SowError(f"Bad weight_map in {one_line(path)}: it names {shown(file)}, expected the .safetensors "
                               f"files beside it.{reason}")  # fmt: skip


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All weights of a part, as they are stored. Raises SowError if there are none or a file is damaged."""
    import safetensors.torch

    state: dict[str, Any] = {}
    for path in weight_files(folder):
        open_file(path, "the weights").close()  # an ordinary file
        try:
            state |= safetensors.torch.load_file(path)
        except Exception as error:  # safetensors raises a type of its own for a damaged file, or what torch raises
            if isinstance(error, MemoryError):
                raise
            raise SowError(
                f"{one_line(path)} is not a whole .safetensors file ({one_line(error, 80)}); fetch it again."
            ) from None
    return state
