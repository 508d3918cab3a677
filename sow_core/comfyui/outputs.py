"""A run's files, brought here: pictures, latents and texts alone, under names of our own, each what it says it is.

What a server names and sends lands where the user works. A module there (`tqdm.py`) would be imported by the next
Python that starts in that folder, so nothing is written that anything would run.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from ..errors import SowError
from ..files import atomic_write
from ..outside.reading import decode, parse_json
from ..outside.records import read_record
from ..outside.text import one_line
from .answers import Finished, OutputFile
from .client import ComfyClient

MOST_FILES = 1000
"""Files of one run that are brought."""

MOST_TOTAL = 4 * 2**30
"""Bytes of all files of one run."""

LONGEST_STEM = 80
"""Characters of a file's name before its ending."""

_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)$")
"""Names that mean a device on Windows, whatever their ending."""


def _starts(*marks: bytes) -> Callable[[bytes], bool]:
    return lambda content: content.startswith(marks)


def _is_webp(content: bytes) -> bool:
    return content[:4] == b"RIFF" and content[8:12] == b"WEBP"


def _is_avif(content: bytes) -> bool:
    return content[4:12] in (b"ftypavif", b"ftypavis")


def _is_latent(content: bytes) -> bool:
    """A safetensors file: the length of its header, then the header as JSON."""
    length = int.from_bytes(content[:8], "little")
    if not 2 <= length <= len(content) - 8:
        return False
    return _is_json(content[8 : 8 + length])


def _is_json(content: bytes) -> bool:
    try:
        return isinstance(parse_json(content, "it", most_bytes=len(content)), (dict, list))
    except SowError:
        return False


def _is_text(content: bytes) -> bool:
    try:
        decode(content, "it")
    except SowError:
        return False
    return True


_TIFF = _starts(b"II*\0", b"MM\0*")
_JPEG = _starts(b"\xff\xd8\xff")
TYPES: dict[str, Callable[[bytes], bool]] = {
    ".png": _starts(b"\x89PNG\r\n\x1a\n"),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": _is_webp,
    ".gif": _starts(b"GIF87a", b"GIF89a"),
    ".bmp": _starts(b"BM"),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".avif": _is_avif,
    ".latent": _is_latent,
    ".txt": _is_text,
    ".json": _is_json,
}
"""What is brought, by its ending, and whether some bytes are it."""

TEXTS = (".txt", ".json")


def output_files(entry: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """The files {filename, subfolder, type} that a run's nodes reported, whatever their media."""
    for result in (read_record(Finished, dict(entry)).outputs or {}).values():
        for values in (result or {}).values():
            for value in values if isinstance(values, list) else ():
                if isinstance(value, dict) and "filename" in value:
                    try:
                        file = read_record(OutputFile, value)
                    except SowError:
                        continue
                    yield {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}


def safe_name(name: str) -> tuple[str, str]:
    """(stem, ending) of our own making for the file that a server calls `name`; an ending that is not brought is "".

    Letters, digits, "-", "_" and blanks of the last part of the name are kept; it never starts with a dot or a dash. A
    text gets a word in front, so that it is no package.json or requirements.txt that another program looks for.
    """
    last = re.split(r"[\\/]", name)[-1]
    stem, dot, ending = last.rpartition(".")
    suffix = f".{ending.lower()}" if dot and stem else ""
    plain = "".join(c if c.isalnum() or c in "-_ " else "_" for c in unicodedata.normalize("NFC", stem))
    plain = plain.lstrip(" _-")[:LONGEST_STEM].rstrip() or "output"
    while len(plain.encode()) > 2 * LONGEST_STEM:
        plain = plain[:-1]
    if _RESERVED.match(plain) or suffix in TEXTS:
        plain = f"output_{plain}"
    return plain, suffix if suffix in TYPES else ""


def save_outputs(client: ComfyClient, entry: Mapping[str, Any], folder: Path, log: TextIO) -> Iterator[Path]:
    """Save a run's files into `folder`: what it saved on the server, or its previews if it saved nothing.

    Yields the paths. A file that is already there keeps its name and content; the new one gets a number. What is
    not brought is said on `log`. Raises SowError if there is too much, or a file is not what its name says.
    """
    files = list(output_files(entry))
    kept = [f for f in files if f["type"] == "output"] or files
    if len(kept) > MOST_FILES:
        raise SowError(f"The server lists {len(kept)} files for this run: at most {MOST_FILES} are brought; none was.")
    size = 0
    for reference in kept:
        stem, suffix = safe_name(reference["filename"])
        if not suffix:
            name = one_line(reference["filename"], 80)
            print(f"left on the server: {name} (only pictures, latents and texts are brought)", file=log)
            continue
        content = client.file(reference)
        if not TYPES[suffix](content):
            raise SowError(f"The server sent something else as {stem}{suffix}, which was not written.")
        size += len(content)
        if size > MOST_TOTAL:
            raise SowError(f"The run's files are larger than {MOST_TOTAL / 2**30:g} GB: the rest was not brought.")
        yield _write_new(folder, stem, suffix, content)


def _write_new(folder: Path, stem: str, suffix: str, content: bytes) -> Path:
    """Write a file that is not there yet, under the first free number."""
    number, target = 0, folder / f"{stem}{suffix}"
    while True:
        try:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))  # follows no link either
            break
        except FileExistsError:
            number += 1
            target = folder / f"{stem}-{number}{suffix}"
        except OSError as error:
            raise SowError(f"Cannot write {one_line(target)}: {one_line(error.strerror or error)}.") from error
    try:
        return atomic_write(target, content)
    except BaseException:
        target.unlink(missing_ok=True)
        raise

