"""A command, a folder with a picture, a quick run, a refusal; and what planning needs: a scripted server, and no
settings of the developer's."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from unit.commands.scene import QUICK, Outcome, contents
from unit.planning.conftest import _own_home, server  # noqa: F401

from sow_core.cli import main


@pytest.fixture
def cli(capsys):
    def call(*argv: object) -> Outcome:
        capsys.readouterr()
        code = main([str(a) for a in argv])
        captured = capsys.readouterr()
        return Outcome(code, captured.out.splitlines(), captured.err)

    return call


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to work in, with a picture and a mask."""
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(values).save("face.png")
    mask = np.zeros((24, 32), np.uint8)
    mask[4:20, 6:26] = 255
    Image.fromarray(mask).save("mask.png")
    return tmp_path


@pytest.fixture
def make(cli, place, tiny):
    """generate with the usual options on a tiny model, and more."""

    def call(
        *argv: object, model: object = None, box: str | None = "16,16,32,24", condition: str | None = "face.png"
    ) -> Outcome:
        placed = ["--box", box] if box else []
        kept = [] if condition is None else ["--condition", condition]
        usual = [*kept, "--prompt", "a cat", "--model", model or tiny("sd1"), *placed]
        return cli("generate", *usual, *QUICK, *argv)

    return call


@pytest.fixture
def refuse(cli, place):
    """What is refused: its one line, after checking code, line count and that no file changed."""

    def call(*argv: object) -> str:
        before = contents(place)
        result = cli(*argv)
        assert result.code == 2 and result.out == []
        assert result.err.startswith("error: ") and result.err.endswith((".\n", "?\n")) and result.err.count("\n") == 1
        assert contents(place) == before
        return result.err

    return call
