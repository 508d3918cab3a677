"""results.jsonl: one line for each job that was tried, the last one counts. Written so that a crash costs one line.

A line is one write, synchronised with the disk; a last line that a crash has torn is cut off at the next start. One
batch at a time writes into a folder: a lock that the system takes away with the process keeps a second one out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import SowError
from ..outside.reading import parse_json
from .failures import Failures
from .survey import mark
from .task import Task

NAME = "results.jsonl"
LOCK = ".sow-batch.lock"
LONGEST_LINE = 2**20
HEAD = b'{"id": "'
"""How the file begins, unless it is somebody else's."""


class Results:
    """The results in a folder, which is made if missing. Use as a context. Raises SowError if it cannot be written."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.path = self.folder / NAME
        self.changed = Failures()
        """Jobs that were done from files which hold something else now."""
        self._done: dict[int, tuple[int, int | None]] = {}
        """By the id's `mark` those of job and inputs; no inputs where they were looked at already, or never told."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.folder / LOCK, "ab")  # noqa: SIM115 - held until close
        except OSError as error:
            raise SowError(f"Cannot write into {self.folder}: {error.strerror or error}.") from error
        try:
            _hold(self._lock.fileno())
        except OSError:
            self._lock.close()
            text = f"Another batch is writing into {self.folder}; wait for it, or give another --out."
            raise SowError(text) from None
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
        except OSError as error:
            self._lock.close()
            raise SowError(f"Cannot write {self.path}: {error.strerror or error}.") from error
        if os.read(self._file, len(HEAD)) != HEAD[: os.fstat(self._file).st_size]:
            self.__exit__()
            raise SowError(f"{self.path} was not made by a batch; give another --out, or move it.")
        self._repair()
        for part in self.folder.glob(".sow-*.part"):  # of a process that was killed
            part.unlink(missing_ok=True)
        for record in read_results(self.path):
            self._note(record)

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)
        self._lock.close()

    def is_done(self, task: Task) -> bool:
        """Whether just this job was finished here, from files as they are now, and its pictures still lie there.

        The files are read once. One that is gone changes nothing: the pictures are made.
        """
        job, inputs = self._done.get(mark(task.id), (None, None))
        if job != mark(task.digest) or not all(map(self._is_there, task.names)):
            return False
        if inputs is not None:
            now = task.fingerprint()
            if now is not None and mark(now) != inputs:
                self.changed.add(task.id, "An input file has changed since: done again.")
                del self._done[mark(task.id)]
                return False
            self._done[mark(task.id)] = job, None
        return True

    def _is_there(self, name: str) -> bool:
        try:
            return (self.folder / name).stat().st_size > 0
        except OSError:
            return False

    def append(self, record: dict[str, Any]) -> None:
        """Add a line, whole. Raises SowError if the disk refuses."""
        line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        try:
            written = os.write(self._file, line)
            if written < len(line):  # a full disk
                self._repair()
                raise SowError(f"Cannot write {self.path}: the disk took only a part of a line; is it full?")
            os.fsync(self._file)
        except OSError as error:
            raise SowError(f"Cannot write {self.path}: {error.strerror or error}.") from error
        self._note(record)

    def _note(self, record: dict[str, Any]) -> None:
        if record["state"] == "done":
            inputs = record.get("inputs")
            self._done[mark(record["id"])] = mark(str(record.get("job"))), mark(str(inputs)) if inputs else None
        else:
            self._done.pop(mark(record["id"]), None)

    def _repair(self) -> None:
        """Cut off what follows the last line break, or end it with one where it is whole."""
        size = os.fstat(self._file).st_size
        start = max(size - LONGEST_LINE, 0)
        os.lseek(self._file, start, os.SEEK_SET)
        tail = b""
        while block := os.read(self._file, LONGEST_LINE):
            tail += block
        torn = tail[tail.rfind(b"\n") + 1 :]
        if not torn:
            return
        if _record(torn) is not None:
            os.write(self._file, b"\n")
        else:
            os.ftruncate(self._file, size - len(torn))
        os.fsync(self._file)


def read_results(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """The records of a results file in their order, one at a time; lines that are none are passed over."""
    try:
        with open(path, "rb") as file:
            while line := file.readline(LONGEST_LINE + 1):
                record = _record(line)
                if record is not None:
                    yield record
    except FileNotFoundError:
        return
    except OSError as error:
        raise SowError(f"Cannot read {path}: {error.strerror or error}.") from error


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = parse_json(line, "A line", most_bytes=LONGEST_LINE)
    except SowError:
        return None
    known = isinstance(record, dict) and isinstance(record.get("id"), str) and record.get("state") in STATES
    return record if known else None


STATES = ("done", "failed")


def _hold(descriptor: int) -> None:
    """Lock an open file without waiting. Raises OSError if another process has."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
