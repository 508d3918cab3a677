"""Comparing durations on a machine that does other things too.

What is compared runs in turn, round after round, in one process and one thread; a ratio is the median of the
rounds' ratios, so that a slow minute slows both sides of it.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Durations:
    """Seconds per round of each variant; `reference` is what the others are divided by."""

    reference: str
    seconds: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratio(self, name: str) -> float:
        """Duration over the reference's, median of the rounds."""
        pairs = zip(self.seconds[name], self.seconds[self.reference], strict=True)
        return statistics.median(a / b for a, b in pairs)

    def as_dict(self) -> dict[str, Any]:
        return {
            name: {"median_s": round(self.median(name), 5), "ratio": round(self.ratio(name), 4), "rounds": len(values)}
            for name, values in self.seconds.items()
        }


def clock(device: str) -> float:
    """CPU seconds of this process on the CPU (blind to what else runs there), wall seconds on a GPU."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def alternate(
    variants: Mapping[str, Callable[[], Any]], rounds: int, device: str = "cpu", reference: str | None = None
) -> Durations:
    """Time every variant once per round, the order turning by one each round; one untimed round before."""
    names = list(variants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-1, rounds):
        for place in range(len(names)):
            name = names[(place + number) % len(names)]
            started = clock(device)
            variants[name]()
            if number >= 0:
                seconds[name].append(clock(device) - started)
    return Durations(reference or names[0], seconds)


def machine(device: str) -> dict[str, Any]:
    """What the numbers were made on."""
    name = torch.cuda.get_device_name() if device == "cuda" else _processor()
    return {
        "device": name,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "clock": "CPU seconds" if device == "cpu" else "wall seconds, synchronised",
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"
