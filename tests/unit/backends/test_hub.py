"""`--download` against a real hub on this machine, in processes of their own: its library reads settings once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import serving
from PIL import Image

ROOT = Path(__file__).resolve().parents[3]
NAME = "some.one/tiny-model-1.0"


@pytest.fixture
def generate(tmp_path):
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red.png")

    def call(endpoint: str, *argv: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sow_core", "generate", "--condition", "red.png", "--prompt", "a cat",
                   "--box", "16,16,32,32", "--size", "64x64", "--preset", "fast", "--cycles", "1", "--device", "cpu",
                   "--model", NAME, "--quiet", *argv]  # fmt: skip
        env = os.environ | {"PYTHONPATH": str(ROOT), "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0",
                            "HF_HUB_CACHE": str(tmp_path / "hub")}  # fmt: skip
        return subprocess.run(command, cwd=tmp_path, env=env, text=True, capture_output=True, timeout=180)

    return call


def test_a_download_takes_what_is_needed_and_is_used_from_the_cache_later(generate, tiny, tmp_path):
    folder = Path(shutil.copytree(tiny("sd1"), tmp_path / "repository"))
    wanted = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    (folder / "safety_checker").mkdir()
    for extra in ("unet/diffusion_pytorch_model.bin", "model.ckpt", "safety_checker/model.safetensors"):
        (folder / extra).write_bytes(b"must not be fetched")
    with serving(NAME, folder) as (endpoint, fetched):
        first = generate(endpoint, "--download")
        assert (first.returncode, first.stdout) == (0, "sow.png\n")
        assert set(fetched) == wanted
        fetched.clear()
        second = generate(endpoint, "--out", "again.png")
        assert (second.returncode, second.stderr, fetched) == (0, "", [])
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "sow.png").read_bytes()


def test_no_weight_of_an_unusable_model_is_fetched(generate, tiny, tmp_path):
    folder = Path(shutil.copytree(tiny("sd1"), tmp_path / "repository"))
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "FluxFillPipeline"}))
    with serving(NAME, folder) as (endpoint, fetched):
        result = generate(endpoint, "--download")
    assert result.returncode == 2 and fetched == ["model_index.json"]
    assert "FluxFillPipeline" in result.stderr and result.stderr.count("\n") == 1


def test_a_model_that_the_hub_lacks(generate, tiny):
    with serving("another/model", tiny("sd1")) as (endpoint, _):
        result = generate(endpoint, "--download")
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"error: Cannot load {NAME}: ")
