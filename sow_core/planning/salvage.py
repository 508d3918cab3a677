"""Finding the JSON object in a language model's answer. Nothing is repaired: half an answer is no answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .errors import UnusableAnswer

LONGEST = 200_000
"""Characters. A plan has about 1500."""

_START = re.compile(r'\{(?=\s*["}])|\[(?=\s*\{\s*")')


def find_object(text: str, known: frozenset[str]) -> dict[str, Any]:
    """The last JSON object in `text` with at least one of the `known` keys.

    Fences, prose, thoughts and a byte-order mark around it are ignored; the last one counts because models
    think and draft before they answer. A list of such objects is returned as `{"conditions": [...]}`, a list
    of one object as that object. Raises UnusableAnswer, also for truncated JSON.
    """
    if not text.strip():
        raise UnusableAnswer("it is empty.")
    if len(text) > LONGEST:
        raise UnusableAnswer(f"it has {len(text)} characters; a plan has about 1500.")
    found = None
    for value in _values(text):
        candidate = _unwrap(value, known)
        if candidate is not None:
            found = candidate
    if found is None:
        raise UnusableAnswer("it contains no JSON object with the keys of the schema.")
    return found


def _unwrap(value: Any, known: frozenset[str]) -> dict[str, Any] | None:
    if isinstance(value, list):
        if len(value) != 1:
            usable = value and all(isinstance(v, Mapping) and known & v.keys() for v in value)
            return {"conditions": value} if usable else None
        value = value[0]
    return value if isinstance(value, dict) and known & value.keys() else None


def _values(text: str) -> Iterator[Any]:
    """Every outermost JSON object or list of objects. An opening that never closes means a cut-off answer."""
    position = 0
    while match := _START.search(text, position):
        end = _closing(text, match.start())
        if end is None:
            raise UnusableAnswer("it is cut off before its JSON ends.")
        try:
            yield json.loads(text[match.start() : end])
        except (ValueError, RecursionError):
            pass  # braces in prose, or JSON with a fault inside: its parts are not an answer either
        position = end


def _closing(text: str, start: int) -> int | None:
    """Index after the bracket that closes the one at `start`, counting brackets outside of strings."""
    depth = 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|["{}\[\]]', text[start:], re.DOTALL):
        if token[0] == '"':
            return None  # a string that never ends
        if token[0] in "{[":
            depth += 1
        elif token[0] in "}]":
            depth -= 1
            if depth == 0:
                return start + token.end()
    return None
