"""The pack in a real ComfyUI server: what a browser or a script sees of it."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from comfyui.host import PACK, SECRET, Prompt, Server, demo
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[2] / "pictures"
NODES = sorted(page.stem for page in (Path(__file__).resolve().parents[2] / "web" / "docs").glob("SOW_*.md"))
"""Every node has a help page; tests/nodes sees to that."""
LIMIT = 300.0
"""Seconds after which a run counts as hung; no test measures speed."""


class Watched:
    """One run as its websocket told it."""

    def __init__(self, prompt_id: str) -> None:
        self.prompt_id = prompt_id
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.previews: list[Image.Image] = []
        self.texts: list[str] = []
        """What nodes showed on themselves."""

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [data for name, data in self.events if name == kind]

    @property
    def ran(self) -> list[str]:
        return [data["node"] for data in self.of("executing") if data.get("node")]

    def progress(self, node: str) -> list[tuple[int, int]]:
        found = [(int(d["value"]), int(d["max"])) for d in self.of("progress") if d.get("node") == node]
        return found


class Session:
    """Queue runs and listen to them."""

    def __init__(self, server: Server) -> None:
        from websockets.sync.client import connect

        self.client = server.client
        self.socket = connect(self.client.websocket_url, proxy=None, max_size=None)

    def queue(self, prompt: Prompt) -> Watched:
        prompt_id, errors = self.client.queue(prompt)
        assert not errors, errors
        return Watched(prompt_id)

    def listen(self, run: Watched, until: Callable[[str, dict[str, Any]], bool] | None = None) -> Watched:
        """Collect messages to the run's end, or until a message fulfils `until`."""
        deadline = time.monotonic() + LIMIT
        while True:
            message = self.socket.recv(timeout=max(deadline - time.monotonic(), 0.1))
            if isinstance(message, bytes):
                picture, text = _preview(message), _text(message)
                if text:
                    run.texts.append(text)
                if picture is not None:
                    run.previews.append(picture)
                continue
            event = json.loads(message)
            kind, data = event["type"], event.get("data") or {}
            if data.get("prompt_id") not in (None, run.prompt_id):
                continue
            run.events.append((kind, data))
            if until is not None and until(kind, data):
                return run
            if kind in ("execution_success", "execution_error", "execution_interrupted"):
                return run

    def run(self, prompt: Prompt) -> Watched:
        return self.listen(self.queue(prompt))

    def history(self, run: Watched) -> dict[str, Any]:
        until = time.monotonic() + LIMIT
        while time.monotonic() < until:
            entry = self.client.history(run.prompt_id)
            if entry is not None:
                return entry
            time.sleep(0.05)
        raise AssertionError("no history")

    def picture(self, run: Watched, node: str = "7") -> tuple[Image.Image, bytes]:
        reference = self.history(run)["outputs"][node]["images"][0]
        data = self.client.file(reference)
        return Image.open(io.BytesIO(data)), data


def _text(message: bytes) -> str:
    """The text of a binary message of ComfyUI's type 3: the length of the node's id, the id, the text."""
    if int.from_bytes(message[:4], "big") != 3:
        return ""
    return message[8 + int.from_bytes(message[4:8], "big") :].decode("utf-8")


def _preview(message: bytes) -> Image.Image | None:
    """The picture of a binary message: ComfyUI's types 1 (plain) and 4 (with a JSON header)."""
    kind = int.from_bytes(message[:4], "big")
    if kind == 1:
        body = message[8:]
    elif kind == 4:
        body = message[8 + int.from_bytes(message[4:8], "big") :]
    else:
        return None
    return Image.open(io.BytesIO(body)).convert("RGB")


@pytest.fixture
def session(server: Server) -> Iterator[Session]:
    made = Session(server)
    yield made
    made.socket.close()
    assert server.process.poll() is None, "the server has ended"


