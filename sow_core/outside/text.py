"""Foreign text in messages: one printable line of bounded length, whatever it was."""

from __future__ import annotations


def one_line(text: object, limit: int = 160) -> str:
    """`text` on one line of at most `limit` characters.

    Control characters, terminal escapes, marks that turn the direction of writing, halves of surrogates and every
    kind of line break become a space, so that nobody can forge a second line or colour the terminal.
    """
    try:
        raw = text if isinstance(text, str) else str(text)
    except (ValueError, RecursionError):  # an integer of thousands of digits, endless nesting
        raw = type(text).__name__
    # No more is looked at than can be shown; a megabyte of blanks is cut before it is joined.
    line = " ".join("".join(c if c.isprintable() else " " for c in raw[: 8 * limit]).split())
    if len(line) <= limit and len(raw) <= 8 * limit:
        return line
    return line[: limit - 3].rstrip() + "..."


def shown(value: object, limit: int = 60) -> str:
    """A foreign value as a message quotes it: text in quotes, the rest as Python writes it, on one short line."""
    if isinstance(value, str):
        return repr(one_line(value, limit))
    if isinstance(value, (dict, list, tuple)) and len(value) > limit:
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    return one_line(value, limit)
