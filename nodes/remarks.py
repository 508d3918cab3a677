"""What a node has to tell its user, shown on the node itself in the way of the host's own nodes."""

from __future__ import annotations

import logging
from collections.abc import Iterable

log = logging.getLogger("sow")
QUIET = "Nothing to remark."
_spoken: set[str] = set()
"""Nodes with a warning: it stays on the page until another text comes."""
_heard: dict[tuple[str, str], list[str]] = {}
"""The lines of the node that is running, by prompt and node."""


def show(lines: Iterable[str]) -> None:
    """Put the lines on the running node, in place of what it showed. Nothing outside a running host."""
    key = _running()
    if key is None:
        return
    _heard.clear()
    _heard[key] = [line for line in lines if line]
    _send(key)


def remark(line: str) -> None:
    """Warn in the log and add a line to what the running node shows; the same line once a run."""
    key = _running()
    if key is None:
        log.warning("SOW: %s", line)
        return
    if key not in _heard:
        _heard.clear()
        _heard[key] = []
    if line not in _heard[key]:
        log.warning("SOW: %s", line)
        _heard[key].append(line)
        _spoken.add(key[1])
        _send(key)


def done() -> None:
    """The end of a node that speaks only where there is something to say: take back what an earlier run said."""
    key = _running()
    if key is not None and key not in _heard and key[1] in _spoken:
        _heard.clear()
        _heard[key] = [QUIET]
        _spoken.discard(key[1])
        _send(key)


def _running() -> tuple[str, str] | None:
    """Prompt and node that are running in this thread."""
    try:
        from comfy_execution.utils import get_executing_context
    except ImportError:
        return None
    context = get_executing_context()
    return None if context is None else (str(context.prompt_id), str(context.node_id))


def _send(key: tuple[str, str]) -> None:
    from server import PromptServer

    instance = PromptServer.instance
    # Nodes 2.0 shows line breaks as blanks: the dots keep the lines apart there too. To the client that asked.
    text = "\n".join(f"\u2022 {line}" for line in _heard[key])
    instance.send_progress_text(text, key[1], instance.client_id)
