"""Telling "out of memory" from other errors, on every device and torch version."""

from __future__ import annotations

import re

# CUDA raises a class of its own since torch 2.5 (a RuntimeError before); CPU and MPS only say it in the text.
_TEXT = re.compile(r"out of memory|can(?:no|')t allocate memory|not enough memory", re.IGNORECASE)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this error says that memory ran out (of a device or of the machine)."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and _TEXT.search(str(error)) is not None