@pytest.fixture(scope="module")
def files(server: Server) -> tuple[str, str]:
    """The demo condition and its mask in the server's input folder."""
    return tuple(server.client.upload_image(EXAMPLES / name) for name in ("mia.png", "mia_mask.png"))  # type: ignore[return-value]


# -- start


def test_the_nodes_are_there(server: Server) -> None:
    assert len(NODES) >= 18
    assert NODES == sorted(name for name in server.objects if name.startswith("SOW_"))
    for name in NODES:
        info = server.objects[name]
        assert info["python_module"] == f"custom_nodes.{PACK}", name
        assert info["category"].split("/")[0] == "SOW" and info["description"], name
    log = server.log.read_text(errors="replace")
    assert "IMPORT FAILED" not in log


def test_help_pages_are_served(server: Server) -> None:
    for name in NODES:
        page = server.client.request(f"/extensions/{PACK}/docs/{name}.md").body.decode("utf-8")
        assert page.lstrip().startswith("#"), name
        chinese = server.client.request(f"/extensions/{PACK}/docs/{name}/zh.md").body.decode("utf-8")
        assert chinese.startswith("# SOW") and "## 输入" in chinese, name


def test_the_workflows_are_templates(server: Server) -> None:
    """ComfyUI's template browser lists them, and serves each with its thumbnail."""
    listed = server.client.get("/workflow_templates")[PACK]
    assert "01_keep_a_face_no_download" in listed and len(listed) >= 7
    for name in listed:
        workflow = json.loads(server.client.request(f"/api/workflow_templates/{PACK}/{name}.json").body)
        assert workflow["nodes"], name


# -- a run


def test_the_demo_runs(session: Session, files: tuple[str, str]) -> None:
    run = session.run(demo(*files))
    assert run.of("execution_success"), run.events[-1]
    steps = run.progress("6")
    total = steps[-1][1]
    sampled = [value for value, top in steps if top == total]
    assert sampled == sorted(sampled) and sampled[-1] == total and len(set(sampled)) == total
    assert len(run.previews) >= total // 2  # the host may merge previews that come faster than it sends
    assert all(min(p.size) >= 4 for p in run.previews)
    picture, _ = session.picture(run)
    assert picture.size == (128, 128)
    assert len(set(picture.convert("L").getdata())) > 50  # a picture, not a flat surface


def test_progress_has_the_plans_total(session: Session, files: tuple[str, str]) -> None:
    from sow_core.commands.describe import advice
    from sow_core.method.plan import build_plan

    run = session.run(demo(*files, seed=51, preset="fast", cycles=-1))
    assert {top for _, top in run.progress("6")} == {build_plan(advice("demo").config("fast")).cost.calls}


def test_the_cache_is_respected(session: Session, files: tuple[str, str]) -> None:
    first = session.run(demo(*files, seed=21))
    again = session.run(demo(*files, seed=21))
    other = session.run(demo(*files, seed=22))
    assert "6" in first.ran and again.ran == [] and set(other.ran) == {"6", "7"}
    assert set(again.of("execution_cached")[0]["nodes"]) >= {"1", "2", "3", "4", "5", "6"}


def test_a_seed_repeats_after_other_runs(session: Session, files: tuple[str, str]) -> None:
    """Two SOW nodes in one graph, and runs before it: nothing leaks from one into another."""
    one, _ = session.picture(session.run(demo(*files, seed=31)))
    prompt = demo(*files, seed=32, attention=3.0)
    second = demo(*files, seed=31)
    prompt["16"], prompt["17"] = second["6"], second["7"]
    prompt["17"]["inputs"]["images"] = ["16", 1]
    run = session.run(prompt)
    both, _ = session.picture(run, "17")
    assert one.tobytes() == both.tobytes()
    assert session.picture(run, "7")[0].tobytes() != both.tobytes()


def test_two_prompts_queued(session: Session, files: tuple[str, str]) -> None:
    first, second = session.queue(demo(*files, seed=41)), session.queue(demo(*files, seed=42))
    session.listen(first)
    session.listen(second)
    assert (
        session.history(first)["status"]["status_str"]
        == session.history(second)["status"]["status_str"]
        == "success"
    )
    assert session.picture(first)[0].tobytes() != session.picture(second)[0].tobytes()


