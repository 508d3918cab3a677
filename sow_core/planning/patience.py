"""Waiting for a service: how long, how often, and how a cancel gets through."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from ..errors import SowError
from .errors import PlannerError

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """Seconds. timeout: of one request; budget: of a whole plan, waits included; attempts: of one question, the
    first included; longest_wait: what a service may ask us to wait; waits: between attempts where it says nothing.
    """

    timeout: float = 30.0
    budget: float = 60.0
    attempts: int = 3
    longest_wait: float = 20.0
    waits: tuple[float, ...] = (1.0, 2.0, 4.0)

    def __post_init__(self) -> None:
        if not 0.1 <= self.timeout <= 600:
            raise SowError(f"Bad time limit {self.timeout:g}: expected 0.1 to 600 seconds.")


@dataclass
class Patience:
    """The time and the cancel of one plan, shared by all its requests."""

    limits: Limits = field(default_factory=Limits)
    stop: threading.Event = field(default_factory=threading.Event)
    requests: int = 0

    def __post_init__(self) -> None:
        self._deadline = time.monotonic() + self.limits.budget
        self._lock = threading.Lock()

    @property
    def left(self) -> float:
        return self._deadline - time.monotonic()

    def attempt(self, call: Callable[[float], T]) -> T:
        """`call(timeout)`, again after a pause if it fails in a way that may pass. Raises its last PlannerError."""
        for number in range(self.limits.attempts):
            if self.stop.is_set():
                raise PlannerError("cancelled")
            with self._lock:
                self.requests += 1
            try:
                return call(max(min(self.limits.timeout, self.left), 0.05))
            except PlannerError as error:
                pause = self._pause(error, number)
                if pause is None:
                    raise
                failure = error
            if self.stop.wait(pause):
                raise PlannerError("cancelled")
        raise failure

    def _pause(self, error: PlannerError, number: int) -> float | None:
        """Seconds until the next attempt, None if there is none: pointless, too many, or no time left."""
        if not error.retried or number + 1 >= self.limits.attempts:
            return None
        waits = self.limits.waits
        pause = waits[min(number, len(waits) - 1)] * (1 + random.Random().random() / 4)
        if error.retry_after is not None:
            if error.retry_after > self.limits.longest_wait:
                return None
            pause = error.retry_after
        return pause if pause < self.left else None


def together(
    works: Sequence[Callable[[], T]], patience: Patience, cancelled: Callable[[], bool] | None
) -> list[T]:
    """Run `works` in threads of their own and wait for all, asking `cancelled` five times a second.

    Raises the first error of a work, PlannerError "cancelled", or "timeout" when the budget is used up. A thread
    that still waits for a server then ends by its own time limit; what it brings is dropped.
    """
    results: list[T | BaseException | None] = [None] * len(works)
    done = threading.Semaphore(0)

    def run(index: int) -> None:
        try:
            results[index] = works[index]()
        except BaseException as error:  # noqa: BLE001 - it is raised again in the waiting thread
            results[index] = error
        finally:
            done.release()

    for index in range(len(works)):
        threading.Thread(target=run, args=(index,), name=f"sow-planner-{index}", daemon=True).start()
    finished = 0
    try:
        while finished < len(works):
            if done.acquire(timeout=0.2):
                finished += 1
            elif cancelled is not None and cancelled():
                raise PlannerError("cancelled")
            elif patience.left < -1.0:  # the request's own limit should have ended it: a server that drips
                raise PlannerError("timeout", detail=f"{patience.limits.budget:g} s")
            error = next((r for r in results if isinstance(r, BaseException)), None)
            if error is not None:
                raise error
    finally:
        patience.stop.set() if finished < len(works) else None
    return results  # type: ignore[return-value]
