"""A folder with a jobs file, and a batch of a model that takes no time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sow_core.batch.results import read_results
from sow_core.batch.run import Tally, run_batch
from sow_core.batch.worker import Setup
from tests.unit.batch.stubs import open_stub


class Place:
    """jobs(...) writes the jobs file; run(...) does it; records: the last line of each job in results.jsonl."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file, self.out = folder / "jobs.jsonl", folder / "out"
        Image.new("RGB", (8, 8)).save(folder / "a.png")

    def jobs(self, *jobs: dict[str, Any] | str) -> None:
        lines = [j if isinstance(j, str) else json.dumps({"condition": "a.png", "prompt": "x"} | j) for j in jobs]
        self.file.write_text("".join(f"{line}\n" for line in lines))

    def run(self, **more: Any) -> Tally:
        return run_batch(self.file, self.out, setup=Setup(opener=open_stub), **more)

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        return {record["id"]: record for record in read_results(self.out / "results.jsonl")}

    @property
    def tried(self) -> list[str]:
        return (self.folder / "tried").read_text().split()

    @property
    def pictures(self) -> list[str]:
        return sorted(path.name for path in self.out.glob("*.png"))


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def stops() -> Callable[[int], Callable[[dict], None]]:
    """stops(n): an `ended` that presses Ctrl-C at the n-th record."""

    def after(count: int) -> Callable[[dict], None]:
        seen = []

        def ended(record: dict) -> None:
            seen.append(record)
            if len(seen) == count:
                raise KeyboardInterrupt

        return ended

    return after
