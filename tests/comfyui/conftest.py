"""A real ComfyUI for these tests: skipped, with the reason, unless COMFYUI_PATH names a checkout.

COMFYUI_PATH    a ComfyUI checkout (0.27 or newer)
COMFYUI_PYTHON  the interpreter that has its requirements, and diffusers (default: the one running the tests)
COMFYUI_LOGS    a folder for server logs and screenshots (default: pytest's temporary folder)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PATH = os.environ.get("COMFYUI_PATH", "")
PYTHON = os.environ.get("COMFYUI_PYTHON", sys.executable)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if PATH:
        return
    skip = pytest.mark.skip(
        reason="needs a real ComfyUI: set COMFYUI_PATH to a checkout (and COMFYUI_PYTHON)"
    )
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where servers log and browsers put their screenshots."""
    chosen = os.environ.get("COMFYUI_LOGS")
    if not chosen:
        return tmp_path_factory.mktemp("comfyui")
    Path(chosen).mkdir(parents=True, exist_ok=True)
    return Path(chosen)


@pytest.fixture(scope="session")
def inside(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The results of every case of inside.py, run once with ComfyUI's interpreter."""
    work = tmp_path_factory.mktemp("inside")
    done = subprocess.run(
        [PYTHON, str(HERE / "inside.py"), str(work)],
        capture_output=True, text=True, timeout=1800, cwd=work,
        env={**os.environ, "COMFYUI_PATH": PATH, "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="session")
def server(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A running server with the pack linked in, on a free port and a folder of its own."""
    from comfyui.host import Server

    with Server(PATH, PYTHON, ROOT, tmp_path_factory.mktemp("base"), logs / "server.log") as running:
        yield running
