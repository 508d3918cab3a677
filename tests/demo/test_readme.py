"""The README's commands parse, its Python runs, its numbers and names are the program's."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ *python -m sow_core (.+)$", TEXT, re.M)


def test_there_are_commands():
    assert {command.split()[0] for command in COMMANDS} >= {"generate", "plan", "describe", "submit"}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command):
    from sow_core import cli

    args = cli._parse(shlex.split(command))
    if args.command == "submit":
        assert (ROOT / args.workflow).is_file()


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    code = re.search(r"```python\n(.+?)```", TEXT, re.S).group(1)
    (tmp_path / "pictures").symlink_to(ROOT / "pictures")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert {p.name for p in tmp_path.glob("*.png")} == {"rose_1.png", "rose_2.png"}
    assert capsys.readouterr().out == "19 model calls\n"


def test_the_preset_table_is_right():
    from sow_core.method.plan import build_plan
    from sow_core.method.presets import PRESETS

    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| (\d+) \| ([\d, ]+) \| ([\d.]+) \| (\d+) \| (\d+)", TEXT, re.M)
    assert [row[0] for row in rows] == list(PRESETS)
    for name, cycles, levels, eta, calls, canvas_rows in rows:
        config = PRESETS[name]
        cost = build_plan(config).cost
        assert (config.cycles, cost.calls, cost.rows) == (int(cycles), int(calls), int(canvas_rows)), name
        assert config.preserve == tuple(map(int, levels.split(","))) and config.refine_eta == float(eta), name


def test_files_that_it_links_are_there():
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", TEXT):
        assert (ROOT / link).exists(), link
