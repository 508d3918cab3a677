"""The layout plan: what a planner decides, as data that travels in a workflow and a picture.

All boxes are px on the plan's canvas, origin top-left, on the 8-px grid of latent cells.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import SowError, one_line
from ..method.box import CELL, Box, check_size

VERSION = 1
"""Of the JSON form, in its key `sow_plan`. Readers accept this and older ones."""

LONGEST_LINE = 20_000
"""Characters of a line of the report; a prompt may be the user's own."""

REFERENCE = 512
"""Canvas side in px that the paper's size rule is written for."""


@dataclass(frozen=True)
class SizeRule:
    """Longer side of a condition, px on a 512-px canvas: the paper's 180..256."""

    low: int = 180
    high: int = 256

    def __post_init__(self) -> None:
        if not CELL <= self.low <= self.high <= REFERENCE:
            raise SowError(
                f"Bad size limits {self.low}..{self.high}: expected {CELL} <= smallest <= largest <= {REFERENCE} px."
            )

    def on(self, width: int, height: int) -> tuple[int, int]:
        """Smallest and largest longer side in px on this canvas, on the grid (184..256 at 512 x 512)."""
        scale = min(width, height) / REFERENCE
        low, high = -(-self.low * scale // CELL) * CELL, self.high * scale // CELL * CELL
        if low > high:  # no multiple of 8 in the range: the nearest one
            low = high = int((self.low + self.high) / 2 * scale / CELL + 0.5) * CELL
        return max(int(low), CELL), max(int(high), CELL)


@dataclass(frozen=True)
class Frame:
    """The canvas in px and the size rule on it. Raises SowError for sides that no canvas has."""

    width: int = REFERENCE
    height: int = REFERENCE
    rule: SizeRule = field(default_factory=SizeRule)

    def __post_init__(self) -> None:
        check_size(self.width, self.height)

    @property
    def sides(self) -> tuple[int, int]:
        return self.rule.on(self.width, self.height)

    @property
    def scale(self) -> float:
        """Px on this canvas per px of the paper's 512-px canvas."""
        return min(self.width, self.height) / REFERENCE


@dataclass(frozen=True)
class RelatedRegion:
    """A place that belongs to a condition: `label` says what it will show."""

    label: str
    box: Box


@dataclass(frozen=True)
class ConditionPlan:
    """Where one condition goes. `fixed` marks a box that the user gave, which the size rule leaves alone."""

    box: Box
    related: tuple[RelatedRegion, ...] = ()
    description: str = ""
    fixed: bool = False


@dataclass(frozen=True)
class LayoutPlan:
    """A validated plan. `source` says who made it and how; `adjustments` what was changed and why."""

    frame: Frame
    prompt: str
    conditions: tuple[ConditionPlan, ...]
    negative: str = ""
    source: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    adjustments: tuple[str, ...] = ()

    @property
    def boxes(self) -> tuple[Box, ...]:
        return tuple(condition.box for condition in self.conditions)

    def as_dict(self) -> dict[str, Any]:
        return {
            "sow_plan": VERSION,
            "canvas": {"width": self.frame.width, "height": self.frame.height},
            "size_rule": {"low": self.frame.rule.low, "high": self.frame.rule.high},
            "prompt": self.prompt,
            "negative": self.negative,
            "conditions": [
                {
                    "description": condition.description,
                    "box": condition.box.as_dict(),
                    "related": [{"label": r.label, "box": r.box.as_dict()} for r in condition.related],
                    **({"fixed": True} if condition.fixed else {}),
                }
                for condition in self.conditions
            ],
            "source": dict(self.source),
            "adjustments": list(self.adjustments),
        }

    def to_json(self, indent: int | None = 2) -> str:
        return json.dumps(self.as_dict(), indent=indent, ensure_ascii=False)

    def report(self) -> str:
        """A few lines for a person: who planned, the prompt, the boxes, every adjustment."""
        lines = [("", f"planner: {describe_source(self.source)}"), ("", f"prompt: {self.prompt}")]
        for number, condition in enumerate(self.conditions, 1):
            name = f"condition {number}" + (f" ({condition.description})" if condition.description else "")
            lines.append(("", f"{name}: box {condition.box}"))
            lines += [("  ", f"related: {region.label} {region.box}") for region in condition.related]
        lines += [("", f"note: {note}") for note in self.adjustments]
        return "\n".join(indent + one_line(line, LONGEST_LINE) for indent, line in lines)


def describe_source(source: Mapping[str, Any]) -> str:
    """`source` on one line, in the order in which it was written."""
    head = str(source.get("planner", "unknown"))
    rest = [f"{key} {value}" for key, value in source.items() if key != "planner" and value != ""]
    return f"{head} ({', '.join(rest)})" if rest else head
