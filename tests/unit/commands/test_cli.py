"""The command line itself: describe, help, version; and commands as processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from unit.commands.scene import GOOD, QUICK, ROOT, WEIGHTS, contents

from sow_core.method.overrides import override
from sow_core.method.plan import build_plan
from sow_core.method.presets import PRESETS, preset

# -- describe, help, version


@pytest.mark.parametrize("name", PRESETS)
def test_describe(name, cli):
    result, plan = cli("describe", "--preset", name), build_plan(preset(name))
    assert result.code == 0 and result.err == "" and result.out == list(plan.describe())
    cost = plan.cost
    total = f"total: {cost.calls} calls, {cost.rows} rows at canvas size, {cost.crop_rows} at crop size"
    assert result.out[-1] == total
    values = json.loads("\n".join(cli("describe", "--preset", name, "--json").out))
    assert values["cost"] == {"calls": cost.calls, "rows": cost.rows, "crop_rows": cost.crop_rows}
    assert values["settings"] == json.loads(json.dumps(preset(name).as_dict()))


def test_describe_shows_a_flow_models_noise_times(cli):
    out = "\n".join(cli("describe", "--model", "demo_flow").out)
    assert "Denoise level=7 (t 0.696)" in out and "lo=5 (t 0.539)" in out
    shifted = "\n".join(cli("describe", "--model", "demo_flow", "--set", "level_shift=2").out)
    assert "Denoise level=7 (t 0.821)" in shifted
    assert "(t " not in "\n".join(cli("describe", "--model", "demo").out)


def test_describe_as_a_model_folder_recommends(cli, tmp_path):
    (tmp_path / "sow.json").write_text('{"guidance": 3, "presets": {"normal": {"cycles": 1}}}')
    told = json.loads("\n".join(cli("describe", "--model", tmp_path, "--set", "guidance=4", "--json").out))
    assert (told["settings"]["cycles"], told["settings"]["guidance"]) == (1, 4.0)
    demo = json.loads("\n".join(cli("describe", "--model", "demo", "--json").out))
    assert demo["settings"]["modulation"]["threshold"] > 0
    assert cli("describe", "--model", tmp_path / "none").code == 2


def test_describe_counts_what_is_changed(cli):
    changed = cli("describe", "--set", "cycles=2", "--set", "invert_on=crop", "--conditions", 3).out
    cost = build_plan(override(preset("normal"), ["cycles=2", "invert_on=crop"]), 3).cost
    assert f"total: {cost.calls} calls" in changed[-1] and sum("Invert level" in line for line in changed) == 4


@pytest.mark.parametrize("argv", [["--help"], ["generate", "--help"], ["describe"], ["generate", "--preset", "x"]])
def test_what_needs_no_model_does_not_wait_for_torch(argv):
    code = (
        "import sys\nfrom sow_core.cli import main\n"
        f"try:\n    main({argv!r})\nexcept SystemExit:\n    pass\n"
        "sys.exit(any(m in sys.modules for m in ('torch', 'diffusers', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60).returncode == 0


def test_version_and_help(cli, capsys):
    for argv in (["--version"], ["--help"], ["generate", "--help"]):
        with pytest.raises(SystemExit) as left:
            cli(*argv)
        assert left.value.code == 0
    assert "--condition" in capsys.readouterr().out


# -- as processes


def start(*argv: object, cwd: Path) -> subprocess.Popen[bytes]:
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    # A shell starts background jobs with Ctrl-C ignored, which children inherit: theirs must be a terminal's.
    reset = None if os.name == "nt" else (lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    command = [sys.executable, "-m", "sow_core", *map(str, argv)]
    return subprocess.Popen(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=reset
    )


def test_a_process_prints_one_line_and_no_noise_of_libraries(place, tiny):
    shutil.copytree(tiny("sdxl"), "model")
    weights = place / "model" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:5000])
    run = start("generate", *GOOD, "--model", "model", "--device", "cpu", cwd=place)
    out, err = run.communicate(timeout=120)
    assert (run.returncode, out) == (2, b"")
    assert err.count(b"\n") == 1 and err.startswith(b"error: model/unet/")


def test_a_process_that_succeeds_says_only_what_it_wrote(place, tiny):
    run = start("generate", *GOOD, *QUICK, "--model", tiny("sdxl"), "--out", "a.png", cwd=place)
    out, err = run.communicate(timeout=120)
    assert (run.returncode, out, err) == (0, b"a.png\n", b"")


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to a single process")
def test_interrupt_leaves_nothing_behind(place, tiny):
    before = contents(place)
    usual = ["--condition", "face.png", "--prompt", "a cat", "--box", "16,16,32,24", "--size", "64x64"]
    run = start("generate", *usual, "--model", tiny("sd1"), "--device", "cpu", "--cycles", 1000, "--out", "a.png",
                "--report", "r.json", cwd=place)  # fmt: skip
    assert run.stderr is not None
    seen, deadline = b"", time.monotonic() + 120
    while b"cycle 2" not in seen and time.monotonic() < deadline:
        seen += run.stderr.read(1)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out) == (130, b"")
    bar, last = (seen + err).decode().splitlines(keepends=False)[-2:]
    assert last == "interrupted" and "cycle 2" in bar and (seen + err).count(b"\n") == 2  # the bar's line, and that
    assert contents(place) == before
