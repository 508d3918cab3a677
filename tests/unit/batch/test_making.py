"""A jobs file from a folder of pictures."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from sow_core.batch.making import make_jobs
from sow_core.batch.task import read_task
from sow_core.errors import SowError


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a b!.jpg", "b_mask.png", "B.webp", "con.png", "notes.txt"):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "in" / name, "PNG") if name != "notes.txt" else None
    return tmp_path


def made(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_one_job_a_picture(folder):
    assert make_jobs(folder / "jobs.jsonl", folder / "in", common={"prompt": "x", "set": ["cycles=1"]}) == 4
    jobs = made(folder / "jobs.jsonl")
    assert [job["id"] for job in jobs] == ["B", "a_b", "b-2", "picture_con"]
    assert jobs[2] == {
        "id": "b-2", "condition": "in/b.png", "mask": "in/b_mask.png", "prompt": "x", "set": ["cycles=1"]}  # fmt: skip
    for number, job in enumerate(jobs, 1):
        assert (folder / read_task(job, number, folder).options["condition"][0]).is_file()


def test_masks_apart(folder):
    (folder / "masks").mkdir()
    with pytest.raises(SowError, match="No mask for"):
        make_jobs(folder / "jobs.jsonl", folder / "in", folder / "masks")
    for name in ("B", "a b!_mask", "b", "b_mask", "con"):
        Image.new("L", (8, 8)).save(folder / "masks" / f"{name}.png")
    make_jobs(folder / "jobs.jsonl", folder / "in", folder / "masks")
    assert [job["mask"] for job in made(folder / "jobs.jsonl")][:2] == ["masks/B.png", "masks/a b!_mask.png"]


def test_what_is_there_stays(folder):
    (folder / "jobs.jsonl").write_text("mine")
    with pytest.raises(SowError, match="exists already"):
        make_jobs(folder / "jobs.jsonl", folder / "in")
    assert (folder / "jobs.jsonl").read_text() == "mine"


def test_no_pictures(tmp_path):
    with pytest.raises(SowError, match="No pictures in"):
        make_jobs(tmp_path / "jobs.jsonl", tmp_path)
    with pytest.raises(SowError, match="Cannot read the folder"):
        make_jobs(tmp_path / "jobs.jsonl", tmp_path / "none")
