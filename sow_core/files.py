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
    try:
        if target.is_dir():
            raise SowError(f"Cannot write {target}: it is a folder; name a file.")
        if target.exists() and not target.is_file():  # renaming over a device would remove the device
            raise SowError(f"Cannot write {target}: it is no ordinary file; choose another name.")
        if not target.parent.is_dir():
            raise SowError(f"Cannot write {target}: the folder {target.parent} does not exist; create it first.")
    except OSError as error:
        raise SowError(f"Cannot write {str(target)[:100]}: {error.strerror or error}.") from error
    try:
        # Only trying tells: permission bits mean nothing to root, on Windows, and on a read-only disk.
        tempfile.TemporaryFile(dir=Path(os.path.realpath(target)).parent).close()
    except OSError as error:
        reason = f"{error.strerror or error}"
        raise SowError(
            f"Cannot write {target}: the folder {target.parent} is not writable ({reason}); choose another."
        ) from error
    return target


def atomic_write(path: str | os.PathLike[str], content: bytes | str | Callable[[BinaryIO], object]) -> Path:
    """Write a whole file or nothing: a temporary neighbour is filled, then renamed over `path`.

    A symbolic link stays one; the file that it names is written.
    `content` is bytes, text (UTF-8) or a function that writes to the open binary file.
    Raises SowError if the folder is missing or not writable, or the disk refuses.
    """
    target = check_writable(path)
    temporary = None
    try:
        final = Path(os.path.realpath(target))
        with tempfile.NamedTemporaryFile(dir=final.parent, prefix=".sow-", suffix=".part", delete=False) as file:
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
        os.replace(temporary, final)
        temporary = None
    except OSError as error:
        raise SowError(f"Cannot write {target}: {error.strerror or error}.") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
    return target
