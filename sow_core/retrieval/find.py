"""One search: from a picture and words to the pictures of a folder that fit best."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image
from torch import Tensor

from ..errors import SowError
from .build import check_encoder, hash_file
from .checkpoint import Prior
from .encoders import Encoder, unit
from .fusion import fuse
from .guidance import Guidance
from .index import Entry, Index
from .sampler import Conditions, sample, with_source
from .search import nearest

HIDDEN = 128
"""Gray values of a mask from here on up are not to be seen."""
MOST = 10_000


class States(Protocol):
    def states(self, text: str) -> Tensor: ...


@dataclass(frozen=True)
class Query:
    """What is looked for. picture: RGB; hidden: gray, of its size, white = ignore this part; text: what shall be
    different; without: what shall not be there. Raises SowError if there is nothing to look for, or the mask does
    not fit.
    """

    picture: Image.Image | None = None
    hidden: Image.Image | None = None
    text: str = ""
    without: str = ""

    def __post_init__(self) -> None:
        if self.picture is None and not self.text.strip():
            raise SowError("Nothing to look for: expected a picture (--image), words (--text), or both.")
        if self.hidden is None:
            return
        if self.picture is None:
            raise SowError("A mask without a picture: it says which part of --image to ignore.")
        if self.hidden.size != self.picture.size:
            expected, got = ("x".join(map(str, p.size)) for p in (self.picture, self.hidden))
            raise SowError(f"Bad mask size. Expected {expected}, as the picture, got {got}.")
        covered = np.asarray(self.hidden.convert("L")) >= HIDDEN
        if not covered.any():
            raise SowError("The mask is empty: expected some pixels to ignore (white = ignore); invert it?")
        if covered.all():
            raise SowError("The mask covers the whole picture: nothing of it is left to look for; invert it?")


@dataclass(frozen=True)
class Found:
    """One picture, the best first. name: below the folder; score: the cosine; copies: files of the same content."""

    name: str
    score: float
    copies: tuple[str, ...] = ()


def fused(query: Query, encoder: Encoder, image_weight: float, text_weight: float) -> Tensor:
    """The training-free query, a unit vector [D]."""
    image = None if query.picture is None else encoder.pictures([query.picture], [query.hidden])[0]
    text, without = (encoder.texts([t])[0] if t.strip() else None for t in (query.text, query.without))
    return fuse(image, text, without, image_weight, text_weight)


def composed(
    query: Query, encoder: Encoder, prior: Prior, guidance: Guidance, seed: int, states: States | None = None
) -> Tensor:
    """The prior's query, a unit vector [D]. states: the text encoder that the prior was trained on, if it is not the
    index's. Raises SowError where prior and encoders do not fit each other."""
    network, reader = prior.network, states or encoder
    if network.config.width != encoder.width:
        raise SowError(f"The prior makes embeddings of {network.config.width} numbers, the encoder {encoder.name} of "
                       f"{encoder.width}: they do not belong together.")
    if prior.encoder and prior.encoder != encoder.identity:
        raise SowError(f"The prior was trained on other encoder weights than {encoder.name}: restore or retrain them.")
    text, negative = reader.states(query.text), reader.states(query.without)
    if text.shape[-1] != network.config.text:
        raise SowError(f"The prior reads text states of {network.config.text} numbers, got {text.shape[-1]}: name its "
                       "text encoder's folder with --prior-text.")
    image = None if query.picture is None else encoder.pictures([query.picture], [query.hidden])[0]
    mask = None if query.hidden is None else encoder.cells(query.hidden, network.config.mask)
    conditions = Conditions(text, negative, image, mask)
    z = with_source(sample(network, [conditions], guidance, [seed])[0].cpu(), conditions, guidance.source)
    return unit(z[None])[0]


@dataclass(frozen=True)
class Answer:
    found: tuple[Found, ...]
    stale: int = 0
    """Better ones that were deleted or changed since they were indexed."""


def look_up(
    folder: Path, index: Index, encoder: Encoder, query: Tensor, top: int, file: Path, leave_out: bytes = b""
) -> Answer:
    """The `top` pictures nearest to a unit vector. leave_out: sha256 of a picture that is no answer (the query's).

    Files that are gone, changed, or no longer inside the folder are passed over. Raises SowError for top < 1, an
    index of another encoder, a damaged one, and if nothing is left.
    """
    if not 1 <= top <= MOST:
        raise SowError(f"Bad --top {top}: expected 1 to {MOST}.")
    check_encoder(index, encoder, file)
    owners: dict[int, list[Entry]] = defaultdict(list)
    for entry in index.entries:
        owners[entry.row].append(entry)
    root, vector = os.path.realpath(folder), query.numpy().astype(np.float32)
    wanted = top
    while True:
        rows, scores = nearest(index.vectors, vector, wanted + 1)
        found, stale = [], 0
        for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
            entries = owners.get(row, [])
            if not entries or entries[0].digest == leave_out:
                continue
            there = [e.name for e in entries if _unchanged(folder, e, root)]
            stale += not there
            if there:
                found.append(Found(there[0], float(score), tuple(there[1:])))
        if len(found) >= top or wanted + 1 >= len(index.vectors):
            break
        wanted *= 4
    if not found:
        raise SowError(f"No picture of {folder} is as it was indexed: run `sow index {folder}` again.")
    return Answer(tuple(found[:top]), stale)


def _unchanged(folder: Path, entry: Entry, root: str) -> bool:
    path = folder / entry.name
    try:
        state = path.stat()
    except OSError:
        return False
    inside = os.path.realpath(path).startswith(root.rstrip(os.sep) + os.sep)  # whatever the index says
    return inside and path.is_file() and (state.st_size, state.st_mtime_ns) == (entry.size, entry.mtime)


def digest_of(path: Path) -> bytes:
    """sha256 of the query's file. Raises SowError if it cannot be read."""
    try:
        return hash_file(path)
    except OSError as error:
        raise SowError(f"Cannot read {path}: {error.strerror or error}.") from error
