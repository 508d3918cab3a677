"""The files that a command leaves behind: pictures with their settings, a contact sheet, a report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..errors import SowError
from ..files import atomic_write_all, check_outputs
from ..settings import png_bytes
from .finding import bare_name
from .job import Job
from .made import Made, numbered

REPORT_VERSION = 1
"""Under the first key of a report, which tells it from other people's JSON (`files.is_ours`)."""


@dataclass(frozen=True)
class Outputs:
    """Where a run's files go."""

    pictures: list[Path]
    sheet: Path | None
    report: Path | None

    @classmethod
    def check(
        cls, job: Job, out: str | None, sheet: str | None, report: str | None, source: str | None = None
    ) -> Outputs:
        """Raises SowError if writing would fail, or replace an input of the job, the picture `source` that it
        repeats, another output, or a file that was not made here."""
        name = Path(out or "sow.png")
        made = cls(numbered(name, len(job.wanted)), Path(sheet) if sheet else None, Path(report) if report else None)
        for option, path in (("--out", name), ("--sheet", made.sheet)):
            if path is not None and path.suffix.lower() != ".png":
                raise SowError(f"Bad {option} {path}: expected a name that ends in .png.")
        inputs = (*job.conditions, *job.masks, job.plan, job.options.background, source)
        outputs = (*made.pictures, made.sheet, made.report)
        check_outputs((p for p in outputs if p), (p for p in inputs if isinstance(p, (str, Path)) and p))
        return made

    def write(self, made: Made, settings: bool = True) -> list[Path]:
        """Write everything, all files or none; settings: the pictures carry them."""
        files: list[tuple[Path, bytes | str]] = list(zip(self.pictures, made.pngs(settings), strict=True))
        if self.sheet is not None:
            files.append((self.sheet, png_bytes(made.sheet())))
        if self.report is not None:
            named = [{"file": bare_name(path)} | picture
                     for path, picture in zip(self.pictures, made.report["pictures"], strict=True)]  # fmt: skip
            report = {"sow_report": REPORT_VERSION} | made.report | {"pictures": named}
            files.append((self.report, json.dumps(report, indent=2, ensure_ascii=False) + "\n"))
        return atomic_write_all(files)
