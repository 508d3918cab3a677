"""Writing files so that a crash, a full disk, a signal or Ctrl-C leaves no half of one, and nobody else's is lost."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import SowError

Content = bytes | str | Callable[[BinaryIO], object]
"""What a file is to hold: bytes, text (UTF-8) or a function that writes to the open binary file."""

HEAD = 512
"""Bytes at the start of a file that tell whether it is ours."""
PNG_MARK = b"tEXtSoftware\x00SOW"
"""In the head of every PNG that is written here, so that a later run knows it again (`settings.png_bytes`)."""
JSON_MARK = b'"sow_'
"""In the head of every JSON file that is written here: its first key is sow_plan, sow_report or the like."""


def check_writable(path: str | os.PathLike[str]) -> Path:
    """`path`, if a file can be written there. Raises SowError before any work was spent otherwise."""
    target = Path(path)
    name = str(target)[:200]
    try:
        if target.is_dir():
            raise SowError(f"Cannot write {name}: it is a folder; name a file.")
        if target.exists() and not target.is_file():  # renaming over a device would remove the device
            raise SowError(f"Cannot write {name}: it is no ordinary file; choose another name.")
        if not target.parent.is_dir():
            raise SowError(f"Cannot write {name}: the folder {target.parent} does not exist; create it first.")
        os.lstat(target)
    except FileNotFoundError:
        pass
    except SowError:
        raise
    except (OSError, ValueError) as error:  # a name that is too long, or holds what no file system takes
        raise SowError(f"Cannot write {name!a}: {getattr(error, 'strerror', None) or error}.") from error
    try:
        # Only trying tells: permission bits mean nothing to root, on Windows, and on a read-only disk.
        tempfile.TemporaryFile(dir=Path(os.path.realpath(target)).parent).close()
    except OSError as error:
        reason = f"{error.strerror or error}"
        raise SowError(
            f"Cannot write {name}: the folder {target.parent} is not writable ({reason}); choose another."
        ) from error
    return target


def is_ours(path: str | os.PathLike[str]) -> bool:
    """Whether this project wrote the file: a PNG or JSON with our mark in its head. An empty file may be anybody's."""
    with open(path, "rb") as file:
        head = file.read(HEAD)
    if head.startswith(b"\x89PNG"):
        return PNG_MARK in head
    return not head or (head.lstrip().startswith(b"{") and JSON_MARK in head)


def check_outputs(
    outputs: Iterable[str | os.PathLike[str]], inputs: Iterable[str | os.PathLike[str]] = ()
) -> list[Path]:
    """The outputs as paths, if writing them replaces neither an input, nor each other, nor a file that is not ours.

    Raises SowError before any work was spent; also where `check_writable` does.
    """
    taken = {place for path in inputs for place in _places(path)}
    checked = []
    for path in outputs:
        target = check_writable(path)
        places = _places(target)
        if taken & places:
            raise SowError(f"Cannot write {target}: it is an input, or another output; choose another name.")
        taken |= places
        if target.exists() and not is_ours(target):
            raise SowError(
                f"Cannot write {target}: a file that was not made here lies there; choose another name, or move it."
            )
        checked.append(target)
    return checked


def _places(path: str | os.PathLike[str]) -> set[object]:
    """What identifies a file: its resolved name and, if it exists, its place on the disk (hard links, letter case)."""
    try:
        real = os.path.realpath(path)
    except ValueError:  # no file can have this name
        return set()
    try:
        found = os.stat(real)
    except OSError:
        return {real}
    return {real, (found.st_dev, found.st_ino)} if found.st_ino else {real}


def atomic_write(path: str | os.PathLike[str], content: Content) -> Path:
    """Write a whole file or nothing: a temporary neighbour is filled, then renamed over `path`.

    A symbolic link stays one; the file that it names is written.
    Raises SowError if the folder is missing or not writable, or the disk refuses.
    """
    return atomic_write_all([(path, content)])[0]


def atomic_write_all(files: Sequence[tuple[str | os.PathLike[str], Content]]) -> list[Path]:
    """Write several files or none: all temporaries are filled before the first is renamed, as `atomic_write` does."""
    targets = [check_writable(path) for path, _ in files]
    with ExitStack() as clean:
        parts = []
        for target, (_, content) in zip(targets, files, strict=True):
            with _explained(target):
                parts.append(_fill(Path(os.path.realpath(target)), content, clean))
        for target, part in zip(targets, parts, strict=True):
            with _explained(target):
                os.replace(part, os.path.realpath(target))
    return targets


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SowError(f"Cannot write {target}: {error.strerror or error}.") from error


def _fill(final: Path, content: Content, clean: ExitStack) -> Path:
    """A filled temporary neighbour of `final`; `clean` removes it unless it was renamed by then."""
    part = final.parent / f".sow-{secrets.token_hex(8)}.part"
    clean.callback(part.unlink, missing_ok=True)  # before it exists: a signal may come at any time
    with open(part, "xb") as file:
        if isinstance(content, str):
            file.write(content.encode("utf-8"))
        elif isinstance(content, bytes):
            file.write(content)
        else:
            content(file)
    return part
