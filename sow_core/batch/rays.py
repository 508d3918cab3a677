"""The Ray engine: a pool of workers in processes of their own, on this machine or on a cluster.

Ray is optional and imported here only. On a cluster every machine has this package and sees the jobs' pictures and
models by the same paths; finished pictures travel back, and the batch alone writes.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..assets import PACKAGE
from ..errors import SowError
from ..outside.text import one_line
from .local import Ended
from .task import Task
from .worker import Outcome, Setup, Worker

DEPTH = 2
"""Jobs that a worker has at a time: the one it does, and the next, so that it need not wait for us. No more, so that
a million jobs do not lie in memory."""
HOPELESS = 10
"""Workers in a row that died before one job was done: then it is not the jobs."""


@dataclass(frozen=True)
class Cluster:
    """Where the workers run. address: None: a Ray of our own, for as long as the batch; "auto": the one that runs on
    this machine; "ray://...": another one. workers: None: as many as there is room for."""

    address: str | None = None
    workers: int | None = None
    gpus: float = 0.0


def run_ray(tasks: Iterable[Task], setup: Setup, retries: int, cluster: Cluster) -> Iterator[Ended]:
    """Do the jobs on a pool of workers; they end in any order. retries: further tries of a job whose worker died, or
    after an error that is not the job's own. Raises SowError if there is no Ray, or its workers cannot work."""
    with _connected(cluster) as ray:
        yield from _Pool(ray, setup, retries, cluster).run(iter(tasks))


@contextmanager
def _connected(cluster: Cluster) -> Iterator[Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # its warning about a coming default
    try:
        import ray
    except ImportError as error:
        raise SowError(f"--engine ray needs Ray ({error}): pip install ray; or use --engine local.") from None
    if ray.is_initialized():  # the caller's own, which stays
        yield ray
        return
    own = cluster.address is None
    # A worker imports this package, from where it lies here, even if it is not installed.
    paths = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {"PYTHONPATH": os.pathsep.join(paths)} if own else {}
    more: dict[str, Any] = {"include_dashboard": False} if own else {}
    if own and cluster.workers:
        more["num_cpus"] = cluster.workers
    try:
        ray.init(address="local" if own else cluster.address, runtime_env={"env_vars": variables},
                 log_to_driver=False, logging_level=logging.ERROR, **more)  # fmt: skip
    except Exception as error:
        where = "Ray" if own else f"the Ray cluster at {cluster.address!r}"
        raise SowError(f"Cannot start {where}: {one_line(error)}; or use --engine local.") from None
    try:
        yield ray
    finally:
        ray.shutdown()


@dataclass
class _Hand:
    """A worker's actor and the jobs it has, in their order: (result, task, tries so far)."""

    actor: Any
    has: deque[tuple[Any, Task, int]] = field(default_factory=deque)


class _Pool:
    def __init__(self, ray: Any, setup: Setup, retries: int, cluster: Cluster) -> None:
        self.ray = ray
        self.retries = retries
        options = {"num_cpus": 1, "num_gpus": cluster.gpus, "max_restarts": 0}
        self._new = lambda: ray.remote(Worker).options(**options).remote(setup)
        self.hands = [_Hand(self._new()) for _ in range(cluster.workers or self._room(cluster.gpus))]
        self.repeated: deque[tuple[Task, int]] = deque()
        """Jobs to be tried again."""
        self.deaths = 0
        """In a row, without a job that ended between them."""

    def _room(self, gpus: float) -> int:
        there = self.ray.cluster_resources()
        return max(1, int(there.get("GPU", 0) / gpus if gpus else there.get("CPU", 1)))

    def run(self, tasks: Iterator[Task]) -> Iterator[Ended]:
        while True:
            self._hand_out(tasks)
            owners = {result: hand for hand in self.hands for result, _, _ in hand.has}
            if not owners:
                return
            ready, _ = self.ray.wait(list(owners), num_returns=1)
            yield from self._collect(owners[ready[0]], ready[0])

    def _hand_out(self, tasks: Iterator[Task]) -> None:
        for depth in range(1, DEPTH + 1):  # one each before anybody has two
            for hand in self.hands:
                if len(hand.has) >= depth:
                    continue
                task, tries = self.repeated.popleft() if self.repeated else (next(tasks, None), 0)
                if task is None:
                    return
                hand.has.append((hand.actor.run.remote(task), task, tries + 1))

    def _collect(self, hand: _Hand, result: Any) -> Iterator[Ended]:
        """The ended jobs of a worker that has something to say."""
        task, tries = next((task, tries) for r, task, tries in hand.has if r == result)
        try:
            outcome: Outcome = self.ray.get(result)
        except self.ray.exceptions.RayActorError as error:
            yield from self._replace(hand, error)
            return
        except self.ray.exceptions.RayError as error:  # lost on its way here
            outcome = Outcome(None, 0.0, f"Ray: {one_line(error)}", again=True)
        self.deaths = 0
        hand.has = deque(entry for entry in hand.has if entry[0] != result)
        if outcome.again and tries <= self.retries:
            self.repeated.append((task, tries))
        else:
            yield task, outcome, tries

    def _replace(self, hand: _Hand, error: Exception) -> Iterator[Ended]:
        """Another worker for one that died. What it was at counts as tried; what it had finished is kept."""
        self.deaths += 1
        left, hand.has = hand.has, deque()
        if self.deaths >= HOPELESS:
            raise SowError(f"{self.deaths} workers in a row died before they had done a job ({one_line(error)}).")
        at_work = True
        for result, task, tries in left:
            try:
                outcome = self.ray.get(result, timeout=0)
                yield task, outcome, tries
                self.deaths = 0
                continue
            except (self.ray.exceptions.RayError, TimeoutError):
                pass
            if not at_work:
                self.repeated.append((task, tries - 1))
            elif tries <= self.retries:
                self.repeated.append((task, tries))
            else:
                gone = f"its worker died {tries} times, the last time so: {one_line(error)}"
                yield task, Outcome(None, 0.0, gone), tries
            at_work = False
        hand.actor = self._new()
