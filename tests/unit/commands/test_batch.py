"""`sow batch` on a small random model: `generate`'s own pictures, in any order."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from sow_core.cli import main


@pytest.fixture
def place(tmp_path, monkeypatch, tiny):
    monkeypatch.chdir(tmp_path)
    for n in range(2):
        values = np.random.default_rng(n).integers(0, 255, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(values).save(f"face{n}.png")
    return tmp_path


def jobs(*lines: dict) -> str:
    with open("jobs.jsonl", "w") as file:
        file.writelines(json.dumps({"box": "16,16,32,24", "prompt": "a cat"} | line) + "\n" for line in lines)
    return "jobs.jsonl"


def batch(tiny, *more: str) -> int:
    common = ["--model", str(tiny("sd1")), "--device", "cpu", "--preset", "fast", "--cycles", "1", "--size", "64x64"]
    return main(["batch", *more, *common, "--quiet"])


def test_generates_own_pictures_in_any_order(place, tiny, capsys):
    lines = ({"id": "a", "condition": "face0.png", "seed": 3, "count": 2}, {"id": "b", "condition": "face1.png"},
             {"id": "c", "condition": "face0.png", "prompt": "a dog", "planner": "offline", "box": None})  # fmt: skip
    assert batch(tiny, jobs(*lines), "--out", "one", "--sheet", "one/sheet.png") == 0
    assert "3 done, 0 failed; 4 pictures" in capsys.readouterr().out
    assert batch(tiny, jobs(*reversed(lines)), "--out", "two") == 0
    names = ["a_1.png", "a_2.png", "b.png", "c.png"]
    made = [(place / "one" / name).read_bytes() for name in names]
    assert [(place / "two" / name).read_bytes() for name in names] == made
    assert Image.open("one/sheet.png").width > 192
    command = ["generate", "--condition", str(place / "face0.png"), "--box", "16,16,32,24", "--prompt", "a cat",
               "--seed", "3", "--count", "2", "--size", "64x64", "--preset", "fast", "--cycles", "1", "--quiet",
               "--model", str(tiny("sd1")), "--device", "cpu", "--out", "a.png"]  # fmt: skip
    assert main(command) == 0
    pixels = [np.asarray(Image.open(place / f"a_{n}.png")) for n in (1, 2)]
    assert all((np.asarray(Image.open(place / "one" / f"a_{n + 1}.png")) == p).all() for n, p in enumerate(pixels))


def test_bad_jobs_make_the_exit_code(place, tiny, capsys):
    name = jobs({"id": "a", "condition": "face0.png"}, {"id": "b", "condition": "nothing.png"})
    assert batch(tiny, name, "--out", "out") == 1
    out = capsys.readouterr().out
    assert "1 done, 1 failed" in out and "1 x There is no picture" in out
    assert batch(tiny, name, "--out", "out") == 1
    assert "0 done, 1 before, 1 failed" in capsys.readouterr().out


def test_make_then_do(place, tiny, capsys):
    (place / "lists").mkdir()
    name = str(place / "lists" / "jobs.jsonl")
    assert batch(tiny, name, "--make", ".", "--prompt", "a cat", "--box", "16,16,32,24", "--background", "red",
                 "--mask", "") == 0  # fmt: skip
    assert "jobs.jsonl: 2 jobs" in capsys.readouterr().out
    first = json.loads((place / "lists" / "jobs.jsonl").read_text().splitlines()[0])
    assert (first["condition"], first["background"], first["mask"]) == ("../face0.png", "red", [""])
    assert main(["batch", name, "--out", "out", "--device", "cpu", "--quiet"]) == 0
    assert (place / "out" / "face0.png").is_file() and (place / "out" / "face1.png").is_file()


def test_a_sheet_replaces_nobody_elses_file(place, tiny, capsys):
    (place / "mine.png").write_bytes(b"mine")
    assert batch(tiny, jobs({"condition": "face0.png"}), "--out", "out", "--sheet", "mine.png") == 2
    assert "was not made here" in capsys.readouterr().err and (place / "mine.png").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "more",
    [["--limit", "0"], ["--workers", "0"], ["--retries", "-1"], ["--gpus-per-worker", "-1"], ["--sheet", "a.jpg"]],
)
def test_bad_numbers_are_one_line(place, tiny, capsys, more):
    assert batch(tiny, jobs({"condition": "face0.png"}), *more) == 2
    assert capsys.readouterr().err.startswith(f"error: Bad {more[0]}")
    assert not (place / "sow_batch").exists()
