"""`submit` against servers that name, send and say anything: one line, nothing harmful written, an end."""

from __future__ import annotations

import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.outside.test_reading import JSON, one_clear_line

from sow_core.cli import main
from sow_core.comfyui import outputs, submit
from sow_core.comfyui.answers import Progress
from sow_core.comfyui.client import ServerRefused
from sow_core.comfyui.outputs import TYPES, output_files, safe_name
from sow_core.comfyui.progress import ProgressLine
from sow_core.comfyui.refusals import describe_failure, describe_refusal, validation_lines
from sow_core.comfyui.workflow import assign, load_workflow, title_of
from sow_core.errors import SowError

from .comfy_server import PROMPT_ID, Script, serve
from .test_submit import PNG, SUCCESS, WORKFLOW

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run `submit` in an empty folder with a picture: exit code, lines on stdout, lines on stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(submit, "POLL_SECONDS", 0.01)
    (tmp_path / "face.png").write_bytes(PNG)
    (tmp_path / "w.json").write_text(json.dumps(WORKFLOW))

    def call(url: str, *extra: str) -> tuple[int, list[str], list[str]]:
        capsys.readouterr()
        code = main(["submit", "w.json", "--server", url, "--out", "out", "--timeout", "1.5", *extra])
        captured = capsys.readouterr()
        assert captured.out.replace("\n", "").isprintable() and captured.err.replace("\n", "").isprintable()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return call


def reports(*names: str, kind: str = "output") -> dict:
    """A history entry whose run saved files of these names."""
    files = [{"filename": name, "subfolder": "", "type": kind} for name in names]
    return {**SUCCESS, "outputs": {"3": {"images": files}}}


def serving(name: str, content: bytes) -> Script:
    return Script(history=reports(name), files={("output", "", name): content}, websocket=False)


MODULE = b"import pathlib; pathlib.Path('ran').write_text('x')\n"


def test_a_server_cannot_leave_a_module_where_the_user_works(run, tmp_path):
    """The next Python that starts in this folder imports what it finds there."""
    with serve(serving("tqdm.py", MODULE)) as server:
        code, out, err = run(server.url, "--out", ".")
    assert code == 0 and out == [] and any("left on the server: tqdm.py" in line for line in err)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["face.png", "w.json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", "import tqdm"], cwd=tmp_path, env=environment, check=True)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name",
    ["x.pyc", "x.so", "x.pth", "x.exe", "x.bat", "x.html", "x.svg", "x.zip", "x", ".png", ".bashrc", "x.png.py",
     "sitecustomize.py", "..", "/", "x.png/", "x.png ", "x.", "x.PNG.lnk", "x.\u202egnp.py"],
)  # fmt: skip
def test_only_pictures_latents_and_texts_are_brought(name, run, tmp_path):
    with serve(serving(name, MODULE)) as server:
        code, out, err = run(server.url)
    assert (code, out, list((tmp_path / "out").iterdir())) == (0, [], [])


@pytest.mark.parametrize("suffix", sorted(TYPES.keys() - {".txt"}))
def test_content_that_is_not_what_its_name_says(suffix, run, tmp_path):
    with serve(serving(f"x{suffix}", MODULE)) as server:
        code, out, err = run(server.url)
    assert (code, out, list((tmp_path / "out").iterdir())) == (2, [], [])
    assert "sent something else" in err[-1]


LATENT = struct.pack("<Q", 2) + b"{}"


@pytest.mark.parametrize(
    ("name", "content", "saved"),
    [
        ("Grüße 🐱.PNG", PNG, "Grüße _.png"),
        ("a/b\\c:d*.png", PNG, "c_d_.png"),
        ("x" * 300 + ".png", PNG, "x" * 80 + ".png"),
        ("a\x1b[31m\nb\u202e.png", PNG, "a__31m_b_.png"),
        ("-rf.png", PNG, "rf.png"),
        ("con.png", PNG, "output_con.png"),
        ("package.json", b'{"scripts": {}}', "output_package.json"),
        ("requirements.txt", "Grüße".encode(), "output_requirements.txt"),
        ("z.latent", LATENT, "z.latent"),
        ("z.JPG", b"\xff\xd8\xff\xe0jpeg", "z.jpg"),
        ("tqdm.py.png", PNG, "tqdm_py.png"),
        ("...png", PNG, "output.png"),
    ],
)
def test_names_are_of_our_own_making(name, content, saved, run, tmp_path, monkeypatch):
    monkeypatch.setattr("sow_core.comfyui.client.ComfyClient.file", lambda *_: content)
    with serve(serving(name, content)) as server:
        code, out, err = run(server.url)
    assert code == 0 and [p.name for p in (tmp_path / "out").iterdir()] == [saved], err
    assert out == [os.path.join("out", saved)]


