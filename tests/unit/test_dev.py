"""dev.py: what it decides, and what it says when a machine is not as it should be."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import pytest

import dev

ROOT = Path(dev.__file__).parent


def options(folder: Path, **changes) -> argparse.Namespace:
    known = {"command": "demo", "system_torch": False, "torch_index": None, "venv": str(folder), "reinstall": False}
    return argparse.Namespace(**{**known, **changes})


@pytest.mark.parametrize(("line", "rest"), [
    ("demo", []),
    ("demo --seed 3 --prompt x", ["--seed", "3", "--prompt", "x"]),
    ("test tests/unit -k box -x", ["tests/unit", "-k", "box", "-x"]),
    ("test --venv /tmp/v --system-torch -q", ["-q"]),
])
def test_unknown_arguments_are_handed_on_in_order(line, rest):
    known, others = dev.parse(line.split())
    assert known.command == line.split()[0] and others == rest


def test_no_command_is_an_error_with_usage(capsys):
    with pytest.raises(SystemExit) as stop:
        dev.parse([])
    assert stop.value.code == 2 and "usage: dev.py" in capsys.readouterr().err


def test_old_python_is_one_line():
    dev.check_python((3, 10, 0))
    with pytest.raises(dev.Failure, match=r"Python 3\.10 or newer is needed, but /usr/bin/python is 3\.9\.2"):
        dev.check_python((3, 9, 2), "/usr/bin/python")


def test_stamp_follows_content_and_flags_not_line_ends(tmp_path):
    file = tmp_path / "requirements.txt"
    file.write_bytes(b"a>=1\nb>=2\n")
    first = dev.stamp([file], False)
    assert dev.stamp([file], False) == first
    assert dev.stamp([file], True) != first
    file.write_bytes(b"a>=1\r\nb>=2\r\n")
    assert dev.stamp([file], False) == first
    file.write_bytes(b"a>=1\nb>=3\n")
    assert dev.stamp([file], False) != first


def test_the_installed_torch_is_held():
    held = dev.hold_torch("numpy==2.4.6\ntorch==2.13.0\ntorchsde==0.2\n", "2.13.0+cpu").splitlines()
    assert held == ["numpy==2.4.6", "torchsde==0.2", "torch==2.13.0+cpu"]


def test_constraints_name_the_tested_torch():
    assert "torch==2.13.0" in dev.CONSTRAINTS.read_text().splitlines()


@pytest.mark.parametrize(("words", "value"), [
    (["--out", "a.png"], "a.png"), (["--out", "a", "--out", "b"], "b"), (["--out=c", "-x"], "c"),
    (["--output", "a"], None), (["--out"], None),
])
def test_value_of_takes_the_last(words, value):
    assert dev.value_of(words, "--out") == value


@pytest.mark.parametrize(("text", "start"), [
    ("WARNING: Retrying ... Failed to establish a new connection: [Errno 111] Connection refused", "No network"),
    ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "The disk is full"),
    ("ERROR: Could not find a version that satisfies the requirement nope", "pip could not install"),
])
def test_pip_failures_are_told_apart_and_show_the_end_of_the_log(text, start):
    message = dev.pip_failure("one\n" * 50 + text, Path("pip.log"))
    assert message.startswith(start)
    assert text[:60] in message.splitlines()[-1] and len(message.splitlines()) == 13


def test_real_pip_without_a_network(tmp_path):
    command = [sys.executable, "-m", "pip", "--isolated", "download", "--retries", "1", "-d", str(tmp_path),
               "--index-url", "http://127.0.0.1:9/simple", "a-package-that-nobody-has"]
    with pytest.raises(dev.Failure, match="^No network: pip could not reach"):
        dev.pip_run(command, tmp_path / "pip.log", "asking")


def test_run_logged_keeps_output_and_exit_code(tmp_path, capsys):
    code = "import sys; print('Collecting x'); print('warm', file=sys.stderr); sys.exit(3)"
    assert dev.run_logged([sys.executable, "-c", code], tmp_path / "log", "trying") == 3
    assert {"Collecting x", "warm"} <= set((tmp_path / "log").read_text().splitlines())
    assert "failed in 0 s" in capsys.readouterr().out


def test_a_foreign_folder_is_never_touched(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(dev.Failure, match="was not made by dev.py"):
        dev.environment(options(tmp_path, reinstall=True))
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_installs_once_and_again_when_due(tmp_path, monkeypatch):
    calls: list[str] = []

    def make(folder, system_torch):
        python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        python.parent.mkdir(parents=True)
        python.write_text("")
        calls.append("make")

    monkeypatch.setattr(dev, "make_venv", make)
    monkeypatch.setattr(dev, "install", lambda python, folder, options: calls.append(options.command))
    folder = tmp_path / "v"
    for command in ("demo", "demo", "test", "demo", "test"):
        dev.environment(options(folder, command=command))
    assert calls == ["make", "demo", "test"]
    monkeypatch.setattr(dev, "REQUIREMENTS", {"demo": [ROOT / "LICENSE"], "test": []})
    dev.environment(options(folder))
    assert calls == ["make", "demo", "test", "demo"]
    dev.environment(options(folder, reinstall=True))
    assert calls[-2:] == ["make", "demo"]


def test_a_failed_install_is_tried_again(tmp_path, monkeypatch):
    def fail(*_):
        raise dev.Failure("no")

    monkeypatch.setattr(dev, "make_venv", lambda folder, system: folder.mkdir())
    monkeypatch.setattr(dev, "install", fail)
    for _ in range(2):
        with pytest.raises(dev.Failure, match="no"):
            dev.environment(options(tmp_path / "v"))


def test_system_torch_is_visible_in_a_new_environment(tmp_path):
    pytest.importorskip("torch")
    from importlib.metadata import version

    folder = tmp_path / "v"
    dev.make_venv(folder, system_torch=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    assert dev.torch_version(python) == version("torch")


def test_failures_end_with_code_two_and_no_traceback(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(dev, "check_python", lambda version: (_ for _ in ()).throw(dev.Failure("too old")))
    assert dev.main(["demo"]) == 2
    assert capsys.readouterr().err == "dev.py: too old\n"


def test_the_demo_is_a_command_line_that_the_program_takes():
    from sow_core import cli

    args = cli._parse(["generate", *dev.DEMO])
    assert args.condition and args.model == "demo"
    for path in [*args.condition, *args.mask]:
        assert (ROOT / path).is_file()
