"""Whole runs: presets against plain sampling and the predecessor's own code; batches, cycles, sizes, shares."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sow_core.backends.diffusers import DiffusersBackend
from sow_core.backends.painting import paint
from sow_core.method.box import CELL, Box
from sow_core.method.condition import Condition, Layout, make_layout, to_tensor
from sow_core.method.config import SowConfig
from sow_core.method.plan import build_plan
from sow_core.method.presets import preset
from sow_core.method.schedule import ddim_step
from tests.peer.scene import PROMPTS, picture_and_mask

from .timing import alternate

STEPS = 25
"""Of plain sampling: what users run today."""


def backend_for(model: str | Path, device: str) -> DiffusersBackend:
    backend = DiffusersBackend.load(model, device=device)
    backend.set_prompts(PROMPTS)
    return backend


def layout_for(side: int) -> Layout:
    """Half the canvas wide, in the upper middle; the body below is related to it."""
    half = side // 2
    picture, keep = picture_and_mask(half)
    body = Box(side // 8, half + side // 8, side // 4 * 3, side // 8 * 3)
    condition = Condition(to_tensor(picture), to_tensor(keep), Box(side // 4, side // 8, half, half), (body,))
    return make_layout([condition], side, side)


def plain(backend: DiffusersBackend, side: int, count: int = 1, steps: int = STEPS) -> torch.Tensor:
    """Text-to-image without any of ours: DDIM with guidance, decoded."""
    schedule = backend.schedule(steps)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 4, side // CELL, side // CELL, generator=generator).to(backend.device)
    for level in range(steps, 0, -1):
        negative, positive = backend.predict(x, schedule, level, ("negative", "positive"))
        x = ddim_step(x, negative + 7.5 * (positive - negative), schedule, level, level - 1)
    return backend.decode(x)


def sow(backend: DiffusersBackend, layout: Layout, config: SowConfig, count: int = 1) -> Any:
    return paint(build_plan(config), backend, layout, list(range(count)))


def official(peer: Path, model: Path, side: int = 512) -> Callable[[], None]:
    """The predecessor's own code on the same picture; its canvas is 512 px, always."""
    from tests.peer.cow_trace import load_pipeline

    pipe = load_pipeline(peer, model)
    picture, keep = picture_and_mask(side // 2)
    mask = keep.point(lambda v: 255 - v).convert("RGB")

    def run() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            pipe(PROMPTS["positive"], generator=torch.Generator().manual_seed(0), image=picture, mask_image=mask,
                 num_inference_steps=10, seed_size=side // 2, x_offset=side // 4, y_offset=side // 8)

    return run


def presets(model: Path, device: str, rounds: int, peer: Path | None, side: int = 512) -> dict[str, Any]:
    """Seconds per picture of every way, text encoding included."""
    backend, layout = backend_for(model, device), layout_for(side)

    def one(config: SowConfig) -> Callable[[], Any]:
        def run() -> None:
            backend.set_prompts(PROMPTS)  # encoded anew, as for a first picture
            sow(backend, layout, config)

        return run

    ways: dict[str, Callable[[], Any]] = {}
    if peer is not None:
        ways["official COW code"] = official(peer, model)
    for name in ("cow_official", "normal", "fast"):
        ways[f"ours, {name}"] = one(preset(name))
    ways["ours, normal without modulation"] = one(replace(preset("normal"), modulation=None))
    ways[f"plain text-to-image, {STEPS} steps"] = lambda: plain(backend, side)
    times = alternate(ways, rounds, device)
    print(f"one picture at {side} px, against {times.reference}:", flush=True)
    for name in ways:
        print(f"  {name:<36}{times.median(name):8.2f} s  {1 / times.ratio(name):6.2f} times as fast", flush=True)
    return {"side": side, "reference": times.reference, "ways": times.as_dict()}


def batches(model: str | Path, device: str, rounds: int, side: int, counts: tuple[int, ...]) -> list[dict[str, Any]]:
    """Cost per picture against the number of pictures in one run, over a single one's."""
    backend, layout = backend_for(model, device), layout_for(side)
    ways = {str(n): (lambda n=n: sow(backend, layout, preset("normal"), n)) for n in counts}
    times = alternate(ways, rounds, device)
    results = [
        {"count": n, "s_per_picture": round(times.median(str(n)) / n, 4), "ratio": round(times.ratio(str(n)) / n, 4)}
        for n in counts
    ]
    for r in results:
        print(f"  {r['count']} at once: {r['s_per_picture']:.3f} s each, {r['ratio']:.2f}x of one alone", flush=True)
    return results


def cycles(model: str | Path, device: str, rounds: int, side: int, counts: tuple[int, ...]) -> list[dict[str, Any]]:
    """Seconds against cycles, and the plan's rows beside them."""
    backend, layout = backend_for(model, device), layout_for(side)
    configs = {n: replace(preset("normal"), cycles=n) for n in counts}
    times = alternate({str(n): (lambda c=c: sow(backend, layout, c)) for n, c in configs.items()}, rounds, device)
    return [{"cycles": n, "rows": build_plan(c).cost.rows, "median_s": round(times.median(str(n)), 4)}
            for n, c in configs.items()]


def sizes(model: Path, device: str, rounds: int, sides: tuple[int, ...]) -> list[dict[str, Any]]:
    """SOW against plain sampling with as many rows, per canvas size: the method's overhead beyond its calls."""
    results = []
    for side in sides:
        backend, layout = backend_for(model, device), layout_for(side)
        cost = build_plan(preset("normal")).cost
        ways: dict[str, Callable[[], Any]] = {
            "plain": lambda b=backend, s=side: plain(b, s),
            "sow": lambda b=backend, y=layout: sow(b, y, preset("normal")),
        }
        times = alternate(ways, rounds, device)
        per_row = times.ratio("sow") * 2 * STEPS / cost.rows
        seconds = {f"{way}_s": round(times.median(way), 4) for way in ways}
        results.append({"side": side, **seconds, "cost_per_row_over_plain": round(per_row, 4)})
        print(f"  {side} px: {times.median('sow'):.2f} s, {per_row:.2f}x plain sampling's cost per row", flush=True)
    return results


def shares(model: str | Path, device: str, side: int) -> dict[str, float]:
    """Where a run's seconds go: text encoder, VAE encoding and decoding, inversion, cycle, refine."""
    backend, layout = backend_for(model, device), layout_for(side)
    sow(backend, layout, preset("normal"))
    backend.set_prompts(PROMPTS)
    started = time.perf_counter()
    backend._batch(("positive", "negative"), 1)  # what the first call would encode
    seconds = {"text": time.perf_counter() - started}
    seconds |= sow(backend, layout, preset("normal")).trace.seconds
    total = sum(seconds.values())
    return {name: round(value / total, 4) for name, value in seconds.items()}
