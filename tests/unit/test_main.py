"""`python -m sow_core` before its command line runs."""

from __future__ import annotations

import runpy
import sys

import pytest


class Pressed:
    """Ctrl-C while the command line's module is imported."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "sow_core.cli":
            raise KeyboardInterrupt


def test_ctrl_c_while_it_starts_is_one_word(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "sow_core.cli", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Pressed(), *sys.meta_path])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("sow_core", run_name="__main__")
    assert caught.value.code == 130 and capsys.readouterr().err == "interrupted\n"