def test_batches(session: Session, files: tuple[str, str]) -> None:
    """Picture i of a batch is the picture of seed + i."""
    alone, _ = session.picture(session.run(demo(*files, seed=62)))
    run = session.run(demo(*files, seed=61, batch_size=2))
    images = session.history(run)["outputs"]["7"]["images"]
    assert len(images) == 2
    second = Image.open(io.BytesIO(session.client.file(images[1])))
    pairs = zip(alone.convert("L").getdata(), second.convert("L").getdata(), strict=True)
    assert max(abs(a - b) for a, b in pairs) <= 2


def test_composable_parts_give_the_same_picture(session: Session, files: tuple[str, str]) -> None:
    prompt = demo(*files, seed=71)
    prompt |= {
        "20": {"class_type": "SOW_EncodeLayout", "inputs": {"layout": ["5", 0], "vae": ["1", 2], "batch_size": 1}},
        "21": {"class_type": "SOW_Sampler", "inputs": {
            "encoded": ["20", 0], "preset": "normal", "steps": 10, "cycles": 2, "attention": 1.0}},
        "22": {"class_type": "SOW_Guider", "inputs": {
            "model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "cfg": 5.0}},
        "23": {"class_type": "RandomNoise", "inputs": {"noise_seed": 71}},
        "24": {"class_type": "BasicScheduler", "inputs": {
            "model": ["1", 0], "scheduler": "normal", "steps": 10, "denoise": 1.0}},
        "25": {"class_type": "SamplerCustomAdvanced", "inputs": {
            "noise": ["23", 0], "guider": ["22", 0], "sampler": ["21", 0], "sigmas": ["24", 0],
            "latent_image": ["20", 1]}},
        "26": {"class_type": "VAEDecode", "inputs": {"samples": ["25", 0], "vae": ["1", 2]}},
        "27": {"class_type": "SaveImage", "inputs": {"images": ["26", 0], "filename_prefix": "sow_parts"}},
    }  # fmt: skip
    run = session.run(prompt)
    assert session.picture(run, "27")[0].tobytes() == session.picture(run, "7")[0].tobytes()
    assert run.progress("25")[-1] == run.progress("6")[-1]


def test_plain_ksampler_on_the_demo_model(session: Session, files: tuple[str, str]) -> None:
    """The demo MODEL, CLIP and VAE are ordinary ones, and a SOW run before does not change what they sample."""

    def plain(prompt: Prompt) -> Prompt:
        prompt["30"] = {
            "class_type": "EmptyLatentImage",
            "inputs": {"width": 128, "height": 128, "batch_size": 1},
        }
        prompt["31"] = {
            "class_type": "KSampler",
            "inputs": {
                "model": ["1", 0],
                "positive": ["2", 0],
                "negative": ["3", 0],
                "latent_image": ["30", 0],
                "seed": 5,
                "steps": 8,
                "cfg": 5.0,
                "sampler_name": "ddim",
                "scheduler": "ddim_uniform",
                "denoise": 1.0,
            },
        }
        prompt["32"] = {"class_type": "VAEDecode", "inputs": {"samples": ["31", 0], "vae": ["1", 2]}}
        prompt["33"] = {
            "class_type": "SaveImage",
            "inputs": {"images": ["32", 0], "filename_prefix": "plain"},
        }
        return prompt  # fmt: skip

    base = demo(*files)
    only = plain({k: base[k] for k in ("1", "2", "3")})
    before, _ = session.picture(session.run(only), "33")
    session.run(demo(*files, seed=81))
    only["31"]["inputs"]["seed"] = 6
    session.run(only)
    only["31"]["inputs"]["seed"] = 5
    only["31"]["inputs"]["steps"] = 9  # not from the cache
    session.run(only)
    only["31"]["inputs"]["steps"] = 8
    after, _ = session.picture(session.run(only), "33")
    assert before.tobytes() == after.tobytes()


# -- cancel


def test_cancel_within_one_model_call(session: Session, files: tuple[str, str]) -> None:
    reached = 15
    run = session.queue(demo(*files, seed=91, cycles=100))
    session.listen(
        run, lambda kind, data: kind == "progress" and data.get("node") == "6" and data["value"] >= reached
    )
    session.client.cancel(run.prompt_id)
    at_cancel = run.progress("6")[-1][0]
    session.listen(run)
    kind, data = run.events[-1]
    assert kind == "execution_interrupted" and data["node_id"] == "6", run.events[-1]
    # Steps that the socket still held when the interrupt was posted, and the call under way.
    assert run.progress("6")[-1][0] - at_cancel <= 5
    assert run.progress("6")[-1][0] < 60 < run.progress("6")[-1][1]
    assert session.history(run)["status"]["status_str"] != "success"


def test_a_run_after_a_cancel_is_clean(session: Session, files: tuple[str, str]) -> None:
    expected, _ = session.picture(session.run(demo(*files, seed=101)))
    run = session.queue(demo(*files, seed=102, cycles=100, attention=4.0))
    session.listen(
        run, lambda kind, data: kind == "progress" and data.get("node") == "6" and data["value"] >= 12
    )
    session.client.cancel(run.prompt_id)
    session.listen(run)
    after, _ = session.picture(session.run(demo(*files, seed=101, batch_size=1, cycles=2, cfg=5.0)))
    assert expected.tobytes() == after.tobytes()
    fresh = session.run(demo(*files, seed=102))
    assert fresh.of("execution_success")


# -- errors


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("preset", "no such", "no such"), ("steps", 1, "steps"), ("cfg", 0.5, "cfg"), ("cycles", -2, "cycles")],
)
def test_one_wrong_widget_is_one_error(
    session: Session, files: tuple[str, str], name: str, value: Any, words: str
) -> None:
    """By the host's own ranges and lists, before the run. The layout is an output of its own and still runs."""
    prompt = demo(*files)
    prompt["6"]["inputs"][name] = value
    _, errors = session.client.queue(prompt)
    ((node, found),) = errors.items()
    (error,) = found["errors"]
    assert node == "6" and words in f"{error.get('details')} {error.get('message')}", error


