"""A run's progress on the terminal, from the messages of the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

from ..errors import SowError
from ..outside.records import read_record
from .answers import Progress
from .workflow import Workflow, title_of

WIDTH = 24
"""Of the bar, in characters."""


class ProgressLine:
    """One line on a terminal that is drawn over; whole lines, one per node, where there is no terminal."""

    def __init__(self, log: TextIO, workflow: Workflow) -> None:
        self._log = log
        self._workflow = workflow
        self._terminal = log.isatty()
        self._width = 0
        self._last = ""

    def show(self, message: Mapping[str, Any], prompt_id: str) -> bool:
        """Draw a message of the server, if it makes sense. False when it may mean that the run ended."""
        kind, data = message.get("type"), message.get("data")
        if not isinstance(data, dict) or data.get("prompt_id", prompt_id) != prompt_id:
            return True
        if kind in ("execution_success", "execution_error", "execution_interrupted"):
            return False
        if kind not in ("executing", "progress"):
            return True
        try:
            progress = read_record(Progress, data)
        except SowError:
            return True
        if kind == "executing":
            if progress.node is None:
                return False
            self.text(title_of(self._workflow, progress.node))
        else:
            self._bar(progress)
        return True

    def _bar(self, progress: Progress) -> None:
        if not self._terminal or progress.max <= 0:
            return
        filled = round(WIDTH * min(max(progress.value / progress.max, 0.0), 1.0))
        bar = f"[{'#' * filled}{'.' * (WIDTH - filled)}]"
        self._draw(f"{title_of(self._workflow, progress.node)} {bar} {progress.value:g}/{progress.max:g}")

    def text(self, text: str) -> None:
        if self._terminal:
            self._draw(text)
        elif text != self._last:
            print(text, file=self._log, flush=True)
        self._last = text

    def _draw(self, text: str) -> None:
        self._log.write("\r" + text.ljust(self._width))
        self._log.flush()
        self._width = len(text)

    def end(self) -> None:
        if self._terminal and self._width:
            self._log.write("\r" + " " * self._width + "\r")
            self._log.flush()
