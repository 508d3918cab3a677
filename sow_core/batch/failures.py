"""Failures by their kind, so that a thousand of them end as a few lines."""

from __future__ import annotations

import re

MOST_KINDS = 20
_DETAIL = re.compile(r"""'[^']*'|"[^"]*"|\S*[/\\]\S*|\b[\w-][\w.-]*\.[a-z]{3,4}\b|-?\d[\d.]*""")
"""What differs between two errors of one kind: quoted text, files, numbers."""


class Failures:
    """Counts errors of a kind, with one of them in its own words."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[int, str, str]] = {}
        self._others = 0

    def add(self, id: str, error: str) -> None:
        kind = _DETAIL.sub("…", error)
        count, first, text = self._kinds.get(kind, (0, id, error))
        if not count and len(self._kinds) >= MOST_KINDS:
            self._others += 1
        else:
            self._kinds[kind] = (count + 1, first, text)

    def lines(self) -> list[str]:
        """The most frequent kind first: "3 x No such picture: a.png. (first: 000007)"."""
        kinds = sorted(self._kinds.values(), key=lambda kind: -kind[0])
        made = [f"{count} x {text} (first: {id})" for count, id, text in kinds]
        return made + ([f"{self._others} of other kinds; see results.jsonl"] if self._others else [])