@given(st.text(st.characters(), max_size=120) | st.sampled_from(["CON.txt", "nul.png", "com1.PNG", " .png", "ﬁ.png"]))
def test_any_name_becomes_a_safe_one(name):
    stem, suffix = safe_name(name)
    assert suffix in ("", *TYPES) and 1 <= len(stem.encode()) <= 200
    assert stem.isprintable() and not set(stem) & set('/\\:*?"<>|.\0') and stem[0] not in "-. "
    assert stem.upper() not in ("CON", "NUL", "COM1")


def test_nothing_is_written_over_or_through_a_link(run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").symlink_to(tmp_path / "precious")
    (out / "a-1.png").write_bytes(b"mine")
    with serve(serving("a.png", PNG)) as server:
        assert run(server.url)[:2] == (0, [os.path.join("out", "a-2.png")])
    assert not (tmp_path / "precious").exists() and (out / "a-1.png").read_bytes() == b"mine"


def test_ten_thousand_outputs(run, tmp_path):
    script = Script(history=reports(*(f"{n}.png" for n in range(10_000))), websocket=False)
    with serve(script) as server:
        code, out, err = run(server.url)
        asked = [path for path, _ in server.seen if path.startswith("/view")]
    assert code == 2 and "lists 10000 files" in err[-1] and asked == []


@pytest.mark.parametrize("name", ["x.py\0.png", "x\ud800.png"])
def test_names_that_no_file_system_takes(name, run, tmp_path):
    with serve(serving(name, PNG)) as server:
        code, out, err = run(server.url)
    assert (code, out, list((tmp_path / "out").iterdir())) == (2, [], []) and "as a ComfyUI server does" in err[-1]


BODIES = [
    b"", b"null", b"5", b'"x"', b"[]", b"[[]]", b"[null]", b"{}", b'{"a": null}', b"<html><body>Log in</body></html>",
    b"\xff\xfe\x00", b"[" * 50_000, b'{"a": 1e999}', b"NaN", b"1" * 5000, b'{"\\ud800": 1}', b"\x00",
    b'{"prompt_id": null}', b'{"prompt_id": {}}', b'{"prompt_id": ""}', b'{"prompt_id": "a/../b?c#d\\u0000"}',
    b'{"name": 5}', b'{"name": "x\\u0000"}', b'{"subfolder": "s"}', b'{"name": null, "subfolder": null}',
    b'{"queue_running": 5}', b'{"queue_running": [5]}', b'{"queue_running": [[]], "queue_pending": [[1]]}',
    b'{"queue_pending": [[1, 2], ["a", "b"], [null, []]]}', b'{"LoadImage": 5}',
    b'{"LoadImage": {"input": []}}', b'{"LoadImage": {"input": {"required": {"image": 5}}}}',
    b'{"LoadImage": {"input": {"required": {"image": [1, 2]}}}}',
    *(json.dumps({PROMPT_ID: entry}).encode() for entry in (
        5, [], "x", {"status": 5}, {"status": {"messages": 5}},
        {"status": {"messages": [5, [], ["execution_error"], ["x", 5]]}},
        {"status": {"messages": [["execution_error", None]]}},
        {"status": {"messages": [["execution_error", {"node_id": []}]]}},
        {"outputs": 5}, {"outputs": []}, {"outputs": {"1": 5}}, {"outputs": {"1": {"images": 5}}},
        {"outputs": {"1": {"images": [5, {}, {"filename": 5}, {"filename": "x.png", "type": []}, {"filename": ""}]}}},
        {"outputs": {"1": {"images": [{"filename": "x.png", "subfolder": {"a": 1}}]}}}, {},
        {"outputs": None, "status": None}, {"status": {"status_str": 5}},
    )),
]  # fmt: skip
ROUTES = ["/queue", "/object_info", "/upload/image", "/prompt", "/history", "/view", "/"]


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_with_every_odd_body(route, run, tmp_path):
    """What is left to do of a run that the server does not know ends at once."""
    script = Script(history=reports("a.png"), files={("output", "", "a.png"): PNG}, websocket=False, known=False)
    with serve(script) as server:
        for body in BODIES:
            for answer in (body, (400, body)) if route == "/prompt" else (body,):
                script.raw = {route: answer}
                code, out, err = run(server.url)
                assert code in (0, 1, 2), (body, err)
                assert code == 0 or err[-1].startswith("error: "), (body, err)
                assert all(p.suffix == ".png" and p.read_bytes() == PNG for p in (tmp_path / "out").iterdir())


@pytest.mark.parametrize("status", [204, 302, 401, 403, 404, 413, 418, 500, 502])
def test_every_status(status, run):
    with serve(Script(raw={"/queue": (status, b"<html>\x1b[31mno</html>")})) as server:
        code, _, err = run(server.url)
    assert code == 2 and len(err) == 1 and err[0].startswith("error: ")
    if status in (401, 403):
        assert "SOW_SERVER_TOKEN" in err[0]


def test_credentials_reach_every_route_and_the_websocket_and_no_message(run, monkeypatch):
    with serve(Script(history=SUCCESS, files={("output", "sub", "out_00001_.png"): PNG})) as server:
        address = server.url.replace("//", "//ann:s3cret@") + "/?token=t0ken"
        code, out, err = run(address)
        assert code == 0, err
        assert all(auth and auth.startswith("Basic ") and "token=t0ken" in path for path, auth in server.seen)
        assert any(path.startswith("/ws") for path, _ in server.seen)
        server.seen.clear()
        monkeypatch.setenv("SOW_SERVER_TOKEN", '"t0p-s3cret"\n')
        run(server.url)
        assert {auth for _, auth in server.seen} == {"Bearer t0p-s3cret"}
    assert not any(secret in line for line in [*out, *err] for secret in ("s3cret", "t0ken"))
    monkeypatch.setenv("SOW_SERVER_TOKEN", "two words")
    code, _, err = run("http://127.0.0.1:1")
    assert code == 2 and "SOW_SERVER_TOKEN" in err[0] and "words" not in err[0]


def test_a_redirect_of_the_websocket_is_not_followed(run):
    """Newer versions of the package would carry the password there."""
    with serve(Script()) as other:
        script = Script(history=SUCCESS, files={("output", "sub", "out_00001_.png"): PNG}, websocket=False)
        script.moved = other.url.replace("http", "ws") + "/ws"
        with serve(script) as server:
            code, _, err = run(server.url.replace("//", "//ann:pw@"))
        assert other.seen == []
    assert code == 0 and any("no websocket" in line for line in err)


FLOOD = [("progress", {"value": value, "max": most, "node": node}) for value, most, node in (
    ("x", 2, "2"), (1, "x", "2"), (None, None, None), (float("nan"), 1, "2"), (1, float("nan"), "2"), (10**400, 1, "2"),
    (1, 0, 2),
    (-5, 3, "2"), (3, -1, []), ([], {}, "\x1b[2J\nerror: forged"), (True, False, "9" * 500))]  # fmt: skip
FLOOD += [("executing", {"node": node}) for node in (5, [], "\x1b[31m", {"a": 1})]
FLOOD += [(kind, {}) for kind in ("", "\x1b", "status", "progress", "logs")]


def test_messages_that_make_no_sense(run):
    script = Script(history=SUCCESS, files={("output", "sub", "out_00001_.png"): PNG})
    script.messages = [*FLOOD, ("executing", {"node": None})]
    with serve(script) as server:
        assert run(server.url)[0] == 0


def test_a_flooding_websocket_does_not_keep_the_time_limit_away(run):
    with serve(Script(messages=[("progress", {"value": 1, "max": 2, "node": "2"})] * 3000, repeat=True)) as server:
        code, _, err = run(server.url, "--timeout", "0.5")
    assert code == 2 and "longer than 0.5 s" in err[-1]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@given(JSON, JSON, st.sampled_from(list(Progress.__dataclass_fields__)), st.sampled_from(["progress", "executing"]))
def test_any_message_is_drawn_or_left_out(value, whole, key, kind):
    log = Terminal()
    bar = ProgressLine(log, WORKFLOW)
    for data in (whole, {"value": 1, "max": 2, "node": "2", key: value}):
        assert bar.show({"type": kind, "data": data}, PROMPT_ID) in (True, False)
    assert log.getvalue().replace("\r", "").isprintable()


@given(JSON, st.sampled_from(["errors", "node", "entry", "status", "messages", "outputs", "file"]))
def test_any_history_and_any_refusal_is_read_or_one_line(value, place):
    errors = {"errors": {"2": {"errors": value}}, "node": {"2": value}}.get(place, value)
    for line in validation_lines(errors, WORKFLOW):
        assert line.isprintable() and len(line) <= 400
    one_clear_line(SowError(describe_refusal(ServerRefused("no", 400, value), WORKFLOW)))
    entry = {
        "status": {"status": value},
        "messages": {"status": {"messages": [["execution_error", value], value]}},
        "outputs": {"outputs": value},
        "file": {"outputs": {"1": {"images": [value, {"filename": value}]}}},
    }.get(place, value)
    if not isinstance(entry, dict):
        return
    try:
        told, files = describe_failure(entry, WORKFLOW), list(output_files(entry))
    except SowError as error:
        one_clear_line(error)
    else:
        assert told is None or told.isprintable()
        assert all(type(part) is str for file in files for part in file.values())


@pytest.mark.parametrize(
    "content",
    [b"{}", b"[]", b"null", b'{"1": null}', b'{"1": {"class_type": 5, "inputs": {}}}', b"\xff\xfe{\0}\0", b"[" * 99_999,
     b'{"1": {"class_type": "X", "inputs": {"a": "' + b"x" * 5000 + b'.png"}}}',
     b'{"1": {"class_type": "X", "inputs": {"a": NaN}}}',
     b'{"1": {"class_type": "\\u001b[2J", "inputs": {"a": "\\u0000.png"}, "_meta": []}}',
     b'{"1": {"class_type": "A B/\\u00e9?#", "inputs": {"a": "face.png"}, "_meta": {"title": "\\u202e\\n"}}}'],
)  # fmt: skip
def test_any_workflow(content, run, tmp_path):
    (tmp_path / "w.json").write_bytes(content)
    with serve(Script(history=reports())) as server:
        code, _, err = run(server.url)
        assert code == 0 or (len(err) == 1 and err[0].startswith("error: ")), err
        assert not any(" " in path for path, _ in server.seen)


def test_more_bytes_than_a_run_may_have(run, monkeypatch):
    monkeypatch.setattr(outputs, "MOST_TOTAL", 20)
    script = Script(history=reports("a.png", "b.png"), websocket=False)
    script.files = {("output", "", name): PNG for name in ("a.png", "b.png")}
    with serve(script) as server:
        code, out, err = run(server.url)
    assert code == 2 and len(out) == 1 and "larger than" in err[-1]


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_the_run_and_leaves_no_traceback(sent, code, tmp_path):
    (tmp_path / "w.json").write_text(json.dumps({"1": {"class_type": "X", "inputs": {}}}))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    with serve(Script(websocket=False)) as server:
        command = [sys.executable, "-m", "sow_core", "submit", "w.json", "--server", server.url]
        # A shell's background job ignores Ctrl-C, and its children with it: these tests may run in one.
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True,
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # fmt: skip
        assert server.queued.wait(60)
        until = time.monotonic() + 60
        while not any(path.startswith("/history") for path, _ in server.seen) and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(sent)
        _, err = process.communicate(timeout=60)
        assert ("/interrupt", {"prompt_id": PROMPT_ID}) in server.cancelled
    assert process.returncode == code and "Traceback" not in err


def test_any_workflow_and_any_assignment_is_taken_or_one_line(tmp_path):
    path = tmp_path / "w.json"
    inputs = st.dictionaries(st.text(max_size=4), JSON, max_size=3)
    node = st.fixed_dictionaries(
        {"class_type": st.text(max_size=4) | JSON, "inputs": inputs | JSON},
        optional={"_meta": JSON | st.fixed_dictionaries({"title": JSON})},
    )
    workflows = JSON | st.dictionaries(st.text(max_size=3), node, max_size=3) | st.just(WORKFLOW)
    texts = st.text(max_size=20) | st.sampled_from(["2.seed=", "2.cfg=", "2.tiled=", "The sampler.boxes="]).flatmap(
        lambda start: st.text(max_size=9).map(lambda end: start + end) | JSON.map(lambda v: start + json.dumps(v))
    )

    @given(workflows, texts)
    def check(content, text):
        path.write_text(json.dumps(content))
        try:
            made = load_workflow(path)
            for key in made:
                assert title_of(made, key).isprintable()
            assign(made, [text])
        except SowError as error:
            assert str(error).isprintable() and len(str(error)) <= 1000
        else:
            json.dumps(made, allow_nan=False).encode()

    check()


def test_a_picture_that_the_server_finds_too_large_is_named(run):
    with serve(Script(raw={"/upload/image": (413, b"Maximum request body size 100 exceeded\x1b[2J")})) as server:
        code, _, err = run(server.url)
    assert code == 2 and "413" in err[-1] and "face.png" in err[-1] and "size 100 exceeded" in err[-1]
