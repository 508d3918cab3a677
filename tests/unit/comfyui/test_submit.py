"""`submit` against a real loopback server: HTTP, multipart upload, websocket, history."""

from __future__ import annotations

import argparse
import io
import json
import socket
import sys

import pytest

from sow_core.comfyui import progress, submit, workflow
from sow_core.comfyui.client import ComfyClient
from sow_core.commands import submit as command
from sow_core.errors import SowError

from .comfy_server import PROMPT_ID, Script, serve

PNG = b"\x89PNG\r\n\x1a\n" + b"picture"
WORKFLOW = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "face.png"}},
    "2": {"class_type": "SOW_KSampler", "inputs": {"image": ["1", 0], "seed": 3, "cfg": 7.5, "tiled": False,
                                                   "prompt": "a man", "boxes": '[{"x": 0}]'},
          "_meta": {"title": "The sampler"}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0]}},
}
SUCCESS = {
    "status": {"status_str": "success", "completed": True, "messages": [["execution_success", {}]]},
    "outputs": {"3": {"images": [{"filename": "out_00001_.png", "subfolder": "sub", "type": "output"}]},
                "2": {"images": [{"filename": "preview.png", "subfolder": "", "type": "temp"}],
                      "text": ["a text, not a file"], "animated": [False]}},
}
RUN_MESSAGES = [("execution_start", {}), ("executing", {"node": "2"}),
                ("progress", {"value": 1, "max": 2, "node": "2"}), b"\0\0\0\1\0\0\0\1jpeg",
                ("progress", {"value": 2, "max": 2, "node": "2"}), ("executing", {"node": None})]


@pytest.fixture
def workflow_file(tmp_path):
    path = tmp_path / "wf_api.json"
    path.write_text(json.dumps(WORKFLOW))
    return path


def call(path, server, out, *extra):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(path), "--server", server.url, "--out", str(out), *extra]))


def done_script(**changes):
    files = {("output", "sub", "out_00001_.png"): PNG, ("temp", "", "preview.png"): PNG}
    return Script(**{"messages": RUN_MESSAGES, "history": SUCCESS, "files": files, **changes})


def test_runs_uploads_and_saves(tmp_path, workflow_file, capsys):
    (tmp_path / "face.png").write_bytes(b"face\r\n--bytes")
    with serve(done_script()) as server:
        assert call(workflow_file, server, tmp_path / "new" / "dir", "--set", "2.seed=9") == 0
        assert server.uploads == {"face.png": b"face\r\n--bytes"}
        prompt = server.posted[0]["prompt"]
        assert prompt["1"]["inputs"]["image"] == "up_face.png"
        assert prompt["2"]["inputs"]["seed"] == 9
        assert server.posted[0]["client_id"]
        assert not server.cancelled
    # The saved picture comes, the preview does not.
    saved = tmp_path / "new" / "dir" / "out_00001_.png"
    assert [p.name for p in saved.parent.iterdir()] == [saved.name] and saved.read_bytes() == PNG
    captured = capsys.readouterr()
    assert captured.out.split() == [str(saved)]
    assert "2 (The sampler)" in captured.err


def test_a_file_that_is_there_is_kept(tmp_path, workflow_file):
    (tmp_path / "out_00001_.png").write_bytes(b"mine")
    with serve(done_script()) as server:
        call(workflow_file, server, tmp_path)
    assert (tmp_path / "out_00001_.png").read_bytes() == b"mine"
    assert (tmp_path / "out_00001_-1.png").read_bytes() == PNG


def test_previews_are_saved_when_nothing_else_is(tmp_path, workflow_file):
    history = {**SUCCESS, "outputs": {"2": SUCCESS["outputs"]["2"]}}
    with serve(done_script(history=history)) as server:
        assert call(workflow_file, server, tmp_path / "o") == 0
    assert [p.name for p in (tmp_path / "o").iterdir()] == ["preview.png"]


@pytest.mark.parametrize("name", ["../../evil.png", "..\\evil.png", "/abs/evil.png"])
def test_the_server_cannot_choose_a_folder(tmp_path, workflow_file, name):
    history = {**SUCCESS, "outputs": {"3": {"images": [{"filename": name, "subfolder": "", "type": "output"}]}}}
    with serve(done_script(history=history, files={("output", "", name): PNG})) as server:
        assert call(workflow_file, server, tmp_path / "o") == 0
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("evil.png")] == ["o/evil.png"]


def test_polling_without_a_websocket(tmp_path, workflow_file, capsys, monkeypatch):
    monkeypatch.setattr(submit, "POLL_SECONDS", 0.05)
    with serve(done_script(websocket=False)) as server:
        assert call(workflow_file, server, tmp_path / "o") == 0
    assert "no websocket" in capsys.readouterr().err


