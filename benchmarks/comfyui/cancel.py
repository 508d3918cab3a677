"""From a cancel to the end of the run, against the length of one model call; demo model.

"sampler": from ComfyUI's interrupt flag to the exception, at random moments of a run in this process: what the pack
answers for. "server": from the HTTP request to the websocket's message, which adds the server's own event loop; it
shares the interpreter with the running model and gets its turn late on a busy machine.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from comfyui.host import Server, demo  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

ROUNDS = 20


def in_process() -> list[tuple[float, float]]:
    """Per round: seconds from the flag to the exception, and seconds of the longest model call meanwhile."""
    from common import start

    pack = start()
    import comfy.model_management as management
    import torch
    from common import scene

    native, folder, presets = (pack(n) for n in ("nodes.native", "nodes.folder", "sow_core.method.presets"))
    model, clip, vae = folder.load_folder(ROOT / "models" / "demo")
    rows = [
        clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in ("a man on a beach", "bad quality")
    ]
    layout, config = scene(pack, 128, 64), presets.preset("normal")
    pairs, spans, chance = [], [], random.Random(1)
    unet = model.model.diffusion_model
    forward = unet.forward

    def timed(*args: object, **kwargs: object) -> object:
        began = time.perf_counter()
        try:
            return forward(*args, **kwargs)
        finally:
            spans.append((began, time.perf_counter() - began))

    unet.forward = timed
    with torch.inference_mode():
        for number in range(ROUNDS + 1):
            flagged: list[float] = []

            def press(flagged: list[float] = flagged) -> None:
                flagged.append(time.perf_counter())
                management.interrupt_current_processing(True)

            spans.clear()
            timer = threading.Timer(0.3 + 0.5 * chance.random(), press)
            timer.start()
            try:
                native.sample_layout(model, rows[0], rows[1], vae, layout, config, [number], decode=False)
                raise RuntimeError("the run ended before it was cancelled; is this machine that fast?")
            except management.InterruptProcessingException:
                ended = time.perf_counter()
            finally:
                timer.cancel()
                management.interrupt_current_processing(False)
            if number:  # the first run loads the model
                pairs.append((ended - flagged[0], max(length for _, length in spans)))
    unet.forward = forward
    return pairs


def once(server: Server, picture: str, number: int) -> tuple[float, float]:
    """Seconds from the request to the `execution_interrupted` message, and seconds of one model call."""
    client = server.client
    with connect(client.websocket_url, proxy=None, max_size=None) as socket:
        prompt, _ = client.queue(demo(picture, seed=number, cycles=100))
        stamps: list[float] = []
        asked = 0.0
        while True:
            message = socket.recv(timeout=120)
            if isinstance(message, bytes):
                continue
            event = json.loads(message)
            data = event.get("data") or {}
            if event["type"] == "progress" and data.get("node") == "6":
                stamps.append(time.perf_counter())
                if len(stamps) == 30 + number and not asked:  # in the cycle, two rows and modulation
                    asked = time.perf_counter()
                    client.post("/interrupt", {"prompt_id": prompt})
            elif event["type"] == "execution_interrupted":
                gaps = [b - a for a, b in zip(stamps[15:], stamps[16:], strict=False)]
                return time.perf_counter() - asked, statistics.median(gaps)
            elif event["type"] in ("execution_error", "execution_success"):
                raise RuntimeError(f"expected a cancel, got {event}")


def main() -> None:
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    with (
        tempfile.TemporaryDirectory() as base,
        Server(os.environ["COMFYUI_PATH"], python, ROOT, Path(base), Path(base) / "server.log") as server,
    ):
        picture = server.client.upload_image(ROOT / "pictures" / "tom.png")
        pairs = [once(server, picture, number) for number in range(ROUNDS)]
    inside = in_process()
    from common import keep

    keep("cancel", {"rounds": ROUNDS, "sampler": summary(inside), "server": summary(pairs)})


def summary(pairs: list[tuple[float, float]]) -> dict[str, dict[str, float]]:
    latencies, ratios = sorted(1e3 * a for a, _ in pairs), sorted(a / b for a, b in pairs)
    return {
        name: {"median": round(statistics.median(values), 2), "max": round(values[-1], 2)}
        for name, values in (("latency_ms", latencies), ("latency_in_model_calls", ratios))
    }


if __name__ == "__main__":
    main()
