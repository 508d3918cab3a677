"""The planner nodes in a real ComfyUI server: without a key, with a Gemini on this machine, cancelled, leak-free."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comfyui.conftest import PATH, PYTHON, ROOT
from comfyui.host import SECRET, Prompt, Server, demo
from comfyui.test_server import Session
from unit.planning.loopback import Loopback

EXAMPLES = ROOT / "pictures"
SCENE = "a photo of a smiling woman reading in a garden"


@pytest.fixture(scope="module")
def gemini() -> Iterator[Loopback]:
    if subprocess.run([PYTHON, "-c", "import google.genai"], capture_output=True).returncode:
        pytest.skip(f"google-genai is not installed in {PYTHON}")
    with Loopback() as running:
        yield running


@pytest.fixture(scope="module")
def keyed(gemini: Loopback, logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOOGLE_GEMINI_BASE_URL", gemini.base)
        base = tmp_path_factory.mktemp("keyed")
        with Server(PATH, PYTHON, ROOT, base, logs / "keyed.log", "--verbose", "DEBUG") as running:
            yield running


@pytest.fixture
def session(keyed: Server) -> Iterator[Session]:
    made = Session(keyed)
    yield made
    made.socket.close()


def planned(server: Server, node: str, **widgets: Any) -> Prompt:
    """The demo with its prompt and places from a planner."""
    names = [server.client.upload_image(EXAMPLES / name) for name in ("mia.png", "mia_mask.png")]
    prompt = demo(*names)
    info = server.objects[node]["input"]["required"]
    defaults = {name: spec[1]["default"] for name, spec in info.items() if "default" in spec[1]}
    inputs = {
        **defaults,
        "prompt": SCENE,
        "condition": ["4", 0],
        "mask": ["8", 0],
        "width": 128,
        "height": 128,
    }
    prompt["9"] = {"class_type": node, "inputs": {**inputs, **widgets}}
    prompt["2"]["inputs"]["text"] = ["9", 0]
    prompt["5"]["inputs"] |= {"plan": ["9", 1], "bboxes": ""}
    prompt["10"] = {"class_type": "PreviewAny", "inputs": {"source": ["9", 3]}}
    return prompt


def report(session: Session, run: Any) -> str:
    return session.history(run)["outputs"]["9"]["text"][0]


def test_a_workflow_runs_without_a_key(logs: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEMINI_API_KEY", "")
        with Server(PATH, PYTHON, ROOT, tmp_path, logs / "keyless.log") as server:
            session = Session(server)
            for node, words in (
                ("SOW_OfflinePlanner", "seen as face"),
                ("SOW_GeminiPlanner", "planned offline"),
            ):
                run = session.run(planned(server, node))
                assert run.of("execution_success"), run.events[-1]
                assert session.picture(run)[0].size == (128, 128)
                assert words in report(session, run) and "planner: offline" in report(session, run)
            log = server.log.read_text(errors="replace")
            assert "GEMINI" not in log and "genai" not in log, "nothing is said at the start without a key"


def test_gemini_is_asked_once(keyed: Server, session: Session, gemini: Loopback) -> None:
    before = len(gemini.calls())
    run = session.run(planned(keyed, "SOW_GeminiPlanner", model="swapped-axes"))
    assert run.of("execution_success"), run.events[-1]
    assert "planner: gemini (package google-genai, model swapped-axes" in report(session, run)
    assert session.picture(run)[0].size == (128, 128)
    again = session.run(planned(keyed, "SOW_GeminiPlanner", model="swapped-axes"))
    assert "9" not in again.ran, "the host keeps it as long as nothing changes"
    keyed.client.post("/free", {"free_memory": True, "unload_models": True})
    later = session.run(planned(keyed, "SOW_GeminiPlanner", model="swapped-axes"))
    assert len(gemini.calls()) == before + 1, "and the plan cache after that"
    fresh = session.run(planned(keyed, "SOW_GeminiPlanner", model="swapped-axes", refresh=7))
    assert (
        len(gemini.calls()) == before + 2 and later.of("execution_success") and fresh.of("execution_success")
    )


def test_cancel_while_it_waits(keyed: Server, session: Session, gemini: Loopback) -> None:
    before = len(gemini.calls())
    run = session.queue(planned(keyed, "SOW_GeminiPlanner", model="very-slow"))
    session.listen(run, lambda kind, data: kind == "executing" and data.get("node") == "9")
    until = time.monotonic() + 20
    while len(gemini.calls()) == before and time.monotonic() < until:
        time.sleep(0.05)
    asked = time.monotonic()
    keyed.client.cancel(run.prompt_id)
    session.listen(run)
    assert run.of("execution_interrupted") and not run.of("execution_error")
    assert time.monotonic() - asked < 5, "the answer would have come after 8 s"
    assert session.run(planned(keyed, "SOW_OfflinePlanner")).of("execution_success")


def test_an_error_is_one_line(keyed: Server, session: Session) -> None:
    run = session.run(planned(keyed, "SOW_GeminiPlanner", model="bad-key", on_failure="stop"))
    error = run.of("execution_error")[0]
    assert error["exception_message"].strip().startswith("Gemini refused the API key")
    assert SECRET not in json.dumps(run.events)


def test_the_key_is_nowhere(keyed: Server, session: Session) -> None:
    """After all of the above: pictures, history, log with debug lines, caches and every other file."""
    run = session.run(planned(keyed, "SOW_GeminiPlanner", model="swapped-axes", refresh=8))
    picture, data = session.picture(run)
    assert "sow" in json.dumps(picture.info).lower() and SECRET.encode() not in data
    assert SECRET not in json.dumps(keyed.client.get("/history")) + json.dumps(
        keyed.client.get("/object_info")
    )
    assert SECRET not in keyed.log.read_text(errors="replace")
    files = [file for file in keyed.base.rglob("*") if file.is_file() and "custom_nodes" not in file.parts]
    assert any("__sow" in file.parts for file in files)
    for file in files:
        assert SECRET.encode() not in file.read_bytes(), file
