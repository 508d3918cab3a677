"""The demo world's encoders and its prior: what is asked for is found, on pictures that no model has seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.find.measure import Session
from sow_core import cli

ROOT = Path(__file__).resolve().parents[2]
GALLERY = ROOT / "pictures" / "gallery"


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """12 families of each kind: about a hundred pictures."""
    return Session(12, True, tmp_path_factory.mktemp("find"))


def test_the_methods_in_their_order(session):
    """Measured: see benchmarks/find/results. Chance is 0.01; a family's other changes alone would make 0.33."""
    found = {name: scores["all"]["R@1"] for name, scores in session.methods().items()}
    assert found["compodiff-mini"] > found["fusion"] + 0.05
    assert found["fusion"] > max(found["image only"], found["text only"])
    assert found["compodiff-mini"] > 0.5


def test_find_in_the_gallery(tmp_path, capsys):
    index = ["--index", str(tmp_path / "index.safetensors")]
    assert cli.main(["index", str(GALLERY), "--quiet", *index]) == 0
    assert "32 embedded" in capsys.readouterr().err
    for method in ("fusion", "compodiff"):
        asked = ["--image", str(GALLERY / "07.png"), "--text", "with sunglasses", "--top", "3", "--json"]
        assert cli.main(["find", str(GALLERY), *asked, "--method", method, *index]) == 0
        found = json.loads(capsys.readouterr().out)
        assert len(found) == 3 and "07.png" not in {row["name"] for row in found}  # the query is no answer


def test_the_card_tells_what_the_files_hold():
    card = (ROOT / "models" / "demo" / "retrieval" / "README.md").read_text(encoding="utf-8")
    folder = ROOT / "models" / "demo" / "retrieval"
    for name in ("encoders.safetensors", "prior.safetensors"):
        assert f"{(folder / name).stat().st_size / 1e6:.2f} MB" in card
    results = json.loads((ROOT / "benchmarks" / "find" / "results" / "find.json").read_text(encoding="utf-8"))
    for name in ("fusion", "compodiff-mini"):
        assert f"{results['methods'][name]['all']['R@1']:.3f}" in card
