"""From the options of `generate` to a layout plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..planning.schema import LayoutPlan
    from .generate import Job


def read_plan(path: str, size: tuple[int, int], conditions: int) -> LayoutPlan:
    """A plan file, fitted to this canvas. Raises SowError if it is none or plans another number of conditions."""
    raise NotImplementedError


def make_plan(planner: str, job: Job, size: tuple[int, int], count_tokens: Callable[[str], int]) -> LayoutPlan:
    """The named planner's layout for the conditions; boxes that the user gave stay as they are."""
    raise NotImplementedError
