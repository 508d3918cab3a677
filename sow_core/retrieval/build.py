"""Making and renewing an index: only what is new or changed is read, and only what was never seen is embedded."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import SowError
from ..files import check_writable
from ..outside.reading import open_file
from ..pictures.reading import load_picture
from .encoders import Encoder, unit
from .index import NAME, Entry, Index, is_inside, read_index, with_rows, write_index

KINDS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"}
MASK = "_mask"
"""Ends the name of the mask that lies beside a picture: it is none of the pictures to find."""
BATCH = 16
SAVE_EVERY = 60.0
"""Seconds of work that a kill may cost."""
BLOCK = 1 << 20
MAPPED = os.name != "nt"
"""Windows replaces no file that somebody has mapped, and renewing an index replaces it."""


@dataclass
class Report:
    """What an indexing run did."""

    pictures: int = 0
    embedded: int = 0
    copies: int = 0
    """Files that are byte for byte another one: embedded once."""
    kept: int = 0
    """Unchanged, not even read."""
    gone: int = 0
    unreadable: list[str] = field(default_factory=list)
    """A line each: name and reason."""

    def line(self) -> str:
        return (f"{self.pictures} pictures: {self.embedded} embedded, {self.kept} unchanged, {self.copies} copies, "
                f"{self.gone} gone, {len(self.unreadable)} unreadable")


def list_pictures(folder: Path) -> list[tuple[str, os.stat_result]]:
    """Names (with slashes) and states of the picture files below a folder, sorted; hidden ones, links that lead
    out of it and the masks beside pictures are left out. Raises SowError if there is no such folder."""
    if not folder.is_dir():
        raise SowError(f"No such folder: {folder}.")
    root = os.path.realpath(folder)
    found: list[tuple[str, os.stat_result]] = []
    try:
        for place, folders, files in os.walk(folder):
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            for name in files:
                path = Path(place, name)
                if name.startswith(".") or path.suffix.lower() not in KINDS or not stays(path, root):
                    continue
                try:
                    state = path.stat()
                except OSError:  # a link to nothing, or a file that went while we looked
                    continue
                below = path.relative_to(folder).as_posix()
                if path.is_file() and is_inside(below):
                    found.append((below, state))
    except OSError as error:
        raise SowError(f"Cannot read the folder {folder}: {error.strerror or error}.") from error
    names = {name for name, _ in found}
    bare = {name.rpartition(".")[0] for name in names}
    return sorted((name, state) for name, state in found if _masked(name) not in bare)


def _masked(name: str) -> str:
    """What a picture is a mask of, without its ending: "a/tom" for "a/tom_mask.png"; "" if it is no mask."""
    stem = name.rpartition(".")[0]
    return stem.removesuffix(MASK) if stem.endswith(MASK) else ""


def mask_beside(path: Path) -> Path | None:
    """The mask of a picture: NAME_mask.png (or another kind) beside NAME, if there is one."""
    found = (path.with_name(f"{path.stem}{MASK}{kind}") for kind in sorted(KINDS))
    return next((p for p in found if p.is_file() and not p.is_symlink()), None)


def stays(path: Path, root: str) -> bool:
    """Whether a path, links followed, lies below `root` (a real path)."""
    if not path.is_symlink():
        return True  # its folder was walked without following links
    return os.path.realpath(path).startswith(root.rstrip(os.sep) + os.sep)


def update(
    folder: Path,
    file: Path,
    encoder: Encoder,
    anew: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    tell: Callable[[str], None] = lambda line: None,
    save_every: float = SAVE_EVERY,
) -> Report:
    """Bring the index `file` of a folder up to date; it is written whole, at the end and once a minute.

    A run that is killed goes on from the last writing; one that is stopped writes before it ends. tell gets
    a line for each unreadable file. Raises SowError for a folder without a readable picture, an index of another
    encoder, a damaged one (unless `anew`), or a place that cannot be written.
    """
    found = list_pictures(folder)
    if not found:
        raise SowError(f"No pictures in {folder}: expected {', '.join(sorted(k[1:] for k in KINDS))} files.")
    check_writable(file)
    old = _start(file, encoder, anew)
    names = {name for name, _ in found}
    report = Report(gone=sum(e.name not in names for e in old.entries))
    work = _Work(file, old)
    try:
        for done, batch in _fresh(folder, found, work, report, tell):
            if batch:
                work.add(batch, encoder, report)
            progress(done, len(found))
            if time.monotonic() - work.saved > save_every:
                work.save(complete=False)
    except BaseException:  # Ctrl-C, a host's cancel, an encoder that ran out of memory: keep what was done
        if work.entries:
            work.save(complete=False)
        raise
    report.pictures = len(work.entries)
    if not work.entries:
        raise SowError(f"No readable picture in {folder}: {len(report.unreadable)} files failed.")
    work.save(complete=True)
    return report


def _start(file: Path, encoder: Encoder, anew: bool) -> Index:
    if anew and file.is_file() and file.name != NAME and b'"sow_index"' not in _head(file):
        raise SowError(f"Cannot write {file}: it is no index; choose another name, or move it.")
    if anew or not file.exists():
        return Index((), np.zeros((0, encoder.width), np.float16), encoder.identity, encoder.name)
    old = read_index(file, MAPPED)
    check_encoder(old, encoder, file)
    return old


def _head(file: Path) -> bytes:
    with open_file(file, "the index") as opened:
        return opened.read(512)


def check_encoder(index: Index, encoder: Encoder, file: Path) -> None:
    """Raises SowError if the index was made by other weights."""
    if index.encoder != encoder.identity or index.vectors.shape[1] != encoder.width:
        raise SowError(f"The index {file} was made with another encoder ({index.encoder_name[:60]}, other weights than "
                       f"{encoder.name}): choose that one with --encoder, or re-index with `sow index FOLDER --anew`.")


@dataclass
class _Fresh:
    """A file that has to be embedded."""

    name: str
    state: os.stat_result
    digest: bytes
    picture: Image.Image


def _fresh(
    folder: Path,
    found: list[tuple[str, os.stat_result]],
    work: _Work,
    report: Report,
    tell: Callable[[str], None],
) -> Iterator[tuple[int, list[_Fresh]]]:
    """Batches of pictures that no vector is known of, and how many files were looked at so far."""
    batch: list[_Fresh] = []
    waiting: set[bytes] = set()
    for number, (name, state) in enumerate(found, 1):
        known = work.known.get(name)
        if known is not None and (known.size, known.mtime) == (state.st_size, state.st_mtime_ns):
            work.entries.append(known)
            report.kept += 1
        else:
            try:
                digest = hash_file(folder / name)
                if digest in waiting:  # its twin is in this very batch
                    yield number - 1, batch
                    batch, waiting = [], set()
                row = work.row_of.get(digest)
                if row is not None:
                    work.entries.append(Entry(name, state.st_size, state.st_mtime_ns, digest, row))
                    report.copies += 1
                else:
                    batch.append(_Fresh(name, state, digest, load_picture(folder / name)[0]))
                    waiting.add(digest)
            except (SowError, OSError) as error:
                line = " ".join(f"{name}: {error}".split())
                report.unreadable.append(line)
                tell(line)
        if len(batch) == BATCH or number % 256 == 0 or number == len(found):
            yield number, batch
            batch, waiting = [], set()


def hash_file(path: Path) -> bytes:
    """sha256, read in blocks."""
    made = hashlib.sha256()
    with open_file(path, "the picture") as file:
        while block := file.read(BLOCK):
            made.update(block)
    return made.digest()


class _Work:
    """An index in the making: entries, the vectors on disk, and those that are not yet."""

    def __init__(self, file: Path, old: Index):
        self.file, self.old, self.saved = file, old, time.monotonic()
        self.known = {e.name: e for e in old.entries}
        self.row_of = {e.digest: e.row for e in old.entries}
        self.entries: list[Entry] = []
        self.new: list[np.ndarray] = []

    def add(self, batch: list[_Fresh], encoder: Encoder, report: Report) -> None:
        vectors = unit(encoder.pictures([f.picture for f in batch])).half().numpy()
        for fresh, vector in zip(batch, vectors, strict=True):
            row = len(self.old.vectors) + len(self.new)
            self.new.append(vector)
            self.row_of[fresh.digest] = row
            state = fresh.state
            self.entries.append(Entry(fresh.name, state.st_size, state.st_mtime_ns, fresh.digest, row))
        report.embedded += len(batch)

    def save(self, complete: bool) -> None:
        """Write what there is, and go on from the file: new vectors do not pile up in memory."""
        listed = {e.name for e in self.entries}
        rest = () if complete else tuple(e for e in self.old.entries if e.name not in listed)
        write_index(self.file, with_rows(self.old, (*self.entries, *rest), self.new, complete))
        if not complete:
            count = len(self.entries)
            self.old = read_index(self.file, MAPPED)
            self.entries, self.new = list(self.old.entries[:count]), []
            self.known = {e.name: e for e in self.old.entries}
            self.row_of = {e.digest: e.row for e in self.old.entries}
        self.saved = time.monotonic()
