"""How long and how often, without a server."""

from __future__ import annotations

import threading
import time

import pytest

from sow_core.errors import SowError
from sow_core.planning.errors import PlannerError
from sow_core.planning.patience import Limits, Patience, together


class Fails:
    """A call that fails with these errors, in order, and then succeeds."""

    def __init__(self, *errors: PlannerError) -> None:
        self.errors, self.timeouts = list(errors), []

    def __call__(self, timeout: float) -> str:
        self.timeouts.append(timeout)
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def busy(**words) -> PlannerError:
    return PlannerError("overloaded", "Gemini", **words)


def test_what_may_pass_is_tried_three_times():
    limits = Limits(waits=(0.01,))
    assert Patience(limits).attempt(Fails(busy(), busy())) == "answer"
    call = Fails(busy(), busy(), busy())
    with pytest.raises(PlannerError, match="overloaded"):
        Patience(limits).attempt(call)
    assert len(call.timeouts) == 3


@pytest.mark.parametrize(
    "kind", ["bad_key", "region", "blocked", "quota_day", "model_gone", "bad_json", "other"]
)
def test_what_will_not_pass_is_tried_once(kind):
    call = Fails(PlannerError(kind, "Gemini"))
    with pytest.raises(PlannerError):
        Patience().attempt(call)
    assert len(call.timeouts) == 1


def test_a_longer_wait_than_we_want_is_told_instead():
    """The budget would allow it; nobody wants to sit there."""
    call = Fails(busy(retry_after=25.0))
    with pytest.raises(PlannerError) as caught:
        Patience(Limits(budget=60, longest_wait=20)).attempt(call)
    assert caught.value.retry_after == 25 and len(call.timeouts) == 1


def test_a_wait_beyond_the_budget_is_not_begun():
    call = Fails(busy(retry_after=15.0))
    with pytest.raises(PlannerError):
        Patience(Limits(timeout=5, budget=10, longest_wait=20)).attempt(call)
    assert len(call.timeouts) == 1


def test_a_request_gets_no_more_time_than_is_left():
    call = Fails()
    Patience(Limits(timeout=30, budget=2)).attempt(call)
    assert 1 < call.timeouts[0] <= 2


def test_a_cancel_ends_a_pause():
    patience = Patience(Limits(waits=(30.0,)))
    threading.Timer(0.2, patience.stop.set).start()
    with pytest.raises(PlannerError) as caught:
        patience.attempt(Fails(busy(), busy()))
    assert caught.value.kind == "cancelled"


def test_works_run_side_by_side_and_keep_their_order():
    meet = threading.Barrier(2, timeout=10)  # would break if one waited for the other's end
    assert together([lambda: meet.wait() * 0 + 1, lambda: meet.wait() * 0 + 2], Patience(), None) == [1, 2]


def test_the_first_error_ends_the_wait_and_stops_the_others():
    patience = Patience()
    release = threading.Event()

    def fails() -> int:
        raise PlannerError("region", "Gemini")

    with pytest.raises(PlannerError, match="location"):
        together([lambda: release.wait(20), fails], patience, None)
    release.set()
    assert patience.stop.is_set()


def test_a_defect_of_ours_is_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        together([lambda: 1 // 0], Patience(), None)


def test_a_broken_cancel_function_does_not_hang():
    started = time.monotonic()
    with pytest.raises(RuntimeError, match="host"):
        together([lambda: time.sleep(3)], Patience(), lambda: (_ for _ in ()).throw(RuntimeError("host")))
    assert time.monotonic() - started < 3


def test_time_limits_are_checked():
    for timeout in (0, -1, 10_000, float("nan")):
        with pytest.raises(SowError, match="time limit"):
            Limits(timeout=timeout)
