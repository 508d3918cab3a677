"""The local engine: one worker in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .task import Task
from .worker import Outcome, Setup, Worker

Ended = tuple[Task, Outcome, int]
"""A job, how it ended, and how often it was tried."""


def run_local(tasks: Iterable[Task], setup: Setup, retries: int) -> Iterator[Ended]:
    """Do the jobs in their order. retries: further tries of a job after an error that is not the job's own."""
    worker = Worker(setup)
    for task in tasks:
        tries = 1
        outcome = worker.run(task)
        while outcome.again and tries <= retries:
            tries += 1
            outcome = worker.run(task)
        yield task, outcome, tries
