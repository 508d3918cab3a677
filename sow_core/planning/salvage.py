"""Finding the JSON object in a language model's answer. Nothing is repaired: half an answer is no answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..outside.reading import BadJson, CutOff, decode_at
from .errors import UnusableAnswer

LONGEST = 200_000
"""Characters. A plan has about 1500."""

MOST_FAULTS = 200
"""Broken objects that are looked at: each costs time in the length of the text."""

_START = re.compile(r'\{(?=\s*")|\[(?=\s*\{\s*")')
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|["{}\[\]]', re.DOTALL)


def find_object(text: str, known: frozenset[str]) -> dict[str, Any]:
    """The last JSON object in `text` with at least one of the `known` keys.

    Fences, prose, thoughts and a byte-order mark around it are ignored; the last one counts because models
    think and draft before they answer. A list of such objects is returned as `{"conditions": [...]}`, a list
    of one object as that object. Raises UnusableAnswer: for truncated JSON, and, if no object is whole, with the
    fault in the last one that has such keys.
    """
    if not text.strip():
        raise UnusableAnswer("it is empty.")
    if len(text) > LONGEST:
        raise UnusableAnswer(f"it has {len(text)} characters; a plan has about 1500.")
    found, fault, position, faults = None, "contains no JSON object with the keys of the schema", 0, 0
    while match := _START.search(text, position):
        start = match.start()
        try:
            value, position = decode_at(text, start)
        except BadJson as bad:
            faults += 1
            if faults > MOST_FAULTS:
                raise UnusableAnswer(f"it has more than {MOST_FAULTS} broken JSON objects.") from None
            # Braces in prose, or an object with a fault: its parts are not an answer either.
            end = _closing(text, start)
            if end is None:
                more = "" if isinstance(bad, CutOff) else f"; it {bad}"
                raise UnusableAnswer(f"it is cut off before its JSON ends{more}.") from None
            if any(f'"{key}"' in text[start:end] for key in known):
                found, fault = None, str(bad)  # what came before was a draft
            position = end
        else:
            candidate = _unwrap(value, known)
            found = found if candidate is None else candidate
    if found is None:
        raise UnusableAnswer(f"it {fault}.")
    return found


def _unwrap(value: Any, known: frozenset[str]) -> dict[str, Any] | None:
    if isinstance(value, list):
        if len(value) != 1:
            usable = value and all(isinstance(v, Mapping) and known & v.keys() for v in value)
            return {"conditions": value} if usable else None
        value = value[0]
    return value if isinstance(value, dict) and known & value.keys() else None


def _closing(text: str, start: int) -> int | None:
    """Index after the bracket that closes the one at `start`, counting brackets outside of strings; None without it."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        if token[0] == '"':
            return None  # a string that never ends
        if token[0] in "{[":
            depth += 1
        elif token[0] in "}]":
            depth -= 1
            if depth == 0:
                return token.end()
    return None
