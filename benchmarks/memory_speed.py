"""Peak memory of one picture, each way in a process of its own: SOW against plain sampling."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

WAYS = ("plain", "sow")
STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """The most memory this process has held since `reset_peak`: resident on the CPU, allocated on a GPU."""
    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    if STATUS.is_file():
        return 1024 * next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if "VmHWM" in line)
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return psutil.Process().memory_info().peak_wset
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes


def reset_peak() -> None:
    """Forget the peak so far, where the system can (Linux, CUDA); elsewhere loading the model counts too."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def child(way: str, model: str, side: int, device: str) -> int:
    """One picture in this process; prints {"loaded": bytes, "peak": bytes}."""
    import torch

    from sow_core.method.presets import preset

    from .run_speed import backend_for, layout_for, plain, sow

    torch.set_num_threads(1)
    backend, layout = backend_for(model, device), layout_for(side)
    reset_peak()
    loaded = peak_bytes()
    if way == "plain":
        plain(backend, side, steps=2)
    else:
        sow(backend, layout, preset("fast"))
    print(json.dumps({"loaded": loaded, "peak": peak_bytes()}))
    return 0


def measure(sides: tuple[int, ...], device: str) -> list[dict[str, Any]]:
    """Per canvas size: what each way needs beyond the loaded model, in MB, and the ratio of the whole peaks."""
    from tests.tiny_models import build

    results = []
    with tempfile.TemporaryDirectory() as folder:
        model = build("sd2", folder)
        for side in sides:
            answers = {}
            for way in WAYS:
                command = [sys.executable, "-m", "benchmarks.memory_speed", way, str(model), str(side), device]
                done = subprocess.run(command, capture_output=True, text=True, check=True,
                                      cwd=Path(__file__).resolve().parents[1])
                answers[way] = json.loads(done.stdout.splitlines()[-1])
            peak = {way: answer["peak"] for way, answer in answers.items()}
            own = {way: answer["peak"] - answer["loaded"] for way, answer in answers.items()}
            entry = {"side": side, **{f"{way}_mb": round(own[way] / 1e6, 1) for way in WAYS},
                     "peak_ratio": round(peak["sow"] / peak["plain"], 4)}
            print(f"  {side} px: plain {entry['plain_mb']} MB, SOW {entry['sow_mb']} MB beyond the model; "
                  f"whole process {entry['peak_ratio']:.2f}x", flush=True)
            results.append(entry)
    return results


if __name__ == "__main__":
    sys.exit(child(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
