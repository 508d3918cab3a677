"""Where a model's gate should open: `python -m benchmarks.quality.calibrate` (Eq. 8's threshold and width).

The indicator that the gate reads depends on the model's attention; a threshold that suits one leaves another's gate
shut. This runs the normal preset with the gate open and places the slope around what was measured: half open at the
usual indicator, wide open a standard deviation below it, closed a standard deviation above it.

Without --report: on validation cases of the demo world. With it: from reports of `generate --report`, of any model.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from sow_core.backends.opening import open_backend
from sow_core.method.advice import Gate

from .cases import render_cases
from .methods import METHODS
from .running import sample

CASES = 24


def gate_of(runs: Sequence[float]) -> Gate:
    """The gate for the mean indicators of some runs. Raises ValueError for fewer than two, or without any spread."""
    values = torch.tensor(list(runs), dtype=torch.float64)
    if len(values) < 2 or float(values.std()) == 0:
        raise ValueError("a calibration needs the indicators of at least two different runs")
    mean, deviation = float(values.mean()), float(values.std())
    return Gate(round(min(mean + deviation, 1.0), 3), round(min(2 * deviation, 1.0), 3))


def measured(model: str, cases: int) -> list[float]:
    """Mean indicator of a model's runs on the first validation cases, gate open."""
    backend = open_backend(model)
    advice = replace(backend.parts.recommended, gate=Gate())
    runs = []
    for case in render_cases("normal", "val", cases):
        calls = sample(METHODS["normal"], case, backend, advice).trace.calls
        seen = [float(c.indicator.nanmean()) for c in calls if c.indicator is not None]
        runs.append(sum(seen) / len(seen))
    return runs


def reported(paths: Sequence[Path]) -> list[float]:
    """Mean indicator of each picture of some reports; a report without modulation adds none."""
    runs = []
    for path in paths:
        calls = json.loads(path.read_text(encoding="utf-8"))["run"]["calls"]
        tables = [c["indicator"] for c in calls if "indicator" in c]
        for image in range(min((len(t) for t in tables), default=0)):
            seen = [v for t in tables for v in t[image] if v is not None]
            if seen:
                runs.append(sum(seen) / len(seen))
    return runs


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.calibrate", description=__doc__)
    parser.add_argument("--model", default="demo", help="a model of the demo world (default: demo)")
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--report", type=Path, action="append", default=[], metavar="FILE.json",
                        help="of a run with modulation.threshold=0 (repeatable)")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    runs = reported(args.report) if args.report else measured(args.model, args.cases)
    gate = gate_of(runs)
    print(f"{len(runs)} runs, indicator {sum(runs) / len(runs):.3f}; for the model's sow.json:")
    print(json.dumps({"gate": {"threshold": gate.threshold, "width": gate.width}}))


if __name__ == "__main__":
    main()
