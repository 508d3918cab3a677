"""Writing files so that a crash, a full disk or Ctrl-C never leaves half of one behind."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from .errors import SowError


def check_writable(path: str | os.PathLike[str]) -> Path:
    """`path`, if a file can be written there. Raises SowError before any work was spent otherwise."""
    target = Path(path)
    if target.is_dir():
        raise SowError(f"Cannot write {target}: it is a folder; name a file.")
    if not target.parent.is_dir():
        raise SowError(f"Cannot write {target}: the folder {target.parent} does not exist; create it first.")
    if not os.access(target.parent, os.W_OK):
        raise SowError(f"Cannot write {target}: the folder {target.parent} is not writable; choose another.")
    return target


def atomic_write(path: str | os.PathLike[str], content: bytes | str | Callable[[BinaryIO], object]) -> Path:
    """Write a whole file or nothing: a temporary neighbour is filled, then renamed over `path`.

    `content` is bytes, text (UTF-8) or a function that writes to the open binary file.
    Raises SowError if the folder is missing or not writable, or the disk refuses.
    """
    target = check_writable(path)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
            temporary = file.name
            if isinstance(content, str):
                file.write(content.encode("utf-8"))
            elif isinstance(content, bytes):
                file.write(content)
            else:
                content(file)  # type: ignore[arg-type]
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # a temporary file is private; the result should be an ordinary file
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise SowError(f"Cannot write {target}: {error.strerror or error}.") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
    return target
