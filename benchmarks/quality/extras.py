"""The toy experiment and the attention maps of the page: `python -m benchmarks.quality.extras`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from sow_core.backends.diffusers import DiffusersBackend
from sow_core.backends.painting import paint
from sow_core.files import atomic_write
from sow_core.method.advice import Advice
from sow_core.method.condition import to_picture
from sow_core.pictures.sheet import contact_sheet
from sow_core.settings import png_bytes

from . import mass, peers, toy
from .cases import SIZE, Case, render_cases
from .methods import GUIDANCE, METHODS
from .publish import DOCS, RESULTS, write_page


def text_to_image(backend: DiffusersBackend, prompt: str, seed: int, guidance: float) -> torch.Tensor:
    """One picture [3, SIZE, SIZE] by plain sampling."""
    backend.set_prompts({"positive": prompt, "negative": ""})
    plan = peers.text_to_image(toy.STEPS, guidance, "empty")
    return paint(plan, backend, peers.blank_layout(SIZE), [seed]).images[0]


def toy_experiment(backend: DiffusersBackend, pairs: int, guidance: float) -> tuple[dict[str, Any], Image.Image]:
    """The distances of all flows and levels, mean over pairs, and a sheet of the first pair's pictures."""
    prompts = ("a photo of a smiling man wearing a blue suit on a beach",
               "a photo of a woman wearing a red dress in a forest")  # fmt: skip
    both = "a photo of a person"
    schedule = backend.schedule(toy.STEPS)
    sums = {f.name: [{"left": 0.0, "right": 0.0} for _ in toy.LEVELS] for f in toy.FLOWS}
    tiles: list[tuple[str, Image.Image]] = []
    for pair in range(pairs):
        left, right = (text_to_image(backend, p, 900 + 2 * pair + n, guidance) for n, p in enumerate(prompts))
        if pair == 0:
            tiles += [("left", to_picture(left)), ("right", to_picture(right))]
            tiles += [("", Image.new("RGB", (128, 128), "white"))] * (len(toy.FLOWS) - 2)
        for n, level in enumerate(toy.LEVELS):
            a, b = (toy.invert(backend, x, p, level) for x, p in zip((left, right), prompts, strict=True))
            for flow in toy.FLOWS:
                image = toy.meet(backend, a, b, both, level, flow)
                for side, value in toy.distances(image, left, right).items():
                    sums[flow.name][n][side] += value / pairs
                if pair == 0:
                    tiles.append((f"{flow.name}, t {schedule.t[level]:.0f}", to_picture(image)))
    rounded = {k: [{s: round(x, 5) for s, x in v.items()} for v in values] for k, values in sums.items()}
    told = {"pairs": pairs, "times": [round(schedule.t[level]) for level in toy.LEVELS], "distances": rounded}
    return told, contact_sheet(tiles, 160, len(toy.FLOWS))


def attention_maps(
    backend: DiffusersBackend, cases: Sequence[Case], advice: Advice
) -> tuple[dict[str, Any], Image.Image]:
    """The maps of every cycle of `normal`, and a sheet of some."""
    method = METHODS["normal"]
    runs = [(c, mass.masses(method, c, backend, advice)) for c in cases]
    sheet = mass.mass_sheet(runs, method, advice)
    return {"cases": [{"case": r["case"], "maps": r["maps"]} for _, r in runs]}, sheet


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.extras", description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--cases", type=int, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--docs", type=Path, default=DOCS)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    backend = DiffusersBackend.load(args.model)
    advice = backend.parts.recommended
    args.results.mkdir(parents=True, exist_ok=True)
    (args.docs / "results").mkdir(parents=True, exist_ok=True)
    values, sheet = toy_experiment(backend, args.pairs, advice.guidance or GUIDANCE)
    atomic_write(args.results / "toy.json", json.dumps(values, indent=1) + "\n")
    atomic_write(args.docs / "results" / "toy.png", png_bytes(sheet))
    values, sheet = attention_maps(backend, render_cases("normal", "test", args.cases), advice)
    atomic_write(args.results / "masses.json", json.dumps(values) + "\n")
    atomic_write(args.docs / "results" / "masses.png", png_bytes(sheet))
    write_page(args.results, args.docs)


if __name__ == "__main__":
    main()