def test_polling_without_the_package(tmp_path, workflow_file, monkeypatch):
    monkeypatch.setattr(submit, "POLL_SECONDS", 0.05)
    monkeypatch.setitem(sys.modules, "websockets.sync.client", None)
    with serve(done_script(websocket=False)) as server:
        assert call(workflow_file, server, tmp_path / "o") == 0


def test_a_socket_that_is_dropped_mid_run(tmp_path, workflow_file, monkeypatch):
    monkeypatch.setattr(submit, "POLL_SECONDS", 0.05)
    with serve(done_script(close_after=3)) as server:
        assert call(workflow_file, server, tmp_path / "o") == 0


def test_a_nodes_error_is_one_line_with_its_node(tmp_path, workflow_file, capsys):
    error = {"node_id": "2", "node_type": "SOW_KSampler", "exception_type": "custom_nodes.sow.sow_core.errors.SowError",
             "exception_message": "Empty mask: no pixel of the mask is kept.\n", "traceback": ["x"],
             "current_inputs": {"prompt": ["a man"]}}
    history = {"status": {"status_str": "error", "completed": False, "messages": [["execution_error", error]]},
               "outputs": {}}
    with serve(done_script(messages=[("execution_error", error)], history=history)) as server:
        assert call(workflow_file, server, tmp_path / "o") == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "error: node 2 (The sampler): Empty mask: no pixel of the mask is kept."


def test_an_interrupted_run(tmp_path, workflow_file, capsys):
    message = ["execution_interrupted", {"node_id": "2", "node_type": "SOW_KSampler"}]
    history = {"status": {"status_str": "error", "completed": False, "messages": [message]}, "outputs": {}}
    with serve(done_script(messages=[tuple(message)], history=history)) as server:
        assert call(workflow_file, server, tmp_path / "o") == 1
    assert "cancelled on the server at node 2 (The sampler)" in capsys.readouterr().err


REFUSAL = {
    "error": {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation",
              "details": "x"},
    "node_errors": {"2": {"class_type": "SOW_KSampler", "dependent_outputs": ["3"], "errors": [
        {"type": "value_smaller_than_min", "message": "Value 0 smaller than min of 1", "details": "steps",
         "extra_info": {"input_name": "steps"}},
        {"type": "custom_validation_failed", "message": "Custom validation failed for node",
         "details": "width - Bad width 500.", "extra_info": {"input_name": "width"}},
        {"type": "custom_validation_failed", "message": "Custom validation failed for node",
         "details": "height - Bad width 500.", "extra_info": {"input_name": "height"}}]}},
}


def test_validation_errors_name_node_and_input(tmp_path, workflow_file):
    with serve(done_script(refusal=REFUSAL)) as server, pytest.raises(SowError) as caught:
        call(workflow_file, server, tmp_path / "o")
    assert str(caught.value) == ("node 2 (The sampler), input steps: Value 0 smaller than min of 1; "
                                 "node 2 (The sampler): Bad width 500.")


def test_a_refusal_without_nodes(tmp_path, workflow_file):
    refusal = {"error": {"type": "missing_node_type", "message": "Node 'X' not found.", "details": "Node ID '#2'"},
               "node_errors": {}}
    with serve(done_script(refusal=refusal)) as server, pytest.raises(SowError, match="Node 'X' not found"):
        call(workflow_file, server, tmp_path / "o")


def test_a_branch_left_out_is_told(tmp_path, workflow_file, capsys):
    with serve(done_script(node_errors=REFUSAL["node_errors"])) as server:
        assert call(workflow_file, server, tmp_path / "o") == 0
    assert "warning: a branch was left out: node 2 (The sampler), input steps" in capsys.readouterr().err


def test_a_timeout_cancels_this_run_only(tmp_path, workflow_file, monkeypatch):
    monkeypatch.setattr(submit, "POLL_SECONDS", 0.05)
    with serve(Script(messages=[("executing", {"node": "2"})])) as server:
        with pytest.raises(SowError, match="longer than 0.2 s"):
            call(workflow_file, server, tmp_path / "o", "--timeout", "0.2")
        assert server.cancelled == [("/queue", {"delete": [PROMPT_ID]}), ("/interrupt", {"prompt_id": PROMPT_ID})]


