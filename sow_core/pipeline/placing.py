"""From a job to boxes on a canvas."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SowError
from ..method.box import CELL, check_inside
from ..outside.reading import read_text_file
from .job import Job

if TYPE_CHECKING:
    from ..method.condition import Layout
    from ..planning.schema import LayoutPlan


def place(
    job: Job, size: tuple[int, int], count_tokens: Callable[[str], int], say: Callable[[str], object]
) -> LayoutPlan | None:
    """Complete the job's boxes, related regions and prompts from its plan or its planner; the plan that was followed.

    What the user gave stays. None if there was nothing to plan. `say` is told what a plan reports.
    """
    check_inside(*size, job.boxes, job.related)
    given = job.plan if not isinstance(job.plan, dict) else None
    if given is not None:
        plan = saved_plan(given, job, size) if isinstance(given, (str, Path)) else fitting(given, job, "The plan")
    elif job.planner == "none":
        return None
    else:
        plan = make_plan(job, size, count_tokens)
    job.boxes = list(plan.boxes)
    planned = zip(plan.conditions, job.related, strict=True)
    job.related = [given or [r.box for r in c.related] for c, given in planned]
    job.prompt = plan.prompt or job.prompt
    job.negative = plan.negative or job.negative
    check_inside(*size, job.boxes, job.related)
    if given is not None or job.planner != "offline":
        say(plan.report())
    return plan


def saved_plan(path: str | Path, job: Job, size: tuple[int, int]) -> LayoutPlan:
    """A plan file, fitted to this canvas. Raises SowError if it is none or plans another number of conditions."""
    from ..planning.reading import read_plan

    text = read_text_file(path, "the plan")
    return fitting(read_plan(text, width=size[0], height=size[1], prompt=job.prompt), job, f"The plan {path}")


def fitting(plan: LayoutPlan, job: Job, name: str) -> LayoutPlan:
    """The plan, if it is for as many conditions as the job has. Raises SowError."""
    if len(plan.conditions) != len(job.conditions):
        raise SowError(f"{name} places {len(plan.conditions)} conditions, but {len(job.conditions)} were given.")
    return plan


def make_plan(job: Job, size: tuple[int, int], count_tokens: Callable[[str], int]) -> LayoutPlan:
    """The job's planner's layout for the conditions; boxes that the user gave stay as they are."""
    from ..planning.planner import PlannerOptions, plan_layout
    from ..planning.request import ConditionPicture, PlanRequest
    from ..planning.schema import Frame

    pictures = tuple(
        ConditionPicture.open(image, mask, box=box)
        for image, mask, box in zip(job.conditions, job.masks, job.boxes, strict=True)
    )
    request = PlanRequest(job.prompt, pictures, Frame(*size), count_tokens=count_tokens)
    return plan_layout(request, PlannerOptions(planner=job.planner))


def make_canvas(job: Job, size: tuple[int, int], cell: int = CELL, snap: int = CELL) -> Layout:
    """The layout of a job whose boxes are complete, on a model's grids (see `Layout`). Raises SowError."""
    from PIL import Image

    from ..method.condition import load_condition, make_layout, to_tensor

    boxes = [b for b in job.boxes if b is not None]
    conditions = [
        load_condition(image, mask, box, related)
        for image, mask, box, related in zip(job.conditions, job.masks, boxes, job.related, strict=True)
    ]
    given = job.background
    background = (
        to_tensor(given.resize(size, Image.Resampling.LANCZOS)) if isinstance(given, Image.Image) else given
    )
    return make_layout(
        conditions, *size, background=background, coverage=job.config.coverage, fill=job.config.fill,
        cell=cell, snap=snap,
    )  # fmt: skip
