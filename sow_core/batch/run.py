"""A batch from its jobs file to its folder of pictures."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from ..files import atomic_write_all
from .failures import Failures
from .local import run_local
from .rays import Cluster, run_ray
from .results import Results
from .survey import BadLine, JobsFile, Survey, mark
from .task import Defaults, Task
from .worker import Outcome, Setup


@dataclass
class Tally:
    """What a batch did this time. before: jobs that were done already; pictures: made now; changed: jobs that were done
    from other files than lie there now, and are done again."""

    before: int = 0
    done: int = 0
    failed: int = 0
    pictures: int = 0
    failures: Failures = field(default_factory=Failures)
    changed: Failures = field(default_factory=Failures)


def run_batch(
    jobs: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    defaults: Defaults = Defaults(),  # noqa: B008 - frozen
    setup: Setup = Setup(),  # noqa: B008 - frozen
    ray: Cluster | None = None,
    retries: int = 2,
    limit: int | None = None,
    reserved: tuple[str, ...] = (),
    looked: Callable[[Survey], object] = lambda survey: None,
    ended: Callable[[dict[str, Any]], object] = lambda record: None,
) -> Tally:
    """Do what of a jobs file is not done yet: OUT/<id>.png and a line each in OUT/results.jsonl.

    ray: a pool of workers there, None: this process. retries: further tries of a job whose worker died, or after an
    error that is not its own. limit: jobs this time. reserved: names of files in `out` that no job may write. looked
    and ended are told what was found, and each record. A job that fails is a record; Ctrl-C, or the end of the
    process, leaves a folder that the same call goes on with. Raises SowError if the jobs cannot be read, or the
    folder not be written.
    """
    tally = Tally()
    with Results(out) as results:
        file = JobsFile(jobs, results.folder, defaults)

        def note(record: dict[str, Any]) -> None:
            results.append(record)
            tally.failed += record["state"] == "failed"
            tally.done += record["state"] == "done"
            if record["state"] == "failed":
                tally.failures.add(record["id"], record["error"])
            ended(record)

        bad: Callable[[BadLine], object] = lambda line: note(_failed(line.id, line.number, line.error))  # noqa: E731
        survey = file.look(results.is_done, limit, bad, {mark(name) for name in reserved})
        tally.before, tally.changed = survey.done, results.changed
        looked(survey)
        if not survey.jobs:
            return tally
        tasks = file.pending(survey, results.is_done)
        engine = run_local(tasks, setup, retries) if ray is None else run_ray(tasks, setup, retries, ray)
        with closing(engine):  # type: ignore[type-var]  # a generator: Ray goes with it
            for task, outcome, tries in engine:
                if outcome.product is not None:
                    paths = [results.folder / name for name in task.names]
                    atomic_write_all(list(zip(paths, outcome.product.pngs, strict=True)))
                    tally.pictures += len(task.names)
                note(record_of(task, outcome, tries))
    return tally


def record_of(task: Task, outcome: Outcome, tries: int) -> dict[str, Any]:
    """A job's line in results.jsonl."""
    seconds = round(outcome.seconds, 3)
    product = outcome.product
    if product is None:
        return _failed(task.id, task.number, outcome.error or "") | {
            "job": task.digest, "seconds": seconds, "tries": tries}  # fmt: skip
    record: dict[str, Any] = {
        "id": task.id,
        "state": "done",
        "line": task.number,
        "job": task.digest,
        "inputs": outcome.inputs,
        "seconds": seconds,
        "tries": tries,
        "rows": product.rows,
        "seeds": task.seeds,
        "files": task.names,
        "fidelity": product.fidelity,
    }
    return record | ({"notes": product.notes} if product.notes else {})


def _failed(id: str, number: int, error: str) -> dict[str, Any]:
    return {"id": id, "state": "failed", "line": number, "error": error}
