"""Names in place of paths: what a picture tells of the files it was made from, and how `--from` finds them again."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import SowError
from ..settings import digest

MOST_FOLDERS = 200
"""Subfolders that are looked through beside a picture, and in the working directory."""


def bare_name(path: str | os.PathLike[str]) -> str:
    """The last part of a path, as text that any file can hold: shared pictures tell nobody's folders.

    Bytes that are no UTF-8 are written as \\xNN. A path of another system counts too: C:\\a\\b.png is b.png.
    """
    text = os.fspath(path)
    if os.sep == "\\" or re.match(r"[A-Za-z]:[\\/]|\\\\", text):
        text = text.replace("\\", "/")
    name = text.rstrip("/").rpartition("/")[2] or text
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def find_file(name: str, sha256: str, beside: Path, option: str) -> str:
    """The file of this bare name and content beside a picture, in the working directory, or one folder below either.

    Raises SowError, which names the option that says it instead.
    """
    changed = None
    for path in _places(name, beside):
        if path.is_file():
            if digest(path) == sha256:
                return str(path)
            changed = path
    if changed is not None:
        raise SowError(f"{changed} is not the {name} that the picture was made from; give {option} to use another.")
    raise SowError(
        f"The picture was made from {name}, which lies neither beside it nor in the working directory; give {option}."
    )


def find_model(name: str, beside: Path) -> str | None:
    """The model folder or file of this bare name, searched as `find_file` does; None without one."""
    return next((str(path) for path in _places(name, beside)), None)


def _places(name: str, beside: Path) -> Iterator[Path]:
    """Everything of that name, nearest first. A name that would lead elsewhere ("..") is none."""
    for root in dict.fromkeys((beside.resolve(), Path.cwd())):
        folders = [root]
        try:
            folders += sorted(Path(e.path) for e in os.scandir(root) if e.is_dir())[:MOST_FOLDERS]
        except OSError:
            continue
        for folder in folders:
            try:
                yield from (Path(e.path) for e in os.scandir(folder) if bare_name(e.name) == name)
            except OSError:
                continue
