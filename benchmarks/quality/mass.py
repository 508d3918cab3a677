"""How much attention each place pays to the condition, cycle by cycle."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sow_core.backends.base import ModelBackend
from sow_core.method.advice import Advice
from sow_core.method.condition import to_picture
from sow_core.pictures.sheet import contact_sheet

from .cases import Case
from .methods import Method
from .running import layout_of, sample

SHOWN = (0, 1, 2, 4, 6, 9)
"""Cycles in the sheet."""


def masses(method: Method, case: Case, backend: ModelBackend, advice: Advice) -> dict[str, Any]:
    """{"case", "maps": one [h][w] per cycle, mean over its calls, heads and layers, "image": the result}."""
    result = sample(method, case, backend, advice)
    by_cycle: dict[int, list[Tensor]] = defaultdict(list)
    for cycle, mass in result.trace.masses:
        by_cycle[cycle].append(mass[0])
    maps = [torch.stack(by_cycle[c]).mean(0) for c in sorted(by_cycle)]
    return {"case": case.id, "maps": [[[round(v, 4) for v in row] for row in m.tolist()] for m in maps],
            "image": result.images[0]}  # fmt: skip


def mass_sheet(runs: list[tuple[Case, dict[str, Any]]], method: Method, advice: Advice) -> Image.Image:
    """A row per case: the pasted canvas, the maps of some cycles (white: the row's highest value), the result."""
    tiles: list[tuple[str, Image.Image]] = []
    columns = 0
    for case, run in runs:
        row = [(case.id, to_picture(layout_of(method, case, advice).canvas))]
        cycles = [c for c in SHOWN if c < len(run["maps"])]
        brightest = float(torch.tensor(run["maps"]).max())
        for cycle in cycles:
            picture = to_picture((torch.tensor(run["maps"][cycle]) / brightest).sqrt())
            row.append((f"cycle {cycle + 1}", picture.resize((128, 128), Image.Resampling.NEAREST)))
        row.append(("result", to_picture(run["image"])))
        columns = len(row)
        tiles += row
    return contact_sheet(tiles, 128, columns)
