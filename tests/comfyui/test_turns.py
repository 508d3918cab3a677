"""SOW Turn and SOW Turn Plan in a real ComfyUI server: planned, painted, chained, found, asked of a Gemini at home."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comfyui.conftest import PATH, PYTHON, ROOT
from comfyui.host import SECRET, Prompt, Server
from comfyui.test_planning import gemini  # noqa: F401
from comfyui.test_server import Session
from PIL import Image, ImageDraw
from unit.planning.loopback import SCRIPTS, Loopback, Reply

from sow_core.planning.planner import DEFAULT_MODEL

SCENE = "a red cube and a blue cube on a gray floor"
THINGS = "red cube=20,56,28,28\nblue cube=80,60,28,28"
ANSWER = {
    "regions": [{"x": 12, "y": 48, "width": 44, "height": 44}],
    "prompt": "a yellow cube and a blue cube on a gray floor",
    "things": [{"name": "yellow cube", "box": {"x": 20, "y": 56, "width": 28, "height": 28}}],
}


@pytest.fixture(scope="module")
def host(gemini: Loopback, logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:  # noqa: F811
    """With a CLIP model in its folders, and Gemini on this machine."""
    from tiny_models import build_clip

    base = tmp_path_factory.mktemp("turns")
    (base / "models" / "clip_vision").mkdir(parents=True)
    build_clip(base / "models" / "clip_vision" / "tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOOGLE_GEMINI_BASE_URL", gemini.base)
        with Server(PATH, PYTHON, ROOT, base, logs / "turns.log") as running:
            yield running


@pytest.fixture
def session(host: Server) -> Iterator[Session]:
    made = Session(host)
    yield made
    made.socket.close()


@pytest.fixture(scope="module")
def scene(host: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, np.ndarray]:
    """Two plain things, drawn: the name in the server's input folder, and the pixels."""
    path = tmp_path_factory.mktemp("scene") / "scene.png"
    picture = Image.new("RGB", (128, 128), (128, 128, 128))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((20, 56, 47, 83), fill=(205, 25, 25))
    draw.rectangle((80, 60, 107, 87), fill=(25, 25, 205))
    picture.save(path)
    return host.client.upload_image(path), np.asarray(picture)


def node(server: Server, kind: str, **inputs: Any) -> dict[str, Any]:
    required = server.objects[kind]["input"]["required"]
    defaults = {name: spec[1]["default"] for name, spec in required.items() if "default" in spec[1]}
    return {"class_type": kind, "inputs": defaults | inputs}


def begun(picture: str) -> Prompt:
    return {"1": {"class_type": "SOW_LoadDemoModel", "inputs": {}},
            "2": {"class_type": "LoadImage", "inputs": {"image": picture}}}  # fmt: skip


def turn(server: Server, image: str = "2", **inputs: Any) -> dict[str, Any]:
    parts = {"model": ["1", 0], "clip": ["1", 1], "vae": ["1", 2], "image": [image, 0]}
    return node(server, "SOW_Turn", **parts, **{"seed": 3, "feather": 4} | inputs)


def planned(server: Server, picture: str, look: bool = False, **inputs: Any) -> Prompt:
    """A plan, a turn that paints it, its picture and the plan's report."""
    more = {"model": ["1", 0], "clip": ["1", 1], "vae": ["1", 2]} if look else {}
    prompt = begun(picture)
    prompt["3"] = node(server, "SOW_TurnPlan", image=["2", 0], prompt=SCENE, **more, **inputs)
    prompt["4"] = turn(server, plan=["3", 0])
    prompt["5"] = {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "turn"}}
    return prompt


def report(session: Session, run: Any) -> str:
    return session.history(run)["outputs"]["3"]["text"][0]


def pixels(session: Session, run: Any, number: str) -> np.ndarray:
    return np.asarray(session.picture(run, number)[0].convert("RGB"))


def test_a_plan_is_painted_as_the_turn_alone_would(host: Server, session: Session, scene: Any) -> None:
    name, before = scene
    wish = {"instruction": "make the red cube yellow", "things": THINGS}
    prompt = planned(host, name, **wish)
    prompt["6"] = turn(host, prompt=SCENE, **wish)
    prompt["7"] = {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "alone"}}
    prompt["8"] = turn(host, "4", instruction="remove the blue cube", history=["4", 1])
    prompt["9"] = {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "second"}}
    prompt["10"] = node(host, "SOW_TurnsSheet", history=["8", 1])
    prompt["11"] = {"class_type": "PreviewImage", "inputs": {"images": ["10", 0]}}
    run = session.run(prompt)
    assert run.of("execution_success"), run.events[-1]
    first, alone, second = (pixels(session, run, n) for n in ("5", "7", "9"))
    assert np.array_equal(first, alone)
    changed, later = (np.argwhere((a != b).any(-1)) for a, b in ((first, before), (second, first)))
    # The region of a recoloured thing is its box and a border; no pixel differs beyond it.
    assert len(changed) > 300 and changed.min(0).tolist() >= [50, 14] and changed.max(0).tolist() <= [90, 54]
    assert len(later) > 300 and later[:, 1].min() >= 70
    said, shown = report(session, run), session.history(run)["outputs"]["3"]["images"]
    assert "prompt: a yellow cube and a blue cube on a gray floor" in said and "region: " in said and shown


