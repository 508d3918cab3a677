"""Errors that a user can cause and can mend."""

from __future__ import annotations


class SowError(ValueError):
    """One line for the user: what was expected, what came, what to do.

    The command line prints it and exits with 2; a ComfyUI node shows it as the node's error.
    Anything else that escapes is a defect of ours and keeps its traceback.
    """