def fails(session: Session, prompt: Prompt, node: str, words: str) -> None:
    """The run ends at `node` with one sentence, and the host has no path to print before it."""
    run = session.run(prompt)
    error = run.of("execution_error")
    assert error, run.events[-1]
    message = error[0]["exception_message"].strip()
    assert error[0]["node_id"] == node and words in message and "\n" not in message, message
    assert error[0]["exception_type"] == "SowError"
    assert session.history(run)["status"]["status_str"] == "error"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("bboxes", "100,100,64,64", "outside the 128x128 canvas"),
        ("bboxes", "[1, 2", "bboxes"),
        ("bboxes", "40,24,48", "one a line"),
        ("bboxes", "", "type x,y,width,height into bboxes"),
        ("width", 130, "multiple of 8"),
    ],
)
def test_a_wrong_box_is_one_sentence(
    session: Session, files: tuple[str, str], name: str, value: Any, words: str
) -> None:
    """The run says it: a check before it would be shown as \"Custom validation failed\", once per input."""
    prompt = demo(*files)
    prompt["5"]["inputs"][name] = value
    fails(session, prompt, "5", words)


def test_a_cut_out_with_load_images_mask_keeps_the_face(server: Server, session: Session, tmp_path: Path) -> None:
    """The most likely first picture of all: its MASK marks what is transparent."""
    picture, mask = Image.open(EXAMPLES / "mia.png").convert("RGB"), Image.open(EXAMPLES / "mia_mask.png").convert("L")
    cut = Image.new("RGBA", picture.size)
    cut.paste(picture, mask=mask)
    cut.putalpha(mask)
    cut.save(tmp_path / "cut_out.png")
    name = server.client.upload_image(tmp_path / "cut_out.png")
    prompt = demo(name)
    prompt["5"]["inputs"] |= {"mask": ["4", 1], "bboxes": "0.25,0.1875,0.5,0.5 face\n0.19,0,0.62,0.25 related: hair"}
    prompt["10"] = {"class_type": "MaskToImage", "inputs": {"mask": ["5", 3]}}
    prompt["11"] = {"class_type": "SaveImage", "inputs": {"images": ["10", 0], "filename_prefix": "kept"}}
    run = session.run(prompt)
    assert run.of("execution_success"), run.events[-1]
    kept, _ = session.picture(run, "11")
    expected = Image.new("L", (128, 128))
    expected.paste(mask.resize((64, 64)), (32, 24))
    pixels = zip(kept.convert("L").getdata(), expected.getdata(), strict=True)
    assert sum((a > 127) != (b > 127) for a, b in pixels) < 80, "the outline may differ by the way of resizing"
    report = session.history(run)["outputs"]["5"]["text"][0]
    assert "turned round" in report and "in colour" in report