def test_a_large_picture_is_painted_in_a_window(
    host: Server, session: Session, scene: Any, tmp_path: Path
) -> None:
    large = Image.fromarray(scene[1]).resize((256, 256), Image.Resampling.NEAREST)
    large.save(tmp_path / "large.png")
    prompt = begun(host.client.upload_image(tmp_path / "large.png"))
    things = "red cube=40,112,56,56\nblue cube=160,120,56,56"
    for number, crop in (("4", "auto"), ("7", "off")):
        prompt[number] = turn(host, prompt=SCENE, instruction="make the red cube yellow", things=things, crop=crop)
        saved, told = str(int(number) + 1), str(int(number) + 2)
        prompt[saved] = {"class_type": "SaveImage", "inputs": {"images": [number, 0], "filename_prefix": crop}}
        prompt[told] = {"class_type": "PreviewAny", "inputs": {"source": [number, 4]}}
    run = session.run(prompt)
    assert run.of("execution_success"), run.events[-1]
    made = {n: pixels(session, run, n) for n in ("5", "8")}
    reports = [session.history(run)["outputs"][n]["text"][0] for n in ("6", "9")]
    assert "painted at 128x128" in reports[0] and "window" not in reports[1]
    assert made["5"].shape == (256, 256, 3) and not np.array_equal(made["5"], made["8"])
    for picture in made.values():
        changed = np.argwhere((picture != np.asarray(large)).any(-1))
        assert len(changed) > 1000 and changed.min(0).tolist() >= [106, 34] and changed.max(0).tolist() <= [174, 102]


def test_things_that_nobody_told_are_looked_for(host: Server, session: Session, scene: Any) -> None:
    run = session.run(planned(host, scene[0], look=True, instruction="make the blue cube green"))
    assert run.of("execution_success"), run.events[-1]
    assert "blue cube: found by the model's attention at" in report(session, run)
    blind = session.run(planned(host, scene[0], instruction="make the blue cube green"))
    assert "There is no blue cube" in blind.of("execution_error")[0]["exception_message"]


def test_a_clip_folder_chooses(host: Server, session: Session, scene: Any) -> None:
    prompt = begun(scene[0])
    prompt["4"] = turn(host, prompt=SCENE, instruction="make the red cube yellow", things=THINGS, candidates=2,
                       pick=-1, match="tiny")  # fmt: skip
    prompt["5"] = {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "chosen"}}
    prompt["6"] = {"class_type": "PreviewAny", "inputs": {"source": ["4", 4]}}
    run = session.run(prompt)
    assert run.of("execution_success"), run.events[-1]
    outputs = session.history(run)["outputs"]
    assert "taken: seed " in outputs["6"]["text"][0] and len(outputs["5"]["images"]) == 1


def test_the_model_itself_chooses_and_tries_again(host: Server, session: Session, scene: Any) -> None:
    prompt = begun(scene[0])
    wish = {"prompt": SCENE, "things": THINGS, "instruction": "add a green cube in front of the red cube"}
    prompt["4"] = turn(host, **wish, candidates=2, pick=-1, match="own")
    prompt["5"] = {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "own"}}
    prompt["6"] = {"class_type": "PreviewAny", "inputs": {"source": ["4", 4]}}
    # Where nothing has room the model does not see it either: every try is made.
    prompt["7"] = turn(host, **wish, regions="112,0,16,16", retries=1)
    prompt["8"] = {"class_type": "PreviewAny", "inputs": {"source": ["7", 4]}}
    run = session.run(prompt)
    assert run.of("execution_success"), run.events[-1]
    outputs = session.history(run)["outputs"]
    assert "candidates: seed 3: " in outputs["6"]["text"][0] and len(outputs["5"]["images"]) == 1
    told = outputs["8"]["text"][0]
    assert "try 1: seed 3: " in told and "try 2: seed 4: " in told and "taken: seed " in told
    wrong = session.run(begun(scene[0]) | {"4": turn(host, **wish, retries=1, match="demo"), "5": prompt["5"]})
    assert "Only the model's own check knows" in wrong.of("execution_error")[0]["exception_message"]


def test_gemini_reads_the_instruction_once(
    host: Server, session: Session, scene: Any, gemini: Loopback, monkeypatch: pytest.MonkeyPatch,  # noqa: F811
) -> None:
    monkeypatch.setitem(SCRIPTS, DEFAULT_MODEL, [Reply(json.dumps(ANSWER))])
    before = len(gemini.calls())
    asked = {"planner": "gemini", "instruction": "could the left one be in yellow, please?"}
    run = session.run(planned(host, scene[0], **asked))
    assert run.of("execution_success"), run.events[-1]
    assert f"prompt: {ANSWER['prompt']}\nregion: 12,48,44,44" in report(session, run)
    again = planned(host, scene[0], **asked)
    again["4"]["inputs"]["seed"] = 4
    other = session.run(again)
    assert "4" in other.ran and len(gemini.calls()) == before + 1
    changed = np.argwhere((pixels(session, other, "5") != scene[1]).any(-1))
    assert changed.min(0).tolist() >= [48, 12] and changed.max(0).tolist() <= [91, 55]
    assert SECRET not in json.dumps(host.client.get("/history"))


def test_an_answer_that_is_no_plan_is_one_line(
    host: Server, session: Session, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SCRIPTS, DEFAULT_MODEL, [Reply("I would rather not.")])
    run = session.run(planned(host, scene[0], planner="gemini", instruction="whatever you like"))
    line = run.of("execution_error")[0]["exception_message"].strip()
    assert "\n" not in line and "JSON" in line, line
