"""From the options of `generate` to boxes on a canvas."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SowError
from .job import Job, check_boxes

if TYPE_CHECKING:
    from ..method.condition import Layout
    from ..planning.schema import LayoutPlan


def place(
    args: argparse.Namespace, job: Job, size: tuple[int, int], count_tokens: Callable[[str], int]
) -> LayoutPlan | None:
    """Complete the job's boxes, related regions and prompts from the plan file or the planner, which is returned.

    What the user gave stays. None if there was nothing to plan.
    """
    check_boxes(size, job.boxes, job.related)
    planner = args.planner or "offline"
    if args.plan:
        plan = saved_plan(args.plan, job, size)
    elif planner == "none":
        return None
    else:
        plan = make_plan(planner, job, size, count_tokens)
    job.boxes = list(plan.boxes)
    planned = zip(plan.conditions, job.related, strict=True)
    job.related = [given or [r.box for r in c.related] for c, given in planned]
    job.prompt = plan.prompt or job.prompt
    job.negative = plan.negative or job.negative
    if args.plan or planner != "offline":
        print(plan.report(), file=sys.stderr)
    return plan


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


def make_canvas(job: Job, size: tuple[int, int]) -> Layout:
    """The layout of a job whose boxes are complete. Raises SowError."""
    from PIL import Image

    from ..method.condition import load_condition, make_layout, to_tensor

    boxes = [b for b in job.boxes if b is not None]
    check_boxes(size, boxes, job.related)
    conditions = [
        load_condition(image, mask, box, related)
        for image, mask, box, related in zip(job.conditions, job.masks, boxes, job.related, strict=True)
    ]
    given = job.background
    background = (
        to_tensor(given.resize(size, Image.Resampling.LANCZOS)) if isinstance(given, Image.Image) else given
    )
    return make_layout(
        conditions, *size, background=background, coverage=job.config.coverage, fill=job.config.fill
    )
