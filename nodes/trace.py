"""What a SOW_TRACE carries, and the pictures and numbers that are made of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..sow_core.errors import SowError
from ..sow_core.method.condition import Layout, to_picture
from ..sow_core.method.config import SowConfig
from ..sow_core.method.fidelity import psnr, region_error, seam_contrast
from ..sow_core.method.trace import Trace
from ..sow_core.pictures.sheet import contact_sheet
from .draw import curve, heat

MIN_TILE = 192
"""Px; smaller pictures are enlarged in sheets, or their labels would not fit."""


class RunTrace(NamedTuple):
    """One run, for the diagnostics nodes. They do the work, so a run whose trace is unused costs nothing.

    images: [N, H, W, 3]; decode: the run's VAE, latents [N, C, h, w] -> [N, H, W, 3].
    """

    trace: Trace
    config: SowConfig
    layout: Layout
    seeds: tuple[int, ...]
    images: Tensor
    decode: Callable[[Tensor], Tensor]


def chosen(run: RunTrace, image: int) -> int:
    """Raises SowError unless the run made a picture of that number (0, 1, ...)."""
    if not 0 <= image < len(run.images):
        raise SowError(f"Bad image {image}: expected 0 to {len(run.images) - 1}, the run made {len(run.images)}.")
    return image


def cycle_sheet(run: RunTrace, image: int, columns: int) -> Image.Image:
    """The canvas, the clean prediction at the end of every cycle, and the finished picture."""
    index = chosen(run, image)
    pictures = [("canvas", to_picture(run.layout.canvas))]
    ended = run.trace.previews[: run.trace.cycles[index] if run.trace.cycles else 0]
    if ended:  # in one call: the VAE may have to be brought to the GPU for it
        decoded = run.decode(torch.stack([latents[index] for latents in ended]))
        pictures += [(f"cycle {n}", to_picture(p[..., :3].movedim(-1, 0))) for n, p in enumerate(decoded, start=1)]
    pictures.append(("result", to_picture(run.images[index].movedim(-1, 0))))
    return _sheet(pictures, columns)


def _sheet(pictures: list[tuple[str, Image.Image]], columns: int) -> Image.Image:
    """Cells as large as the pictures, and large enough for their labels."""
    return contact_sheet(pictures, max(MIN_TILE, *pictures[0][1].size), min(columns, len(pictures)))


def mass_maps(run: RunTrace, image: int) -> dict[int, Tensor]:
    """Per cycle: the mean attention of every token on the conditions [h', w'], 0..1.

    Raises SowError where the run measured none.
    """
    index = chosen(run, image)
    calls = [call for call in run.trace.calls if call.phase == "cycle"]
    maps: dict[int, list[Tensor]] = {}
    if run.trace.masses:  # the layers that measure do so in every call of the cycle, or in none
        for call, (cycle, mass) in zip(calls, run.trace.masses, strict=True):
            if index in call.images:
                maps.setdefault(cycle, []).append(mass[call.images.index(index)].float())
    if not maps:
        raise SowError("This run measured no attention: raise the attention strength above 0, and the cycles.")
    return {cycle: torch.stack(found).mean(0) for cycle, found in sorted(maps.items())}


def attention_sheet(run: RunTrace, image: int, opacity: float) -> tuple[Image.Image, Tensor]:
    """Heat maps over the finished picture, one per cycle, on one scale; and the maps [cycles, H, W] in 0..1."""
    maps = mass_maps(run, image)
    peak = max(float(m.max()) for m in maps.values()) or 1.0
    base = to_picture(run.images[image].movedim(-1, 0))
    pictures, planes = [], []
    for cycle, values in maps.items():
        picture = Image.blend(base, heat(values / peak, base.size), opacity)
        pictures.append((f"cycle {cycle + 1}, peak {float(values.max()):.2f}", picture))
        planes.append(F.interpolate(values[None, None], (base.height, base.width), mode="bilinear")[0, 0] / peak)
    return _sheet(pictures, 4), torch.stack(planes).clamp(0, 1)


def metrics(run: RunTrace, image: int) -> dict[str, Any]:
    """Numbers of one picture of a run; the keys are those of `describe_metrics`."""
    index = chosen(run, image)
    made = run.images[index].movedim(-1, 0).float().cpu()
    error = region_error(made, run.layout)
    indicators = indicator_series(run, index)
    values = [v for series in indicators for v in series if v == v]
    gate = run.trace.mean_gate(index)
    calls = [call for call in run.trace.calls if not call.images or index in call.images]
    return {
        "seed": run.seeds[index],
        "model_calls": len(calls),
        "cycles": run.trace.cycles[index] if run.trace.cycles else 0,
        "seconds": {phase: round(value, 3) for phase, value in run.trace.seconds.items()},
        "kept_rmse": round(error, 4),
        "kept_psnr_db": round(min(psnr(error), 99.0), 2),
        "seam": round(seam_contrast(made, run.layout), 3),
        "indicator_mean": round(sum(values) / len(values), 4) if values else None,
        "mean_gate": None if gate is None else round(gate, 3),
    }


def indicator_series(run: RunTrace, image: int) -> list[list[float]]:
    """The indicator (Eq. 7) after every modulated call, one series per condition; NaN where there is none."""
    found = [
        [float(v) for v in call.indicator[call.images.index(image)]]
        for call in run.trace.calls
        if call.indicator is not None and image in call.images
    ]
    return [list(series) for series in zip(*found, strict=True)]


def describe_metrics(values: dict[str, Any]) -> str:
    """The numbers as lines for a person."""
    lines = [f"seed {values['seed']}: {values['model_calls']} model calls, {values['cycles']} cycles"]
    lines.append("seconds: " + ", ".join(f"{phase} {value:g}" for phase, value in values["seconds"].items()))
    lines.append(f"kept pixels: {values['kept_psnr_db']:g} dB (rms error {values['kept_rmse']:g})")
    lines.append(f"seam: {values['seam']:g} x the picture's own roughness (1 = none to see)")
    if values["indicator_mean"] is not None:
        gate = "" if values["mean_gate"] is None else f", gate {values['mean_gate']:.0%} open"
        lines.append(f"indicator: {values['indicator_mean']:g} on average{gate}")
    return "\n".join(lines)


def indicator_curve(run: RunTrace, image: int) -> Image.Image:
    """The indicator over the run's modulated calls, with the threshold."""
    series = indicator_series(run, chosen(run, image))
    modulation = run.config.modulation
    threshold = modulation.threshold if modulation and modulation.threshold else None
    names = [f"condition {i + 1}" for i in range(len(series))]
    title = "Attention near the condition (indicator)" if series else "No indicator: attention modulation was off"
    return curve(series, names, title, threshold, f"threshold {threshold:g}" if threshold else "")
