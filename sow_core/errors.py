"""Errors that a user can cause and can mend."""

from __future__ import annotations

LONGEST = 1000
"""Characters of an error."""


class SowError(ValueError):
    """One line for the user: what was expected, what came, what to do.

    The command line prints it and exits with 2; a ComfyUI node shows it as the node's error.
    Anything else that escapes is a defect of ours and keeps its traceback.
    Its text is made printable here, whatever was quoted in it.
    """

    # ComfyUI writes an error's module before its sentence, which for a pack is the path of its folder, and leaves out
    # that of Python's own errors only.
    __module__ = "builtins"

    def __init__(self, text: object) -> None:
        super().__init__(one_line(text, LONGEST))

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls.__module__ = "builtins"


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
