"""What one can ask of a run, by the names of `generate`'s options: the command line's, a batch's and Python's alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SowError
from ..method.box import Box

if TYPE_CHECKING:
    from PIL import Image

    from ..planning.schema import LayoutPlan

    Picture = str | Path | Image.Image


@dataclass
class Options:
    """A run as it was asked for; None: not given, so that a default, a model or a saved picture may say it.

    condition, mask, box: one entry per picture to keep, in order; a missing or empty mask stands for the picture's
    alpha, a missing box for a planner's. related: "[N:]X,Y,W,H", N the number of a condition. settings: "NAME=VALUE".
    separate: words of the prompt whose things are kept apart, "hat, glasses". patch: "FILE.safetensors[:STRENGTH]".
    seed, count: seeds seed, seed+1, ...; seeds: any others, instead.
    """

    condition: Sequence[Picture] | None = None
    mask: Sequence[Picture | None] | None = None
    prompt: str | None = None
    negative: str | None = None
    suppress: str | None = None
    diverse: str | None = None
    separate: str | Sequence[str] | None = None
    patch: str | None = None
    box: Sequence[Box | str | Sequence[float] | None] | None = None
    related: Sequence[str] | None = None
    plan: str | Path | LayoutPlan | None = None
    planner: str | None = None
    preset: str | None = None
    steps: int | None = None
    cycles: int | None = None
    cfg: float | None = None
    no_attention: bool = False
    settings: Sequence[str] = ()
    size: str | tuple[int, int] | None = None
    background: Picture | None = None
    seed: int | None = None
    count: int | None = None
    seeds: Sequence[int] | None = None
    paste_back: int | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Options:
        """The options among `values` (a parsed command line has others beside them)."""
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})

    @classmethod
    def named(cls, values: Mapping[str, Any]) -> Options:
        """Options of which every name must be known. Raises SowError, with the names there are."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise SowError(f"Unknown option {unknown[0]!r}: expected one of {', '.join(sorted(known))}.")
        return cls(**values)
