"""`python -m sow_core plan` and the drawing."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from PIL import Image
from unit.planning.cases import CAT, FACE
from unit.planning.loopback import GOOD
from unit.planning.outcomes import configure

from sow_core.cli import main
from sow_core.pictures.boxdraw import colour
from sow_core.planning.draw import draw_plan
from sow_core.planning.offline import plan_offline
from sow_core.planning.reading import read_plan
from sow_core.planning.request import PlanRequest
from sow_core.planning.schema import Frame


@pytest.fixture
def face(tmp_path):
    file = tmp_path / "face.png"
    Image.fromarray(np.dstack([FACE.image, (FACE.mask * 255).astype(np.uint8)])).save(file)
    return str(file)


def run(capsys, *arguments):
    code = main(["plan", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_plan_report_and_drawing(face, tmp_path, capsys):
    out, drawing = tmp_path / "plan.json", tmp_path / "plan.png"
    code, text, report = run(
        capsys, "--condition", face, "--prompt", "a man on the right", "--size", "768x512", "--out", str(out),
        "--draw", str(drawing),
    )  # fmt: skip
    assert (code, text) == (0, "") and "planner: offline" in report
    plan = read_plan(out.read_text())
    assert plan.frame.width == 768 and plan.boxes[0].center[0] > 384
    with Image.open(drawing) as picture:
        assert picture.size == (768, 512)


def test_the_plan_goes_to_standard_output_and_repeats(face, capsys):
    first = run(capsys, "--condition", face, "--prompt", "a man", "--quiet")
    assert first == run(capsys, "--condition", face, "--prompt", "a man", "--quiet")
    assert json.loads(first[1])["conditions"][0]["box"]["y"] < 96 and first[2] == ""


def test_alpha_and_mask_file_mean_the_same(face, tmp_path, capsys):
    picture, mask = tmp_path / "rgb.png", tmp_path / "mask.png"
    Image.fromarray(FACE.image).save(picture)
    Image.fromarray((FACE.mask * 255).astype(np.uint8)).save(mask)
    with_file = run(capsys, "--condition", str(picture), "--mask", str(mask), "--prompt", "a man", "--quiet")
    assert with_file == run(capsys, "--condition", face, "--prompt", "a man", "--quiet")


def test_an_answer_of_another_model_is_fitted(tmp_path, capsys, face):
    answer = tmp_path / "answer.txt"
    answer.write_text(f"Here you are:\n```json\n{GOOD}\n```")
    code, text, _ = run(capsys, "--from", str(answer), "--condition", face, "--size", "1024x1024")
    plan = json.loads(text)
    assert (
        code == 0
        and plan["canvas"] == {"width": 1024, "height": 1024}
        and len(plan["conditions"][0]["related"]) == 2
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_plan_as_powershell_writes_it(encoding, tmp_path, capsys, face):
    """`plan > plan.json` there."""
    _, text, _ = run(capsys, "--condition", face, "--prompt", "a man in Köln", "--quiet")
    (tmp_path / "p.json").write_bytes(text.replace("\n", "\r\n").encode(encoding))
    code, again, _ = run(capsys, "--from", str(tmp_path / "p.json"), "--quiet")
    assert code == 0 and json.loads(again)["conditions"] == json.loads(text)["conditions"]


@pytest.mark.skipif(os.name != "posix", reason="pipes in the file system")
def test_a_pipe_is_no_plan(tmp_path, capsys):
    os.mkfifo(tmp_path / "p.json")
    code, _, error = run(capsys, "--from", str(tmp_path / "p.json"))
    assert code == 2 and error == (
        f"error: Cannot read the plan {tmp_path}/p.json: it is no ordinary file, but a pipe or a device.\n"
    )


def test_gemini_through_the_command(face, server, capsys, monkeypatch, tmp_path):
    pytest.importorskip("google.genai")
    monkeypatch.setenv("SOW_HOME", str(tmp_path / "home"))
    configure(tmp_path / "home", server.base)
    code, text, _ = run(
        capsys, "--condition", face, "--prompt", "a woman reading in a garden", "--planner", "gemini"
    )
    assert code == 0 and json.loads(text)["source"]["package"] == "google-genai"
    code, text, _ = run(capsys, "--list-models", "--planner", "gemini")
    assert text.splitlines() == ["gemini-3.8-flash", "gemini-3.5-flash-lite"]


def test_stop_and_fall_back(face, capsys):
    code, _, report = run(capsys, "--condition", face, "--prompt", "x", "--planner", "gemini")
    assert code == 0 and "planned offline because: No API key" in report
    code, text, report = run(
        capsys, "--condition", face, "--prompt", "x", "--planner", "gemini", "--on-failure", "stop"
    )
    assert (code, text) == (2, "") and report.startswith("error: No API key for Gemini")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--prompt", "x"], "Nothing to place"),
        (["--condition", "FACE"], "No scene"),
        (["--condition", "FACE", "--prompt", "x", "--size", "5"], "--size"),
        (["--condition", "FACE", "--prompt", "x", "--size", "500x500"], "multiple of 8"),
        (["--condition", "FACE", "--prompt", "x", "--min-size", "400", "--max-size", "300"], "size limits"),
        (["--condition", "FACE", "--prompt", "x", "--name", "a", "--name", "b"], "2 --name for 1"),
        (["--condition", "FACE", "--prompt", "x", "--box", "1,2"], "--box"),
        (["--condition", "missing.png", "--prompt", "x"], "missing.png"),
        (["--from", "missing.json"], "missing.json"),
        (["--condition", "FACE", "--prompt", "x", "--out", "no/such/plan.json"], "no/such"),
        (["--list-models"], "no models"),
        (["--condition", "FACE", "--prompt", "x", "--timeout", "0"], "time limit 0"),
        (
            ["--condition", "FACE", "--prompt", "x", "--planner", "gemini", "--model", "../x?key=1"],
            "Bad model",
        ),
        (["--condition", "FACE", "--prompt", "x", "--planner", "openai-compatible"], "No planner profile"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(arguments, words, face, capsys):
    code, out, err = run(capsys, *[face if a == "FACE" else a for a in arguments])
    assert (code, out) == (2, "") and words in err and err.count("\n") == 1


def test_config_template(capsys, tmp_path):
    code, text, _ = run(capsys, "--init-config")
    assert code == 0 and text.strip() == str(tmp_path / "home" / "config.json")
    assert run(capsys, "--init-config")[0] == 2


def test_a_drawing_shows_the_conditions_the_boxes_and_the_regions():
    plan = plan_offline(PlanRequest("a man and a cat", (FACE, CAT), Frame(768, 512)))
    empty, full = draw_plan(plan), draw_plan(plan, (FACE, CAT))
    assert empty.size == full.size == (768, 512) and empty.mode == "RGB"
    for i, condition in enumerate(plan.conditions):
        box = condition.box
        assert full.getpixel((box.right - 2, box.bottom - 2)) == colour(i)
        assert full.getpixel((round(box.center[0]), round(box.center[1]))) != empty.getpixel(
            (round(box.center[0]), round(box.center[1]))
        )
    assert draw_plan(plan, longest=384).size == (384, 256)
