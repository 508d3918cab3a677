"""The index of a folder of pictures: one safetensors file, read whole or not at all, its vectors memory-mapped.

| tensor | type | what |
|---|---|---|
| sizes, mtimes | I64 [N] | of each file, bytes and nanoseconds: whether it is still the one that was read |
| rows | I64 [N] | its vector; copies of one picture share it |
| ends | I64 [N] | where its name ends in `names` |
| vectors | F16 [M, D] | unit vectors |
| hashes | U8 [N, 32] | sha256 of each file |
| names | U8 [B] | paths below the folder, with slashes, UTF-8 |

The file's metadata name its version, the encoder, whether every picture was reached, and a hash of everything but
the vectors. A damaged index is refused as a whole; a vector that is none is found by its scores.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import SowError
from ..files import atomic_write
from ..outside.reading import open_file, parse_json

NAME = ".sow_index.safetensors"
"""In the folder that it is of, unless another place was chosen."""
VERSION = "1"
HEADER_MOST = 1 << 20
CHUNK = 16_384
"""Rows that are written or searched at once: memory stays bounded whatever the folder's size."""
COLUMNS = ("sizes", "mtimes", "rows", "ends", "vectors", "hashes", "names")
"""In this order in the file: every tensor lies at a multiple of its number's size."""
DTYPES: dict[str, np.dtype[Any]] = {"I64": np.dtype("<i8"), "F16": np.dtype("<f2"), "U8": np.dtype("u1")}
TYPES = {"vectors": "F16", "hashes": "U8", "names": "U8"}


@dataclass(frozen=True)
class Entry:
    """One file of the folder. row: of its vector."""

    name: str
    size: int
    mtime: int
    digest: bytes
    row: int


@dataclass(frozen=True)
class Index:
    """What an index file holds. vectors: [M, D] float16 unit vectors, memory-mapped where they came from a file."""

    entries: tuple[Entry, ...]
    vectors: np.ndarray
    encoder: str
    """The identity of the encoder."""
    encoder_name: str
    complete: bool = True
    """Whether the run that wrote it reached every picture."""


def index_file(folder: str | Path, chosen: str | Path | None = None) -> Path:
    return Path(chosen) if chosen is not None else Path(folder) / NAME


def read_index(path: Path, mapped: bool = True) -> Index:
    """mapped: leave the vectors on disk. Raises SowError if there is no index, it is of another version, or damaged:
    never a part of one.
    """
    if not path.exists():
        raise SowError(f"No index {path}: make it with `sow index FOLDER`.")
    if not path.is_file():
        raise SowError(f"{path} is no index of ours; name another with --index.")
    try:
        with open_file(path, "the index") as file:
            size = os.fstat(file.fileno()).st_size
            start, header = _header(file, size)
            tensors = {name: _tensor(file, start, header[name], name, size, mapped) for name in COLUMNS}
    except OSError as error:
        raise SowError(f"Cannot read the index {path}: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError):
        raise _damaged(path) from None
    return _checked(path, header.get("__metadata__"), tensors)


def write_index(path: Path, index: Index) -> None:
    """The whole file or nothing; vectors that no entry uses are left out. Raises SowError."""
    used = np.unique(np.array([e.row for e in index.entries], np.int64))
    rows = np.searchsorted(used, np.array([e.row for e in index.entries], np.int64))
    names = [e.name.encode("utf-8", "surrogateescape") for e in index.entries]
    small = {
        "sizes": np.array([e.size for e in index.entries], "<i8"),
        "mtimes": np.array([e.mtime for e in index.entries], "<i8"),
        "rows": rows.astype("<i8"),
        "ends": np.cumsum([len(n) for n in names], dtype="<i8"),
        "hashes": np.frombuffer(b"".join(e.digest for e in index.entries), np.uint8).reshape(-1, 32),
        "names": np.frombuffer(b"".join(names), np.uint8),
    }
    shape = (len(used), index.vectors.shape[1])
    header: dict[str, Any] = {"__metadata__": {
        "sow_index": VERSION, "encoder": index.encoder, "encoder_name": index.encoder_name,
        "complete": "yes" if index.complete else "no", "columns": _digest(small),
    }}  # fmt: skip
    at = 0
    for name in COLUMNS:
        kind, dims = TYPES.get(name, "I64"), shape if name == "vectors" else small[name].shape
        length = math.prod(dims) * DTYPES[kind].itemsize
        header[name] = {"dtype": kind, "shape": list(dims), "data_offsets": [at, at + length]}
        at += length
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)

    def fill(file: BinaryIO) -> None:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in COLUMNS:
            if name != "vectors":
                file.write(small[name].tobytes())
                continue
            for first in range(0, len(used), CHUNK):
                file.write(np.ascontiguousarray(index.vectors[used[first : first + CHUNK]], "<f2").tobytes())

    atomic_write(path, fill)


