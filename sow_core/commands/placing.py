"""From the options of `generate` to a layout plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SowError

if TYPE_CHECKING:
    from ..planning.schema import LayoutPlan
    from .generate import Job


def saved_plan(path: str, job: Job, size: tuple[int, int]) -> LayoutPlan:
    """A plan file, fitted to this canvas. Raises SowError if it is none or plans another number of conditions."""
    from ..planning.reading import read_plan

    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SowError(f"Cannot read the plan {path}: {getattr(error, 'strerror', None) or error}.") from error
    plan = read_plan(text, width=size[0], height=size[1], prompt=job.prompt)
    if len(plan.conditions) != len(job.conditions):
        raise SowError(
            f"The plan {path} places {len(plan.conditions)} conditions, but {len(job.conditions)} were given."
        )
    return plan


def make_plan(planner: str, job: Job, size: tuple[int, int], count_tokens: Callable[[str], int]) -> LayoutPlan:
    """The named planner's layout for the conditions; boxes that the user gave stay as they are."""
    from ..planning.planner import PlannerOptions, plan_layout
    from ..planning.request import ConditionPicture, PlanRequest
    from ..planning.schema import Frame

    pictures = tuple(
        ConditionPicture.open(image, mask, box=box)
        for image, mask, box in zip(job.conditions, job.masks, job.boxes, strict=True)
    )
    request = PlanRequest(job.prompt, pictures, Frame(*size), count_tokens=count_tokens)
    return plan_layout(request, PlannerOptions(planner=planner))
