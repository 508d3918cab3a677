"""From the cancel request to the end of the run, against the length of one model call: a real server, demo model."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from comfyui.host import Server, demo  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

ROUNDS = 20


def once(server: Server, picture: str, number: int) -> tuple[float, float]:
    """Seconds from the request to the `execution_interrupted` message, and seconds of one model call."""
    client = server.client
    with connect(client.address.websocket(client.client_id), proxy=None, max_size=None) as socket:
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
    latencies, calls = zip(*pairs, strict=True)
    from common import keep

    ratios = [latency / call for latency, call in pairs]
    keep("cancel", {
        "rounds": ROUNDS,
        "latency_ms": {"median": round(1e3 * statistics.median(latencies), 1), "max": round(1e3 * max(latencies), 1)},
        "model_call_ms": round(1e3 * statistics.median(calls), 1),
        "latency_in_model_calls": {
            "median": round(statistics.median(ratios), 2),
            "nine_in_ten_below": round(sorted(ratios)[int(0.9 * ROUNDS) - 1], 2),
            "max": round(max(ratios), 2),
        },
    })  # fmt: skip


if __name__ == "__main__":
    main()