def _header(file: BinaryIO, size: int) -> tuple[int, dict[str, Any]]:
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(HEADER_MOST, size - 8):
        raise ValueError("no header")
    header = parse_json(file.read(length), "The index", most_bytes=HEADER_MOST)
    if not isinstance(header, dict):
        raise ValueError("no header")
    return 8 + length, header


def _tensor(file: BinaryIO, start: int, entry: Any, name: str, size: int, mapped: bool) -> np.ndarray:
    """One column."""
    kind, shape, (first, last) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    numbers = (*shape, first, last)
    if kind != TYPES.get(name, "I64") or not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError(name)
    if last - first != math.prod(shape) * DTYPES[kind].itemsize or start + last > size:
        raise ValueError(name)
    if len(shape) != (2 if name in ("vectors", "hashes") else 1):
        raise ValueError(name)
    if name == "vectors" and mapped and math.prod(shape):
        return np.memmap(file, DTYPES[kind], "r", start + first, shape)
    file.seek(start + first)
    return np.frombuffer(file.read(last - first), DTYPES[kind]).reshape(shape)


def _checked(path: Path, meta: Any, tensors: dict[str, np.ndarray]) -> Index:
    if not isinstance(meta, dict) or "sow_index" not in meta:
        raise SowError(f"{path} is no index of ours; name another with --index.")
    if meta["sow_index"] != VERSION:
        raise SowError(f"The index {path} is of another version; make it again with `sow index FOLDER --anew`.")
    count, ends = len(tensors["sizes"]), tensors["ends"]
    alike = all(len(tensors[c]) == count for c in ("mtimes", "rows", "ends", "hashes"))
    small = {c: v for c, v in tensors.items() if c != "vectors"}
    if not alike or meta.get("columns") != _digest(small) or tensors["hashes"].shape[1:] != (32,):
        raise _damaged(path)
    vectors = tensors["vectors"]
    if count and (ends[-1] != len(tensors["names"]) or (np.diff(ends, prepend=0) <= 0).any()):
        raise _damaged(path)
    if count and not (0 <= tensors["rows"].min() and tensors["rows"].max() < len(vectors)):
        raise _damaged(path)
    try:
        entries = tuple(_entries(tensors))
    except ValueError:
        raise _damaged(path) from None
    encoder, name = (str(meta.get(key)) for key in ("encoder", "encoder_name"))
    return Index(entries, vectors, encoder, name, meta.get("complete") == "yes")


def _entries(tensors: dict[str, np.ndarray]) -> Iterator[Entry]:
    text, hashes = tensors["names"].tobytes(), tensors["hashes"].tobytes()
    start = 0
    columns = (tensors[c].tolist() for c in ("sizes", "mtimes", "rows", "ends"))
    for i, (size, mtime, row, end) in enumerate(zip(*columns, strict=True)):
        name = text[start:end].decode("utf-8", "surrogateescape")
        if not is_inside(name):
            raise ValueError(name)
        yield Entry(name, size, mtime, hashes[32 * i : 32 * i + 32], row)
        start = end


def is_inside(name: str) -> bool:
    """Whether a path below a folder stays there: relative, no drive, nothing that climbs."""
    parts = name.replace("\\", "/").split("/")
    return "\0" not in name and parts[0][1:2] != ":" and all(p not in ("", ".", "..") for p in parts)


def _digest(small: dict[str, np.ndarray]) -> str:
    made = hashlib.sha256()
    for name in COLUMNS:
        if name in small:
            made.update(small[name].tobytes())
    return made.hexdigest()


def _damaged(path: Path) -> SowError:
    return SowError(f"The index {path} is damaged; make it again with `sow index FOLDER --anew`.")


def with_rows(index: Index, entries: Sequence[Entry], extra: Sequence[np.ndarray], complete: bool) -> Index:
    """The index with other entries; rows from len(index.vectors) on are those of `extra`."""
    return Index(tuple(entries), _Joined(index.vectors, extra), index.encoder, index.encoder_name, complete)  # type: ignore[arg-type]


class _Joined:
    """Old vectors on disk and new ones in memory, as far as `write_index` looks: rows by number."""

    def __init__(self, old: np.ndarray, new: Sequence[np.ndarray]):
        self.old, self.new = old, np.stack(new) if new else np.zeros((0, old.shape[1]), np.float16)
        self.shape = (len(old) + len(self.new), old.shape[1])

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """rows: sorted."""
        split = np.searchsorted(rows, len(self.old))
        return np.concatenate((self.old[rows[:split]], self.new[rows[split:] - len(self.old)]))
