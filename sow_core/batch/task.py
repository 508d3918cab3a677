"""One line of a jobs file: what `generate` takes, by the same names, as JSON."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from ..backends.patches import parse_patch
from ..errors import SowError
from ..outside.records import read_record
from ..outside.text import shown
from ..pipeline.job import seeds_of
from ..pipeline.made import numbered
from ..pipeline.options import Options
from ..settings import digest

LONGEST_ID = 120
"""Bytes; the file's name has an ending, too."""
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.I)
"""Names that Windows keeps for itself."""

Names = str | list[str] | None
Maybe = str | list[str | None] | None
Boxes = str | list[float] | list[str | list[float] | None] | None


class ModelKey(NamedTuple):
    """Which model a job needs. Jobs with the same key share a loaded one."""

    model: str = "demo"
    config: str | None = None
    dtype: str | None = None


@dataclass
class _Line:
    """The names that a line knows and what may stand there. None: as `generate` has it when the option is left out."""

    id: str | None = None
    condition: Names = None
    mask: Maybe = None
    prompt: str | None = None
    negative: str | None = None
    suppress: str | None = None
    diverse: str | None = None
    separate: Names = None
    patch: str | None = None
    box: Boxes = None
    related: Names = None
    plan: str | None = None
    planner: str | None = None
    preset: str | None = None
    steps: int | None = None
    cycles: int | None = None
    cfg: float | None = None
    no_attention: bool = False
    set: str | list[str] | dict[str, Any] | None = None
    size: str | list[int] | None = None
    background: str | None = None
    seed: int | None = None
    count: int | None = None
    seeds: list[int] | None = None
    paste_back: int | None = None
    model: str | None = None
    config: str | None = None
    dtype: str | None = None


@dataclass(frozen=True)
class Task:
    """A job of a batch. options: fields of `Options` as plain values, files by absolute path; seeds: one per picture;
    digest: changes with whatever is asked, so that a job that was rewritten is done again.
    """

    id: str
    number: int
    """Of its line in the jobs file, from 1."""
    options: dict[str, Any]
    model: ModelKey
    seeds: list[int]
    digest: str

    @property
    def names(self) -> list[str]:
        """The files of its pictures."""
        return [path.name for path in numbered(Path(f"{self.id}.png"), len(self.seeds))]

    @property
    def inputs(self) -> list[str]:
        """The files that it reads."""
        listed = [*self.options["condition"], *(self.options.get("mask") or []), self.options.get("plan")]
        background = self.options.get("background")
        if background and os.path.isabs(background):  # no colour
            listed.append(background)
        if self.options.get("patch"):
            listed.append(parse_patch(self.options["patch"])[0])
        return [path for path in listed if path]

    def fingerprint(self) -> str | None:
        """Of what its files hold now: changes with any of them. None if one cannot be read."""
        try:
            return hashlib.sha256("".join(map(digest, self.inputs)).encode()).hexdigest()[:16]
        except SowError:
            return None

    @property
    def group(self) -> str:
        """The same for jobs that run the same plan at the same size."""
        asked = {name: self.options.get(name) for name in ("size", "preset", "steps", "cycles", "cfg", "settings")}
        return json.dumps([asked, len(self.options["condition"])], sort_keys=True)


@dataclass(frozen=True)
class Defaults:
    """What a job has that says nothing else: from the command line, relative to the folder that it was given in."""

    options: Mapping[str, Any] = field(default_factory=dict)
    model: ModelKey = ModelKey()


def read_task(values: Any, number: int, folder: Path, defaults: Defaults = Defaults()) -> Task:  # noqa: B008 - frozen
    """The task of a line's JSON. folder: what paths are relative to. Raises SowError for all that the words alone tell
    to be wrong; files are not opened yet."""
    if not isinstance(values, dict):
        raise SowError(f"A job is an object with condition, prompt and so on, got {shown(values)}.")
    line = read_record(_Line, {str(k).replace("-", "_"): v for k, v in values.items()}, strict=True)
    options = dict(defaults.options)
    if line.seed is not None or line.count is not None:
        options.pop("seeds", None)
    options |= _options(line, folder)
    options["settings"] = [*defaults.options.get("settings", ()), *_settings(line.set)]
    if not options.get("condition"):
        raise SowError('No condition: expected "condition": "FILE", the picture to keep.')
    if options.get("patch"):
        parse_patch(options["patch"])
    asked = {k: v for k, v in values.items() if k != "id"}
    told = json.dumps([asked, dict(defaults.options), defaults.model], sort_keys=True, ensure_ascii=False)
    return Task(
        id=checked_id(line.id) if line.id is not None else default_id(number),
        number=number,
        options=options,
        model=ModelKey(line.model or defaults.model.model, line.config or defaults.model.config,
                       line.dtype or defaults.model.dtype),
        seeds=seeds_of(Options.of(options)),
        digest=hashlib.sha256(told.encode()).hexdigest()[:16],
    )  # fmt: skip


def default_id(number: int) -> str:
    """The id of a line that gives none: its number."""
    return f"{number:06}"


def checked_id(text: str) -> str:
    """`text`, if a file can be called so on every system. Raises SowError."""
    fine = re.fullmatch(r"\w([\w .+=@-]*[\w+=@-])?", text) and not DEVICES.fullmatch(text)
    if not fine or len(text.encode()) > LONGEST_ID:
        raise SowError(
            f"Bad id {shown(text)}: it names the picture's file; expected at most {LONGEST_ID} letters, digits, "
            "blanks and . _ - + = @, a letter or digit first."
        )
    return text


def _options(line: _Line, folder: Path) -> dict[str, Any]:
    """The line's options, without those that it leaves out."""
    known = {f.name for f in fields(Options)}
    plain = {f.name: getattr(line, f.name) for f in fields(_Line) if f.name in known}
    masks = [line.mask] if isinstance(line.mask, str) else line.mask
    background = _beside(folder, line.background) if line.background else None
    values = plain | {
        "condition": [_beside(folder, path) for path in _listed(line.condition)],
        "mask": None if masks is None else [path and _beside(folder, path) for path in masks],
        "box": _boxes(line.box),
        "related": _listed(line.related),
        "plan": _beside(folder, line.plan) if line.plan else None,
        "patch": _beside(folder, line.patch) if line.patch else None,  # its :STRENGTH goes along
        "size": tuple(line.size) if isinstance(line.size, list) else line.size,
        # A background is a picture's file or a colour's name.
        "background": background if background and os.path.exists(background) else line.background,
    }
    given = {name: value for name, value in values.items() if value is not None and value is not False}
    return {name: value for name, value in given.items() if value != [] or name == "seeds"}


def _listed(names: Names) -> list[str]:
    return [names] if isinstance(names, str) else names or []


def _boxes(boxes: Boxes) -> list[Any] | None:
    single = isinstance(boxes, str) or (boxes and all(isinstance(value, (int, float)) for value in boxes))
    return [boxes] if single else boxes or None  # type: ignore[return-value]


def _settings(given: str | list[str] | dict[str, Any] | None) -> list[str]:
    """--set's NAME=VALUE, from an object as well."""
    if isinstance(given, dict):
        return [f"{name}={','.join(map(str, v)) if isinstance(v, list) else v}" for name, v in given.items()]
    return _listed(given)


def _beside(folder: Path, path: str) -> str:
    return os.path.abspath(folder / path)