def test_a_layout_runs_alone(session: Session, files: tuple[str, str]) -> None:
    """Its picture comes before any step is spent: the node is an output of its own."""
    prompt = {number: node for number, node in demo(*files).items() if number in ("4", "5", "8")}
    run = session.run(prompt)
    assert run.of("execution_success") and session.history(run)["outputs"]["5"]["images"]


def test_a_patch_without_effect_is_said_on_the_node(session: Session, files: tuple[str, str]) -> None:
    prompt = demo(*files, seed=121)
    prompt["12"] = {"class_type": "PatchModelAddDownscale", "inputs": {
        "model": ["1", 0], "block_number": 1, "downscale_factor": 2.0, "start_percent": 0.0, "end_percent": 0.35,
        "downscale_after_skip": True, "downscale_method": "bicubic", "upscale_method": "bicubic"}}  # fmt: skip
    prompt["6"]["inputs"]["model"] = ["12", 0]
    run = session.run(prompt)
    assert run.of("execution_success"), run.events[-1]
    assert any("never acts" in text for text in run.texts), run.texts


def test_linked_values_are_refused_in_one_line(session: Session, files: tuple[str, str]) -> None:
    prompt = demo(files[0])
    prompt["5"]["inputs"]["bboxes"] = ""
    fails(session, prompt, "5", "No box")

    prompt = demo(files[0])
    prompt["8"] = {"class_type": "SolidMask", "inputs": {"value": 0.0, "width": 64, "height": 48}}
    prompt["5"]["inputs"]["mask"] = ["8", 0]
    fails(session, prompt, "5", "Bad mask size")

    picture = Image.open(EXAMPLES / "mia.png")
    prompt["8"]["inputs"] |= {"width": picture.width, "height": picture.height}
    fails(session, prompt, "5", "mask keeps nothing")

    prompt = demo(files[0])
    prompt["9"] = {"class_type": "RepeatImageBatch", "inputs": {"image": ["4", 0], "amount": 2}}
    prompt["5"]["inputs"]["condition"] = ["9", 0]
    fails(session, prompt, "5", "batch")

    prompt = demo(files[0], preset="cow_official")
    fails(session, prompt, "6", "need the prompt 'empty'")


# -- keys


def test_no_key_leaks(server: Server, session: Session, files: tuple[str, str]) -> None:
    """A key in the server's environment is in no history entry, no object_info and no saved picture."""
    run = session.run(demo(*files, seed=111))
    _, data = session.picture(run)
    assert SECRET.encode() not in data
    assert SECRET not in json.dumps(session.client.get("/history"))
    assert SECRET not in json.dumps(session.client.get("/object_info"))
    for folder in ("output", "temp", "user"):
        for file in (server.base / folder).rglob("*"):
            if file.is_file() and not file.name.startswith("comfyui.db"):
                assert SECRET.encode() not in file.read_bytes(), file