def test_ctrl_c_cancels(tmp_path, workflow_file, monkeypatch):
    with serve(Script(messages=RUN_MESSAGES[:2])) as server:
        monkeypatch.setattr(progress.ProgressLine, "show", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            call(workflow_file, server, tmp_path / "o")
        assert ("/interrupt", {"prompt_id": PROMPT_ID}) in server.cancelled


def test_a_run_that_the_server_forgot(tmp_path, workflow_file, monkeypatch):
    monkeypatch.setattr(submit, "POLL_SECONDS", 0.05)
    with serve(Script(known=False, websocket=False)) as server, pytest.raises(SowError, match="no longer knows"):
        call(workflow_file, server, tmp_path / "o")


def test_no_server(tmp_path, workflow_file):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(SowError, match="Cannot reach a ComfyUI server"):
        command.run(parser.parse_args([str(workflow_file), "--server", f"127.0.0.1:{port}", "--out", str(tmp_path)]))


def test_set_of_a_picture_that_is_missing(tmp_path, workflow_file):
    with serve(done_script()) as server, pytest.raises(SowError, match="no picture 'other.png'"):
        call(workflow_file, server, tmp_path / "o", "--set", "1.image=other.png")


def test_only_picture_inputs_are_uploaded(tmp_path, workflow_file):
    """A text input that happens to name a local picture is not a reason to send the file."""
    (tmp_path / "secret.png").write_bytes(b"secret")
    with serve(done_script()) as server:
        call(workflow_file, server, tmp_path / "o", "--set", f"2.prompt={tmp_path / 'secret.png'}")
        assert server.uploads == {}


@pytest.mark.parametrize(("assignment", "key", "expected"), [
    ("2.seed=9", "seed", 9), ("The sampler.cfg=3", "cfg", 3), ("SOW_KSampler.prompt=a = b", "prompt", "a = b"),
    ("2.prompt=7", "prompt", "7"), ("2.tiled=true", "tiled", True), ("2.boxes=[1,2]", "boxes", "[1,2]"),
    ("2.image=[1, 2]", "image", {"__value__": [1, 2]}),
])
def test_set(assignment, key, expected):
    made = json.loads(json.dumps(WORKFLOW))
    assert workflow.assign(made, [assignment]) == {("2", key)}
    value = made["2"]["inputs"][key]
    assert value == expected and type(value) is type(expected)


@pytest.mark.parametrize(("assignment", "message"), [
    ("seed=9", "expected NODE.INPUT=VALUE"), ("2.seed", "expected NODE.INPUT=VALUE"),
    ("9.seed=1", "no node '9'"), ("2.sead=1", "has no input 'sead'; it has image, seed"),
    ("2.seed=abc", "expected a number"), ("2.tiled=yes", "expected true or false"), ("2.cfg=true", "expected a number"),
])
def test_bad_set(assignment, message):
    with pytest.raises(SowError, match=message):
        workflow.assign(json.loads(json.dumps(WORKFLOW)), [assignment])


def test_a_title_that_two_nodes_share():
    made = {"1": {"class_type": "A", "inputs": {"x": 1}}, "2": {"class_type": "A", "inputs": {"x": 1}}}
    with pytest.raises(SowError, match="names 2 nodes; use one of the ids 1, 2"):
        workflow.assign(made, ["A.x=2"])


@pytest.mark.parametrize(("text", "message"), [
    ("{", "is not valid JSON: it is cut off"), ("[]", "not an API workflow"), ("{}", "not an API workflow"),
    ('{"1": {"inputs": {}}}', "node '1': class_type is missing"),
    ('{"nodes": [], "links": []}', "workflow for the browser"),
])
def test_bad_workflow(tmp_path, text, message):
    path = tmp_path / "w.json"
    path.write_text(text)
    with pytest.raises(SowError, match=message):
        workflow.load_workflow(path)


def test_a_missing_workflow(tmp_path):
    with pytest.raises(SowError, match="There is no workflow"):
        workflow.load_workflow(tmp_path / "none.json")


def test_the_body_that_a_browser_posts(tmp_path):
    path = tmp_path / "w.json"
    path.write_text(json.dumps({"prompt": WORKFLOW, "client_id": "x"}))
    assert workflow.load_workflow(path) == WORKFLOW


@pytest.mark.parametrize(("text", "ws"), [
    ("127.0.0.1:8188", "ws://127.0.0.1:8188/ws?clientId="),
    ("https://host/comfy/", "wss://host/comfy/ws?clientId="),
    ("[::1]:8188?token=a", "ws://[::1]:8188/ws?token=a&clientId="),
])
def test_the_websockets_address(text, ws):
    assert ComfyClient(text).websocket_url.startswith(ws)


def test_not_a_comfyui_server():
    with serve(Script()) as server, pytest.raises(SowError, match="did not answer /html as a ComfyUI .*web page"):
        ComfyClient(server.url).get("/html")


def test_the_bar_on_a_terminal():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    log = Terminal()
    bar = progress.ProgressLine(log, WORKFLOW)
    assert bar.show({"type": "progress", "data": {"value": 1, "max": 2, "node": "2"}}, PROMPT_ID)
    bar.end()
    assert "\r2 (The sampler) [############............] 1/2" in log.getvalue()
    assert bar.show({"type": "progress", "data": {"value": 1, "max": 2, "node": "2", "prompt_id": "other"}}, PROMPT_ID)
    assert not bar.show({"type": "executing", "data": {"node": None, "prompt_id": PROMPT_ID}}, PROMPT_ID)
