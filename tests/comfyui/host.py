"""A real ComfyUI server in a folder of its own, and the demo graph in API format."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from sow_core.comfyui.client import ComfyClient
from sow_core.errors import SowError

Prompt = dict[str, dict[str, Any]]
PACK = "comfyui-sow"
START_LIMIT = 600.0
"""Seconds; on a machine that is busy with something else a server takes minutes."""


class Server:
    """`python main.py --cpu` with the pack linked into its custom_nodes; a context manager."""

    def __init__(self, comfyui: str, python: str, pack: Path, base: Path, log: Path, *extra: str) -> None:
        self.base, self.log = base, log
        for name in ("custom_nodes", "input", "output", "temp", "user", "models"):
            (base / name).mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (base / "custom_nodes" / PACK).symlink_to(pack, target_is_directory=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [
            python, "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(self.port),
            "--base-directory", str(base), "--use-pytorch-cross-attention", "--disable-api-nodes",
            "--preview-method", "latent2rgb", "--database-url", f"sqlite:///{base / 'user' / 'comfyui.db'}", *extra,
        ]  # fmt: skip
        self._comfyui = comfyui

    def __enter__(self) -> Server:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HF_HUB_OFFLINE": "1",
        }
        # A key that must never leave the process: the tests look for it in history and pictures.
        environment["GEMINI_API_KEY"] = os.environ.get("GEMINI_API_KEY", SECRET)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                self._command, cwd=self._comfyui, stdout=log, stderr=subprocess.STDOUT, env=environment
            )
        self.client = ComfyClient(self.url)
        until = time.monotonic() + START_LIMIT
        while True:
            try:
                self.objects = self.client.get("/object_info")
                return self
            except SowError:
                if self.process.poll() is not None or time.monotonic() > until:
                    self.process.kill()
                    tail = self.log.read_text(errors="replace")[-3000:]
                    raise RuntimeError(f"ComfyUI did not start:\n{tail}") from None
                time.sleep(0.25)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


SECRET = "secret-key-for-the-tests-0123456789"


def demo(picture: str, mask: str | None = None, **changes: Any) -> Prompt:
    """The demo workflow in API format: `picture` and `mask` are names in the server's input folder.

    changes: inputs of SOW KSampler, e.g. seed=3, cycles=2.
    """
    prompt: Prompt = {
        "1": _node("SOW_LoadDemoModel"),
        "2": _node("CLIPTextEncode", clip=["1", 1], text="a photo of a smiling man wearing a suit on a beach"),
        "3": _node("CLIPTextEncode", clip=["1", 1], text="bad quality"),
        "4": _node("LoadImage", image=picture),
        "5": _node("SOW_Layout", condition=["4", 0], width=128, height=128, fit="fit", invert_mask=False,
                   crop_to_mask=False, bboxes="40,24,48,48"),
        "6": _node("SOW_KSampler", model=["1", 0], positive=["2", 0], negative=["3", 0], vae=["1", 2],
                   layout=["5", 0], seed=7, preset="normal", steps=10, cfg=5.0, cycles=2, attention=1.0,
                   batch_size=1),
        "7": _node("SaveImage", images=["6", 1], filename_prefix="sow_test"),
    }  # fmt: skip
    if mask is not None:
        prompt["8"] = _node("LoadImageMask", image=mask, channel="red")
        prompt["5"]["inputs"]["mask"] = ["8", 0]
    prompt["6"]["inputs"] |= changes
    return prompt


def _node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}
