"""On a ComfyUI that is too old the pack says which one it needs, and the server runs on without it.

COMFYUI_OLD_PATH: a checkout older than 0.27, for COMFYUI_PYTHON.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from comfyui.conftest import PYTHON, ROOT
from comfyui.host import Server

OLD = os.environ.get("COMFYUI_OLD_PATH", "")


@pytest.mark.skipif(not OLD, reason="needs COMFYUI_OLD_PATH, a ComfyUI older than 0.27")
def test_it_says_what_it_needs(tmp_path: Path, logs: Path) -> None:
    log = logs / "old_server.log"
    with Server(OLD, PYTHON, ROOT, tmp_path, log) as server:
        assert not [name for name in server.objects if name.startswith("SOW_")]
        assert "KSampler" in server.objects
    text = log.read_text(errors="replace")
    assert "SOW needs ComfyUI 0.27 or newer" in text and "Traceback" not in text
