"""results.jsonl after a crash, and one batch at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sow_core.batch.results import NAME, Results, read_results
from sow_core.batch.task import read_task
from sow_core.errors import SowError

TASK = read_task({"id": "a", "condition": "a.png", "prompt": "x"}, 1, Path())


def record(name: str, state: str = "done", **more) -> dict:
    return {"id": name, "state": state, "job": TASK.digest, **more}


def test_a_file_torn_anywhere_keeps_its_whole_lines(tmp_path):
    path = tmp_path / NAME
    lines = [json.dumps(record(name, note="ä")).encode() + b"\n" for name in "ab"]
    whole = b"".join(lines)
    for length in [*range(len(lines[0]) + 3), *range(len(lines[0]) + 3, len(whole), 7), len(whole) - 1, len(whole)]:
        path.write_bytes(whole[:length])
        kept = sum(length >= len(b"".join(lines[:n])) - 1 for n in (1, 2))  # the line break itself can be lost
        with Results(tmp_path) as results:
            results.append(record("c"))
        assert [r["id"] for r in read_results(path)] == [*"ab"[:kept], "c"]
        assert path.read_bytes().count(b"\n") == kept + 1


def test_lines_that_are_none_are_passed_over(tmp_path):
    path = tmp_path / NAME
    path.write_bytes(b'{"id": "torn\n\xff\n[1]\n{"id": 3, "state": "done"}\n{"id": "a", "state": "?"}\n'
                     + b"x" * 2_000_000 + b"\n" + json.dumps(record("a")).encode() + b"\n")  # fmt: skip
    assert [r["id"] for r in read_results(path)] == ["a"]


def test_done_is_the_last_word_on_this_job_and_its_file(tmp_path):
    with Results(tmp_path) as results:
        assert not results.is_done(TASK)
        results.append(record("a"))
        assert not results.is_done(TASK)  # its picture is not there
        (tmp_path / "a.png").write_bytes(b"x")
        assert results.is_done(TASK)
        results.append(record("a", "failed"))
        assert not results.is_done(TASK)
        results.append(record("a") | {"job": "another"})
        assert not results.is_done(TASK)
        results.append(record("a"))
    with Results(tmp_path) as results:
        assert results.is_done(TASK)


def test_one_batch_at_a_time(tmp_path):
    with Results(tmp_path), pytest.raises(SowError, match="Another batch"):
        Results(tmp_path)
    with Results(tmp_path):
        pass


def test_somebody_elses_file_stays(tmp_path):
    for content in (b"id,state\n1,done\n", b'{"id": 7}', b"x"):
        (tmp_path / NAME).write_bytes(content)
        with pytest.raises(SowError, match="was not made by a batch"):
            Results(tmp_path)
        assert (tmp_path / NAME).read_bytes() == content


def test_parts_of_a_killed_process_go(tmp_path):
    (tmp_path / ".sow-abc.part").write_bytes(b"half")
    with Results(tmp_path):
        assert not list(tmp_path.glob("*.part"))


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SowError, match="Cannot write"):
        Results(tmp_path / "file")
