"""Foreign text in messages: one printable line of bounded length, whatever it was."""

from __future__ import annotations

from ..errors import one_line

__all__ = ["one_line", "shown"]


def shown(value: object, limit: int = 60) -> str:
    """A foreign value as a message quotes it: text in quotes, the rest as Python writes it, on one short line."""
    if isinstance(value, str):
        return repr(one_line(value, limit))
    if isinstance(value, (dict, list, tuple)) and len(value) > limit:
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    return one_line(value, limit)
