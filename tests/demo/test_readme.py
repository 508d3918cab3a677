"""The README's commands parse, its Python runs, its numbers and names are the program's."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from sow_core.method.plan import build_plan
from sow_core.method.presets import PRESETS, preset

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ *python -m sow_core (.+)$", TEXT, re.M)


def advice():
    """The demo model's own."""
    from sow_core.method.advice import Advice

    return Advice.from_dict(json.loads((ROOT / "models" / "demo" / "sow.json").read_text(encoding="utf-8")))


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
    assert capsys.readouterr().out == f"{build_plan(advice().config('normal')).cost.calls} model calls\n"


def test_the_preset_table_is_right():
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| (\d+) \| ([\d, ]+) \| ([\d.]+) \| (\d+) \| (\d+)", TEXT, re.M)
    small = dict(re.findall(r"^\| `(\w+)` \|.*\+ (\d+) small \|$", TEXT, re.M))
    assert [row[0] for row in rows] == list(PRESETS)
    for name, cycles, levels, eta, calls, canvas_rows in rows:
        config = PRESETS[name]
        cost = build_plan(config).cost
        assert (config.cycles, cost.calls, cost.rows) == (int(cycles), int(calls), int(canvas_rows)), name
        assert cost.crop_rows == int(small.get(name, 0)), name
        assert config.preserve == tuple(map(int, levels.split(","))) and config.refine_eta == float(eta), name


def test_the_demos_own_costs_are_right():
    told = re.findall(r"`(\w+)` (\d+)\s+calls, (\d+) rows", TEXT)
    own = advice()
    assert sorted(name for name, *_ in told) == sorted(own.presets)
    for name, calls, rows in told:
        cost = build_plan(own.config(name)).cost
        assert (cost.calls, cost.rows) == (int(calls), int(rows)), name


def test_costs_in_the_nodes_help_are_the_default_presets():
    found = []
    for page in sorted((ROOT / "web" / "docs").glob("*.md")):
        found += re.findall(r"(\d+) model calls, (\d+) rows", page.read_text(encoding="utf-8"))
        assert not re.search(r"\d+ (?:model )?calls(?!, \d+ rows)", page.read_text(encoding="utf-8")), page
    cost = build_plan(preset("normal")).cost
    assert found and set(found) == {(str(cost.calls), str(cost.rows))}


def test_files_that_it_links_are_there():
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", TEXT):
        assert (ROOT / link).exists(), link
