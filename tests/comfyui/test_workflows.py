"""Every API workflow of the pack on a real server: with the demo model, or small random stand-ins for released ones.

The Gemini planner's is left out: it would reach for the network. Its node is tested against a loopback server.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comfyui.host import Prompt, Server

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parents[1] / "workflows" / "api"
WORKFLOWS = sorted(path for path in FOLDER.glob("*.json") if "gemini" not in path.name)
LIMIT = 400.0


def finish(server: Server, prompt: Prompt) -> dict[str, Any]:
    """Run a workflow to its end; its history entry."""
    prompt_id, errors = server.client.queue(prompt)
    assert not errors, errors
    until = time.monotonic() + LIMIT
    while (entry := server.client.history(prompt_id)) is None:
        assert time.monotonic() < until, "the run hangs"
        time.sleep(0.2)
    return entry


def of(prompt: Prompt, kind: str) -> list[dict[str, Any]]:
    return [node["inputs"] for node in prompt.values() if node["class_type"] == kind]


def shrink(prompt: Prompt) -> None:
    """The same layout on a canvas of a quarter of the width, and no cycles: a CPU should not spend minutes on noise.

    The layouts' boxes are shares of the canvas; those of turns are pixels.
    """
    for layout in of(prompt, "SOW_Layout"):
        layout["width"] //= 4
        layout["height"] //= 4
    for turn in of(prompt, "SOW_Turn"):
        for name in ("regions", "things"):
            turn[name] = re.sub(r"\d+", lambda number: str(int(number[0]) // 4), turn[name])
    for scaled in of(prompt, "ImageScale") if of(prompt, "SOW_Turn") else ():
        scaled["width"] //= 4
        scaled["height"] //= 4
    for sampler in of(prompt, "SOW_KSampler"):
        sampler["cycles"] = 0


@pytest.fixture(scope="module")
def stand_in(server: Server) -> None:
    """The checkpoint and the LoRA that the workflows name, made up."""
    from comfyui.conftest import PATH, PYTHON

    names = json.loads((FOLDER / "20_photo_checkpoint_lora_api.json").read_text())
    checkpoint = of(names, "CheckpointLoaderSimple")[0]["ckpt_name"]
    lora = of(names, "LoraLoader")[0]["lora_name"]
    subprocess.run(
        [PYTHON, str(HERE / "standin.py"), str(server.base / "models"), checkpoint, lora],
        check=True, capture_output=True, timeout=300, env={**os.environ, "COMFYUI_PATH": PATH},
    )  # fmt: skip


SHRUNK = "import sys; sys.path.append({folder!r}); import shrunk; shrunk.shrink(); NODE_CLASS_MAPPINGS = {{}}"


@pytest.fixture(scope="module")
def flow_server(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own that takes small files for the flow models that the workflows name, and has them."""
    from comfyui.conftest import PATH, PYTHON, ROOT

    base = tmp_path_factory.mktemp("flow")
    node = base / "custom_nodes" / "shrunk_host" / "__init__.py"
    node.parent.mkdir(parents=True)
    node.write_text(SHRUNK.format(folder=str(HERE)), encoding="utf-8")
    flux, z = (json.loads((FOLDER / f"{name}_api.json").read_text(encoding="utf-8"))
               for name in ("23_photo_flux", "24_photo_z_image_turbo"))  # fmt: skip
    double = of(flux, "DualCLIPLoader")[0]
    names = [*(of(one, "UNETLoader")[0]["unet_name"] for one in (flux, z)), double["clip_name1"], double["clip_name2"],
             of(z, "CLIPLoader")[0]["clip_name"], of(flux, "VAELoader")[0]["vae_name"]]  # fmt: skip
    subprocess.run(
        [PYTHON, str(HERE / "standin_flow.py"), str(base / "models"), *names],
        check=True, capture_output=True, timeout=300, env={**os.environ, "COMFYUI_PATH": PATH},
    )  # fmt: skip
    with Server(PATH, PYTHON, ROOT, base, logs / "flow.log") as running:
        yield running


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_runs(path: Path, request: pytest.FixtureRequest) -> None:
    prompt: Prompt = json.loads(path.read_text(encoding="utf-8"))
    flow = bool(of(prompt, "UNETLoader"))
    server = request.getfixturevalue("flow_server" if flow else "server")
    if of(prompt, "CheckpointLoaderSimple"):
        request.getfixturevalue("stand_in")
    if flow or of(prompt, "CheckpointLoaderSimple"):
        shrink(prompt)
    entry = finish(server, prompt)
    said = [m for m in entry["status"]["messages"] if m[0] == "execution_error"]
    assert entry["status"]["status_str"] == "success", said and said[0][1].get("exception_message")
    expected = {
        number for number, node in prompt.items() if node["class_type"] in ("SaveImage", "PreviewImage")
    }
    assert expected <= set(entry["outputs"])
    for number in expected:
        assert entry["outputs"][number]["images"], number
