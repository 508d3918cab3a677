"""Files and JSON from outside, read within limits. Every failure is one SowError that names the file and the place.

Only ordinary files are read (a pipe would wait for ever, a device has no end), only as many bytes as asked for; text
is UTF-8 with or without a mark, or UTF-16 with one, as PowerShell's `>` writes it; JSON has a bounded depth, numbers
that a float can hold, no NaN, and only text that can be written down again.
"""

from __future__ import annotations

import codecs
import errno
import json
import math
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import SowError
from .text import one_line

MOST_BYTES = 8 * 2**20
"""Of a text file. Plans, settings, workflows and configs have a few kB."""

MOST_DEPTH = 100
"""Lists and objects inside each other. Workflows reach about a dozen."""

LARGEST_INT = 2**64
"""Whole numbers lie within +-this: seeds have up to 64 bits. Anything beyond is a slip or an attack."""

TINIEST = 1e-300
"""Numbers nearer to zero are zero: dividing by them would overflow."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_REASONS = {
    errno.ENAMETOOLONG: "its name is too long",
    errno.EISDIR: "it is a folder; name a file",
    errno.ENXIO: "it is no ordinary file",
    errno.EACCES: "it may not be read; check its permissions",
    errno.ELOOP: "its links go round in circles",
}


class Missing(SowError):
    """There is no such file."""


def open_file(path: str | os.PathLike[str], what: str, name: str | None = None) -> BinaryIO:
    """An ordinary file, open for reading. `what` and `name` are what a message calls it: "the plan", its path.

    A pipe, device, socket or folder is refused without waiting for it. Raises SowError; Missing if it is not there.
    """
    shown_name = one_line(path if name is None else name)
    flags = os.O_RDONLY
    for name in ("O_BINARY", "O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY"):
        flags |= getattr(os, name, 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise Missing(f"There is no {what.removeprefix('the ')} {shown_name}.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name, a name that cannot be encoded
        raise SowError(f"Cannot read {what} {shown_name}: {_reason(path, error)}.") from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    kind = "a folder; name a file" if stat.S_ISDIR(mode) else "no ordinary file, but a pipe or a device"
    raise SowError(f"Cannot read {what} {shown_name}: it is {kind}.")


def _reason(path: str | os.PathLike[str], error: OSError | ValueError) -> str:
    if isinstance(error, ValueError):
        return "its name holds a character that no file system takes"
    if os.path.isdir(path):  # Windows calls it a lack of permission
        return _REASONS[errno.EISDIR]
    return _REASONS.get(error.errno or 0) or one_line(error.strerror or error).lower()


def read_file(
    path: str | os.PathLike[str], what: str, *, name: str | None = None, most_bytes: int = MOST_BYTES
) -> bytes:
    """The bytes of an ordinary file. Raises SowError as `open_file` does, also for more than `most_bytes`."""
    with open_file(path, what, name) as file:
        try:
            content = file.read(most_bytes + 1)
        except OSError as error:
            raise SowError(f"Cannot read {what} {one_line(path)}: {_reason(path, error)}.") from None
    if len(content) > most_bytes:
        raise SowError(f"{_named(what, path, name)} is too large: expected at most {_size(most_bytes)}.")
    return content


def read_text_file(
    path: str | os.PathLike[str], what: str, *, name: str | None = None, most_bytes: int = MOST_BYTES
) -> str:
    """The text of an ordinary file, in UTF-8 or with a mark that tells. Raises SowError."""
    return decode(read_file(path, what, name=name, most_bytes=most_bytes), _named(what, path, name))


def read_json_file(
    path: str | os.PathLike[str],
    what: str,
    *,
    name: str | None = None,
    most_bytes: int = MOST_BYTES,
    most_depth: int = MOST_DEPTH,
) -> Any:
    """The JSON of an ordinary file. Raises SowError."""
    content = read_file(path, what, name=name, most_bytes=most_bytes)
    return parse_json(content, _named(what, path, name), most_bytes=most_bytes, most_depth=most_depth)


def expanded(path: str | os.PathLike[str]) -> Path:
    """`path` with its "~" replaced by the user's home. Raises SowError if that is not known."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise SowError(f"Cannot find {one_line(path)}: whose home ~ is, is not known; write the path out.") from None


