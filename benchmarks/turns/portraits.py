"""Portraits changed by an instruction: does the attribute change, and does the rest stay?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from sow_core.errors import SowError
from sow_core.method.box import Box
from sow_core.turns import grounding
from sow_core.turns.presets import edit_config, edit_options
from sow_core.turns.resolve import Scene, resolve
from sow_core.turns.session import painted
from sow_core.turns.things import Thing
from tools.demo_model import world
from tools.demo_model.attributes import sample_portrait
from tools.demo_model.captions import portrait_caption
from tools.demo_model.figure import boxes

from .methods import as_tensor

if TYPE_CHECKING:
    from .running import Bench

FIRST = {"val": world.VALIDATION[50_000], "test": world.HELD_OUT[820_000]}
METHODS = ("portrait", "portrait_given", "portrait_regenerate")
"""Regions by the model's attention; true boxes; text to image from the new prompt."""
EDITS = (
    ("make the hair blond", "hair_color", "blond"),
    ("add glasses", "glasses", "glasses"),
    ("change the background to a forest", "background", "forest"),
)


def measure(bench: Bench, seed: int, method: str) -> dict[str, Any]:
    """Every edit on one portrait, each from the true picture."""
    rng = world.rng_of(seed, 0)
    fixed = {"hair_color": "brown", "hair_style": "long", "glasses": "none", "hat": "none", "style": "photo"}
    p = sample_portrait(rng, **fixed)
    if p.background == "forest":
        p = sample_portrait(world.rng_of(seed, 0), **fixed, background="beach")
    image, _ = world.draw_portrait(p)
    picture, told = as_tensor(image), portrait_caption(p)
    true = {k: _box(v) for k, v in boxes(p).items()}
    options = edit_options(bench.recommended, (128, 128), None, None)
    config = edit_config(bench.recommended, bench.settings)
    turns, strip = [], [picture]
    for text, name, value in EDITS:
        things = (
            (Thing("face", true["face"]), Thing("hair", true["hair"])) if method == "portrait_given" else ()
        )
        if method == "portrait_given" and name == "background":
            things = (*things, Thing("body", true["body"]))
        row: dict[str, Any] = {"instruction": text, "attribute": name}
        made = picture
        try:
            made, row["drift"] = _edited(
                bench, picture, Scene((128, 128), told, things), text, method, config, options, seed
            )
        except SowError as error:
            row["failed"] = str(error)
        strip.append(made)
        turns.append(row | _judged(bench, picture, made, name, value))
    bench.save_strip(f"portrait_{seed}_{method}", strip)
    return {"kind": "portrait", "method": method, "seed": seed, "turns": turns}


def _edited(
    bench: Bench,
    picture: torch.Tensor,
    scene: Scene,
    text: str,
    method: str,
    config: Any,
    options: Any,
    seed: int,
) -> tuple[torch.Tensor, float]:
    backend = bench.backend
    turn = resolve(text, scene, locate=lambda word: grounding.locate(backend, picture, scene.prompt, word))
    if method == "portrait_regenerate":
        from benchmarks.quality.peers import blank_layout
        from sow_core.backends.painting import paint
        from sow_core.turns.presets import text_plan

        backend.set_prompts({"positive": turn.prompt, "negative": options.negative})
        made = paint(text_plan(config), backend, blank_layout(128), [seed]).images[0]
        return made, float((made - picture).abs().max())
    images, canvas = painted(backend, picture, turn, None, config, options, [seed])
    return images[0], float(((images[0] - picture).abs() * (1.0 - canvas.free)).max())


def _judged(bench: Bench, before: torch.Tensor, after: torch.Tensor, name: str, value: str) -> dict[str, Any]:
    """Whether the attribute is as asked; how many of the others stayed as the judge saw them before; likeness."""
    old, new = bench.judges.labels(torch.stack([before, after]))
    a, b = bench.judges.identity(torch.stack([before, after]))
    others = [k for k in old if k != name]
    return {
        "right": float(new[name] == value),
        "kept": sum(old[k] == new[k] for k in others) / len(others),
        "identity": float(a @ b),
        "change": float((after - before).abs().mean()),
    }


def _box(corners: Sequence[float]) -> Box:
    x0, y0, x1, y1 = (round(v) for v in corners)
    return Box(x0, y0, x1 - x0, y1 - y0).clip(128, 128)
