"""What of a jobs file is to be done: read line by line, once to look and once for each model, never kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import SowError
from ..files import is_ours
from ..outside.reading import open_file, parse_json
from .task import Defaults, ModelKey, Task, checked_id, default_id, read_task

LONGEST_LINE = 2**20
"""Bytes of one job."""
WINDOW = 256
"""Jobs among which those of one size and plan are brought together."""


class BadLine(NamedTuple):
    """A job that cannot be done whatever happens."""

    id: str
    number: int
    error: str


@dataclass
class Survey:
    """What a first look found. models: pending jobs of each; bad: numbers of the lines that are no job; last: the line
    after which nothing more is to be done this time."""

    models: dict[ModelKey, int] = field(default_factory=dict)
    jobs: int = 0
    pictures: int = 0
    done: int = 0
    bad: set[int] = field(default_factory=set)
    last: int | None = None


class JobsFile:
    """A jobs file as the tasks in it. Raises SowError if it cannot be read."""

    def __init__(self, path: str | os.PathLike[str], out: Path, defaults: Defaults) -> None:
        self.path = Path(path)
        self.folder = self.path.absolute().parent
        self.out = Path(os.path.realpath(out))
        self.defaults = defaults
        with open_file(self.path, "the jobs file") as file:
            self._stamp = _stamp(file.fileno())

    def look(
        self, is_done: Callable[[Task], bool], limit: int | None, bad: Callable[[BadLine], object], taken: set[int]
    ) -> Survey:
        """Read all of it: count what is to be done, hand on what cannot be. taken: `mark`s of file names that no job
        may have; filled with those of the jobs."""
        survey = Survey()
        for number, found in self._tasks():
            if limit is not None and survey.jobs >= limit:
                survey.last = number - 1
                break
            problem = found if isinstance(found, BadLine) else self._problem(found, is_done, taken)
            if problem is not None:
                survey.bad.add(number)
                bad(problem)
            elif is_done(found):  # type: ignore[arg-type]
                survey.done += 1
            else:
                task: Task = found  # type: ignore[assignment]
                survey.jobs += 1
                survey.pictures += len(task.seeds)
                survey.models[task.model] = survey.models.get(task.model, 0) + 1
        return survey

    def pending(self, survey: Survey, is_done: Callable[[Task], bool]) -> Iterator[Task]:
        """What is to be done, model by model, and of one model those of one size and plan together."""
        for model, count in survey.models.items():
            tasks = (
                found for number, found in self._tasks(survey.last)
                if isinstance(found, Task) and found.model == model and number not in survey.bad and not is_done(found)
            )  # fmt: skip
            todo = islice(tasks, count)
            while window := list(islice(todo, WINDOW)):
                groups: dict[str, list[Task]] = {}
                for task in window:
                    groups.setdefault(task.group, []).append(task)
                for group in groups.values():
                    yield from group

    def _tasks(self, last: int | None = None) -> Iterator[tuple[int, Task | BadLine]]:
        with open_file(self.path, "the jobs file") as file:
            if _stamp(file.fileno()) != self._stamp:
                raise SowError(f"{self.path} has changed while its jobs were done; start again to go on with it.")
            number = 0
            while line := file.readline(LONGEST_LINE + 1):
                number += 1
                if last is not None and number > last:
                    return
                cut = len(line) > LONGEST_LINE
                while cut and not line.endswith(b"\n") and (line := file.readline(LONGEST_LINE + 1)):
                    pass
                if cut:
                    yield number, BadLine(default_id(number), number, "A job is at most 1 MB of JSON on one line.")
                elif line.strip(b" \t\r\n\xef\xbb\xbf"):
                    yield number, self._task(line, number)

    def _task(self, line: bytes, number: int) -> Task | BadLine:
        values: Any = None
        try:
            values = parse_json(line, f"Line {number} of {self.path.name}", most_bytes=LONGEST_LINE)
            return read_task(values, number, self.folder, self.defaults)
        except SowError as error:
            return BadLine(_id_of(values, number), number, str(error))

    def _problem(self, task: Task, is_done: Callable[[Task], bool], taken: set[int]) -> BadLine | None:
        marks = {mark(name) for name in task.names}
        if marks & taken:
            return BadLine(task.id, task.number, f"The id {task.id!r} would write a file of an earlier job again.")
        taken |= marks
        for path in task.inputs:
            if Path(os.path.realpath(path)).parent == self.out:
                text = f"{os.path.basename(path)} lies in the folder of the results, where it could be replaced"
                return BadLine(task.id, task.number, f"{text}; give another --out.")
        if is_done(task):
            return None
        for place in (self.out / name for name in task.names):
            if os.path.lexists(place) and not (place.is_file() and is_ours(place)):
                text = f"Cannot write {place.name}: a file that was not made here lies there; move it"
                return BadLine(task.id, task.number, f"{text}, or give another --out.")
        return None


def mark(name: str) -> int:
    """A file's name as a number, whatever its letters' case: a million of them must fit into memory."""
    return int.from_bytes(hashlib.blake2b(name.casefold().encode(), digest_size=8).digest(), "big")


def _id_of(values: Any, number: int) -> str:
    try:
        return checked_id(values["id"])
    except (SowError, TypeError, KeyError, AttributeError):
        return default_id(number)


def _stamp(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_size, found.st_mtime_ns