def home() -> Path | None:
    """The user's home, None where the system knows none."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def decode(content: bytes, what: str) -> str:
    """Text from bytes: by its byte-order mark, else UTF-8. Raises SowError; `what` begins the sentence."""
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise SowError(f"{what} is not text in UTF-8 (byte {error.start}): save it as UTF-8.") from None
    return checked_text(text.removeprefix("\ufeff"), what)


def checked_text(text: str, what: str) -> str:
    """`text`, if it can be written down anywhere. Raises SowError for a NUL or half a surrogate."""
    fault = _unwritable(text)
    if fault:
        raise SowError(f"{what} holds {fault}: expected plain text.")
    return text


def _unwritable(text: str) -> str | None:
    if "\0" in text:
        return "a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "half a character (a lone surrogate)"
    return None


class BadJson(ValueError):
    """What is wrong with a piece of JSON, as the end of a sentence: "holds NaN, which is no number"."""


class CutOff(BadJson):
    """It ends before it is complete."""


def parse_json(
    data: bytes | str, what: str, *, most_bytes: int = MOST_BYTES, most_depth: int = MOST_DEPTH
) -> Any:
    """The value that JSON in `data` writes. `what` begins the sentence of a failure: "The plan x.json".

    Raises SowError for more than `most_bytes`, deeper nesting than `most_depth`, bad syntax (with line and column),
    whole numbers beyond +-2**64, numbers that a float cannot hold, NaN, and text that no file could hold.
    """
    if len(data) > most_bytes:
        raise SowError(f"{what} is too large: expected at most {_size(most_bytes)}.")
    text = decode(data, what) if isinstance(data, bytes) else checked_text(data.removeprefix("\ufeff"), what)
    start = len(text) - len(text.lstrip(_BLANKS))
    try:
        value, end = decode_at(text, start, most_depth)
        rest = text[end:].lstrip(_BLANKS)
        if rest:
            error = json.JSONDecodeError("more text after its end", text, len(text) - len(rest))
            raise BadJson(f"is not valid JSON: {_syntax_fault(error)}")
    except BadJson as fault:
        raise SowError(f"{what} {fault}.") from None
    return value


_BLANKS = " \t\n\r"


def decode_at(text: str, start: int = 0, most_depth: int = MOST_DEPTH) -> tuple[Any, int]:
    """The JSON value that begins at `start`, and the index after it. Raises BadJson where `parse_json` says no."""
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        rest = text[error.pos : error.pos + 200].lstrip()
        kind = CutOff if not rest or rest.startswith("```") or "Unterminated" in error.msg else BadJson
        raise kind(f"is not valid JSON: {_syntax_fault(error)}") from None
    except RecursionError:
        raise BadJson(_too_deep(most_depth)) from None
    _check_content(value, most_depth)
    return value, end


def _syntax_fault(error: json.JSONDecodeError) -> str:
    """What is wrong with JSON that does not parse, and where: "a comma before a closing bracket (line 3, column 5)"."""
    text, at = error.doc, error.pos
    before, following = text[max(at - 200, 0) : at].rstrip(), text[at : at + 200].lstrip()[:1]
    if not text or text.isspace():
        return "it is empty"
    if not following or "Unterminated" in error.msg:
        fault = "it is cut off"
    elif following in "}]" and before.endswith(","):
        fault = "a comma before a closing bracket"
    elif following == "," and before.endswith(","):
        fault = "two commas"
    elif following in "/#":
        fault = "a comment, which JSON does not have"
    elif following == "'":
        fault = "single quotes, where JSON has double ones"
    elif error.msg.startswith("Illegal trailing comma"):  # Python 3.13 points at the comma itself
        fault = "a comma before a closing bracket"
    elif following == "<" and not before:
        fault = "it is a web page or other markup"
    else:
        fault = one_line(error.msg[:1].lower() + error.msg[1:])
    return f"{fault} (line {error.lineno}, column {error.colno})"


def _whole(text: str) -> int:
    if len(text) > 21 or not -LARGEST_INT <= int(text) <= LARGEST_INT:
        raise BadJson(f"holds the number {one_line(text, 30)}: expected whole numbers of at most 64 bits")
    return int(text)


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise BadJson(f"holds the number {one_line(text, 30)}, which is too large")
    return number if abs(number) >= TINIEST else 0.0


def _constant(text: str) -> float:
    raise BadJson(f"holds {text}, which is no number")


_DECODER = json.JSONDecoder(parse_int=_whole, parse_float=_float, parse_constant=_constant)


def _check_content(value: Any, most_depth: int) -> None:
    """Raises BadJson where a value lies too deep, or a text or a key cannot be written down."""
    waiting: list[tuple[Any, tuple[Any, ...]]] = [(value, ())]
    while waiting:
        item, where = waiting.pop()
        if isinstance(item, str):
            if fault := _unwritable(item):
                raise BadJson(f"holds {fault} in {_place(where)}: expected plain text")
        elif isinstance(item, (dict, list)):
            if len(where) >= most_depth:
                raise BadJson(_too_deep(most_depth))
            if isinstance(item, dict):
                waiting += [(key, where) for key in item]
                waiting += [(inner, (*where, key)) for key, inner in item.items() if not isinstance(inner, _PLAIN)]
            else:
                waiting += [(inner, (*where, n)) for n, inner in enumerate(item) if not isinstance(inner, _PLAIN)]


_PLAIN = (int, float, type(None))  # bool is an int


def _place(where: tuple[Any, ...]) -> str:
    return one_line("".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).lstrip(".")) or "it"


def _too_deep(most_depth: int) -> str:
    return f"is nested too deeply: expected at most {most_depth} levels"


def _size(count: int) -> str:
    return f"{count / 2**20:g} MB" if count >= 2**20 else f"{count / 1024:g} kB" if count >= 1024 else f"{count} bytes"


def _named(what: str, path: str | os.PathLike[str], name: str | None) -> str:
    return f"{what[:1].upper()}{what[1:]} {one_line(path if name is None else name)}"

