"""What a batch does, whatever the model: everything once, bad jobs as lines, and on after a stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from sow_core.batch.failures import MOST_KINDS, Failures
from sow_core.errors import SowError

ROOT = Path(__file__).resolve().parents[3]


def test_every_job_once(place):
    place.jobs({"id": "a"}, {"count": 2}, {"id": "c", "seeds": [7, 5]})
    tally = place.run()
    assert (tally.done, tally.failed, tally.before, tally.pictures) == (3, 0, 0, 5)
    assert place.pictures == ["000002_1.png", "000002_2.png", "a.png", "c_1.png", "c_2.png"]
    assert Image.open(place.out / "c_1.png").getpixel((0, 0)) == (7, 0, 0)
    told = place.records["c"]
    assert (told["seeds"], told["files"], told["line"], told["tries"]) == ([7, 5], ["c_1.png", "c_2.png"], 3, 1)


def test_a_second_start_does_what_is_missing(place):
    place.jobs({"id": "a"}, {"id": "b"}, {"id": "c", "prompt": "fail"}, {"id": "d"})
    place.run()
    (place.out / "b.png").unlink()
    place.jobs({"id": "a"}, {"id": "b"}, {"id": "c"}, {"id": "d", "prompt": "rewritten"}, {"id": "e"})
    tally = place.run()
    assert (tally.before, tally.done) == (1, 4)
    assert sorted(place.tried) == ["a", "b", "b", "c", "c", "d", "d", "e"]


def test_a_picture_that_changed_under_its_name_is_another_job(place):
    Image.new("RGB", (8, 8)).save(place.folder / "b.png")
    place.jobs({"id": "a"}, {"id": "b", "condition": "b.png"}, {"id": "c", "mask": "b.png"}, {"id": "d"})
    place.run()
    Image.new("RGB", (8, 8), "red").save(place.folder / "b.png")
    tally = place.run()
    assert (tally.before, tally.done, place.tried) == (2, 2, [*"abcd", "b", "c"])
    assert tally.changed.lines() == ["2 x An input file has changed since: done again. (first: b)"]
    os.utime(place.folder / "b.png", (0, 0))  # the same picture
    assert place.run().before == 4 and place.run().changed.lines() == []
    (place.folder / "b.png").unlink()
    assert place.run().before == 4


def test_models_are_loaded_once_each_and_plans_go_together(place):
    place.jobs({"id": "a", "model": "m"}, {"id": "b", "model": "n"}, {"id": "c", "model": "m", "size": "64x64"},
               {"id": "d", "model": "n"}, {"id": "e", "model": "m"})  # fmt: skip
    place.run()
    assert place.tried == ["a", "e", "c", "b", "d"]  # of one model those of one size


def test_bad_jobs_are_lines(place):
    (place.out).mkdir()
    (place.out / "mine.png").write_bytes(b"a picture of somebody's")
    place.jobs({"id": "a"}, "no json", {"id": "b", "colour": 1}, {"id": "A"}, {"id": "f", "prompt": "fail"},
               {"id": "g", "model": "gone"}, {"id": "mine"}, "", {"id": "in", "condition": "out/a.png"},
               '{"id": "long", "prompt": "' + "x" * 2**20 + '"}', {"id": "z"})  # fmt: skip
    tally = place.run()
    assert (tally.done, tally.failed) == (2, 8)
    errors = {name: record["error"] for name, record in place.records.items() if record["state"] == "failed"}
    parts = {"000002": "not valid JSON", "b": "'colour'", "A": "of an earlier job", "f": "Bad thing",
             "g": "No such model", "mine": "was not made here", "in": "lies in the folder of the results",
             "000010": "at most 1 MB"}  # fmt: skip
    assert errors.keys() == parts.keys() and all(parts[name] in errors[name] for name in parts)
    assert (place.out / "mine.png").read_bytes() == b"a picture of somebody's"


def test_files_of_two_ids_do_not_meet(place):
    place.jobs({"id": "a", "count": 2}, {"id": "a_1"})
    assert (place.run().failed, place.pictures) == (1, ["a_1.png", "a_2.png"])


def test_reserved_names_are_no_jobs(place):
    place.jobs({"id": "sheet"}, {"id": "b"})
    assert place.run(reserved=("sheet.png",)).failed == 1


def test_tries(place):
    place.jobs({"id": "a", "prompt": "break once"}, {"id": "b", "prompt": "break"}, {"id": "c", "prompt": "fail"})
    place.run(retries=2)
    assert [place.tried.count(name) for name in "abc"] == [2, 3, 1]
    assert place.records["a"]["tries"] == 2 and place.records["b"]["error"] == "RuntimeError: broken"


def test_limit(place):
    place.jobs("bad", *({"id": name} for name in "abcd"), "bad too")
    for done in (2, 4):
        tally = place.run(limit=2)
        assert tally.done == 2 and len(place.pictures) == done
    assert place.run(limit=2).before == 4


@pytest.mark.parametrize("at", ["between", "inside"])
def test_ctrl_c_leaves_a_folder_to_go_on_with(place, stops, at):
    place.jobs({"id": "a"}, {"id": "b", "prompt": "stop" if at == "inside" else "x"}, {"id": "c"})
    with pytest.raises(KeyboardInterrupt):
        place.run(ended=stops(2))
    tally = place.run()
    assert (tally.before, tally.done) == ((1, 2) if at == "inside" else (2, 1))
    assert place.pictures == ["a.png", "b.png", "c.png"]


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_kill_and_start_again(place):
    jobs = [{"id": f"j{n}", "prompt": "sleep 0.05"} for n in range(20)]
    place.jobs(*jobs)
    code = ("import sys; from tests.unit.batch.conftest import Place; from pathlib import Path;"
            "Place(Path(sys.argv[1])).run()")  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", code, str(place.folder)], cwd=ROOT)
    deadline = time.monotonic() + 60
    while not place.out.is_dir() or len(place.records) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(place.records)
    tally = place.run()
    assert 3 <= tally.before < 20 and tally.before + tally.done == 20 and tally.before >= before - 1
    assert len(place.pictures) == 20 and all(Image.open(place.out / name).load() for name in place.pictures)
    lines = (place.out / "results.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["id"] for line in lines) == sorted(job["id"] for job in jobs)


def test_a_jobs_file_that_changes_meanwhile_stops_the_batch(place):
    place.jobs({"id": "a", "model": "m"}, {"id": "b", "model": "n"})
    with pytest.raises(SowError, match="has changed"):
        place.run(ended=lambda record: place.file.write_text("\n"))


def test_no_jobs_file(place):
    with pytest.raises(SowError, match="There is no jobs file"):
        place.run()


def test_a_disk_that_refuses_stops_the_batch(place, monkeypatch):
    place.jobs({"id": "a"}, {"id": "b"})
    monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(SowError, match="No space left"):
        place.run()
    monkeypatch.undo()
    assert place.run().done == 2


def test_failures_by_kind():
    failures = Failures()
    for number in range(5):
        failures.add(f"j{number}", f"No such picture: /a/b{number}.png.")
    failures.add("k", "Bad --steps 3.")
    assert failures.lines() == ["5 x No such picture: /a/b0.png. (first: j0)", "1 x Bad --steps 3. (first: k)"]
    for number in range(100):
        failures.add("m", "word " + "abcdefghijklmnopqrstuvwxyz"[number % 26] * (1 + number // 26))
    assert len(failures.lines()) == MOST_KINDS + 1 and failures.lines()[-1].startswith("82 of other kinds")
