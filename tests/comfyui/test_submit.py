"""`python -m sow_core submit` against the real server: the demo, its picture, and a node's error in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from comfyui.host import Server
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "workflows" / "api" / "01_keep_a_face_no_download_api.json"


def submit(server: Server, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sow_core", "submit", str(DEMO), "--server", server.url, "--out", str(out), *arguments],
        capture_output=True, text=True, timeout=300, cwd=ROOT, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip


def test_the_demo_is_saved(server: Server, tmp_path: Path) -> None:
    done = submit(server, tmp_path, "--set", "SOW_KSampler.seed=12", "--set", "SOW_KSampler.cycles=2")
    assert done.returncode == 0, done.stderr
    pictures = sorted(tmp_path.glob("*.png"))
    assert any(Image.open(picture).size == (128, 128) for picture in pictures), [p.name for p in pictures]


def test_a_bad_value_is_one_line(server: Server, tmp_path: Path) -> None:
    done = submit(server, tmp_path, "--set", "SOW_Layout.width=130")
    assert done.returncode == 1 and "multiple of 8" in done.stderr and "Traceback" not in done.stderr, (
        done.stderr
    )
    assert not list(tmp_path.iterdir())


def test_a_nodes_error_is_one_line(server: Server, tmp_path: Path) -> None:
    done = submit(server, tmp_path, "--set", "SOW_KSampler.preset=cow_official")
    assert done.returncode != 0 and "need the prompt" in done.stderr and "Traceback" not in done.stderr, (
        done.stderr
    )
    assert "SOW_KSampler" in done.stderr or "SOW KSampler" in done.stderr, done.stderr
