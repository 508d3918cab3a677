"""`sow turns`: what it prints and refuses; the turns themselves are in tests/unit/turns and tests/demo."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from unit.turns.known import KnownBackend

from sow_core.cli import main
from sow_core.pipeline.model import Model


@pytest.fixture
def sow(capsys, monkeypatch, tmp_path):
    """The command line in a folder of its own, on a model whose denoiser is known."""
    monkeypatch.chdir(tmp_path)
    known = Model(KnownBackend(), {"model": "demo", "model_config": None})
    monkeypatch.setattr("sow_core.commands.turns.load", lambda *args, **others: known)
    Image.effect_noise((96, 64), 60).convert("RGB").save("room.png")

    def call(*argv: str) -> tuple[int, list[str], str]:
        capsys.readouterr()
        code = main(["turns", *argv])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err

    return call


BEGIN = ("new", "a.turns.json", "--image", "room.png", "--prompt", "a red cube on a gray floor",
         "--thing", "red cube=8,20,24,24", "--quiet")  # fmt: skip


def test_a_history_from_new_to_replay(sow, tmp_path):
    assert sow(*BEGIN)[:2] == (0, ["* turn 0: a red cube on a gray floor"])
    text = "add a blue cube right of the red cube"
    assert sow("edit", "a.turns.json", "--instruction", text, "--quiet", "--out", "b.png")[:2] == (
        0,
        [f"* turn 1 after 0: {text}"],
    )
    assert Image.open("b.png").size == (96, 64)
    assert sow("back", "a.turns.json")[1] == ["* turn 0: a red cube on a gray floor"]
    assert sow("back", "a.turns.json", "--to", "1")[1] == [f"* turn 1 after 0: {text}"]
    code, lines, _ = sow("show", "a.turns.json", "--sheet", "s.png")
    assert code == 0 and lines == ["  turn 0: a red cube on a gray floor", f"* turn 1 after 0: {text}"]
    assert Image.open("s.png").width > 200
    assert json.loads("\n".join(sow("show", "a.turns.json", "--json")[1]))["current"] == 1
    code, lines, _ = sow("replay", "a.turns.json", "--out", "again", "--quiet")
    assert code == 0 and [line.split(": ")[1] for line in lines] == ["the same", "the same"]
    assert (tmp_path / "again" / "turn_1.png").read_bytes() != (
        tmp_path / "again" / "turn_0.png"
    ).read_bytes()


def test_a_match_guides_a_single_candidate_too(sow, tmp_path):
    sow(*BEGIN)
    text = ("--instruction", "add a blue cube right of the red cube", "--quiet")
    assert sow("edit", "a.turns.json", *text, "--out", "plain.png")[0] == 0
    sow("back", "a.turns.json")
    guided = ("--match", "demo", "--match-guidance", "0.2", "--out", "guided.png")
    assert sow("edit", "a.turns.json", *text, *guided)[0] == 0
    assert (tmp_path / "plain.png").read_bytes() != (tmp_path / "guided.png").read_bytes()
    code, lines, _ = sow("replay", "a.turns.json", "--out", "again", "--quiet")
    assert code == 0 and len(lines) == 3


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("new", "b.turns.json"), "Nothing to begin with"),
        (("new", "b.json", "--prompt", "x"), "ends in .turns.json"),
        (BEGIN, "is there already"),
        (("new", "b.turns.json", "--image", "none.png"), "none.png"),
        (("new", "b.turns.json", "--prompt", "x", "--size", "65x64"), "Bad width 65"),
        (("new", "b.turns.json", "--prompt", "x", "--thing", "cube"), "Bad --thing"),
        (("edit", "a.turns.json"), "--instruction"),
        (("edit", "b.turns.json", "--instruction", "add a hat"), "b.turns.json"),
        (("edit", "a.turns.json", "--instruction", "whirl"), "Cannot read the instruction"),
        (("edit", "a.turns.json", "--instruction", "add a cat", "--region", "1,2,0,4"), "at least 1 pixel"),
        (("edit", "a.turns.json", "--instruction", "add a cat", "--candidates", "0"), "1 to 16"),
        (
            ("edit", "a.turns.json", "--instruction", "add a cat", "--candidates", "2", "--match", "nowhere"),
            "No CLIP model",
        ),
        (
            ("edit", "a.turns.json", "--instruction", "add a cat", "--match-guidance", "1", "--match", "nowhere"),
            "No CLIP model",
        ),
        (("edit", "a.turns.json", "--instruction", "add a cat", "--retries", "9"), "--retries 9: expected 0 to 8"),
        (
            ("edit", "a.turns.json", "--instruction", "add a cat", "--retries", "1", "--match", "demo"),
            "Only the model's own check knows when to try again: leave out --match demo",
        ),
        (("edit", "a.turns.json", "--instruction", "add a cat", "--match-guidance", ".1"), "demo or a CLIP folder"),
        (
            ("edit", "a.turns.json", "--instruction", "add a cat", "--match-guidance", ".1", "--match", "own"),
            "demo or a CLIP folder",
        ),
        (
            ("edit", "a.turns.json", "--instruction", "add a cat", "--match-guidance", "nan", "--match", "demo"),
            "Bad --match-guidance nan",
        ),
        (
            ("edit", "a.turns.json", "--instruction", "add a cat", "--match-guidance", "-1", "--match", "demo"),
            "0 (off) to 10",
        ),
        (("edit", "a.turns.json", "--instruction", "add a cat", "--set", "cycles=x"), "cycles"),
        (("edit", "a.turns.json", "--instruction", "add a cat", "--crop", "1"), "Bad crop '1': expected auto"),
        (("edit", "a.turns.json", "--instruction", "add a cat", "--out", "a.jpg"), "ends in .png"),
        (("back", "a.turns.json", "--to", "9"), "There is no turn 9"),
        (("show", "a.turns.json", "--sheet", "no/such/folder.png"), "does not exist"),
    ],
)
def test_every_bad_input_is_one_line(sow, tmp_path, argv, words):
    sow(*BEGIN)
    before = (tmp_path / "a.turns.json").read_bytes()
    code, lines, err = sow(*argv)
    assert code == 2 and lines == [] and words in err and len(err.splitlines()) == 1
    assert (tmp_path / "a.turns.json").read_bytes() == before
    assert not (tmp_path / "b.turns.json").exists()
