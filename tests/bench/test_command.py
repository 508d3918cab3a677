"""`bench quality` from end to end on the demo model: two cases, resumed, reported, published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.quality import publish
from benchmarks.quality.store import Store
from sow_core.cli import main
from sow_core.commands import bench

METHODS = "text_to_image,replacement,fast,cycles_0,cycles_1"


def quality(out: Path, *more: str) -> int:
    return main(["bench", "quality", "--quick", "--settings", "normal", "--methods", METHODS, "--no-text",
                 "--judges", str(out / "none"), "--out", str(out), *more])  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("bench") / "run"
    assert quality(out) == 0
    return out


def test_what_a_run_leaves(finished):
    summary = json.loads((finished / "summary.json").read_text())
    table = summary["table"]["normal"]
    assert set(table) == set(METHODS.split(","))
    assert all(v["region_rms"]["n"] == 2 for v in table.values())
    assert table["text_to_image"]["rows"]["mean"] == 20
    # what was not measured is said, and not there
    assert any("no judges" in line for line in summary["skipped"])
    assert not any("identity_distance" in v or "failed" in v for v in table.values())
    text = (finished / "table.md").read_text()
    assert "| replacement |" in text and "Not measured: identity" in text
    assert Image.open(finished / "sheet_normal.png").width > 128 * 7


def test_replacement_keeps_more_than_plain_sampling(finished):
    table = json.loads((finished / "summary.json").read_text())["table"]["normal"]
    assert table["replacement"]["region_rms"]["mean"] < 0.7 * table["text_to_image"]["region_rms"]["mean"]


def test_resumes_without_sampling_again(finished):
    pictures = {p: p.stat().st_mtime_ns for p in finished.glob("pictures/*/*.png")}
    lines = (finished / "pictures.jsonl").read_text().count("\n")
    assert len(pictures) == lines == 10
    lost = next(iter(pictures))
    lost.unlink()
    assert quality(finished) == 0
    after = {p: p.stat().st_mtime_ns for p in finished.glob("pictures/*/*.png")}
    assert {p for p in pictures if after[p] != pictures[p]} == {lost}


def test_report_only_samples_nothing(tmp_path):
    assert quality(tmp_path, "--report-only") == 0
    assert not list(tmp_path.glob("pictures/*/*.png"))


def test_the_page(finished, tmp_path):
    results, docs = tmp_path / "results", tmp_path / "docs"
    results.mkdir()
    (results / "main.json").write_bytes((finished / "summary.json").read_bytes())
    toy = {"pairs": 1, "times": [351], "distances": {"as it is": [{"left": 0.1, "right": 0.2}]}}
    (results / "toy.json").write_text(json.dumps(toy))
    paths = publish.write_page(results, docs)
    page = (docs / "results.md").read_text()
    assert paths[0] == docs / "results.md"
    assert "harmonic mean" in page and "| cycles_1 |" in page and "| as it is | 0.100 | 0.200 |" in page
    shown = [line.split("(")[1].rstrip(")") for line in page.splitlines() if line.startswith("![")]
    assert shown and all((docs / name).is_file() for name in shown if "toy" not in name)
    again = {p: p.read_bytes() for p in paths}
    assert {p: p.read_bytes() for p in publish.write_page(results, docs)} == again


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--methods", "nonsense"], "Unknown method 'nonsense'"),
        (["--settings", "odd"], "Unknown setting 'odd'"),
        (["--cases", "0"], "Bad --cases 0"),
        (["--split", "train"], "invalid choice: 'train'"),
    ],
)
def test_bad_usage(arguments, words, tmp_path, capsys):
    assert main(["bench", "quality", "--out", str(tmp_path), *arguments]) == 2
    told = capsys.readouterr().err
    assert words in told and told.count("\n") == 1


def test_outside_a_clone(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench, "PACKAGE", tmp_path / "site-packages" / "sow_core")
    assert main(["bench", "quality"]) == 2
    assert "inside a clone" in capsys.readouterr().err


def test_no_suite(capsys):
    assert main(["bench"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_store_survives_a_torn_line(tmp_path):
    store = Store(tmp_path / "x.jsonl")
    store.put("a", "1", {"v": 1})
    with store.path.open("a") as file:
        file.write('{"key": "b", "fing')
    again = Store(store.path)
    assert again.get("a", "1")["v"] == 1 and again.get("a", "2") is None and again.get("b", "1") is None
    again.put("b", "1", {"v": 2})
    assert Store(store.path).get("b", "1")["v"] == 2
