"""What is compared: a method makes the picture after an instruction from the picture before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.quality import peers
from sow_core.backends.painting import paint
from sow_core.method.box import Box
from sow_core.method.config import SowConfig
from sow_core.method.steering import Steering
from sow_core.turns.match import GuidingMatch, Match
from sow_core.turns.own_match import OwnMatch
from sow_core.turns.painting import Canvas, EditOptions, make_canvas, make_edit_layout, measured
from sow_core.turns.presets import text_plan
from sow_core.turns.resolve import Scene, Turn, elsewhere, resolve
from sow_core.turns.rounds import best_round
from sow_core.turns.session import painted
from sow_core.turns.steering import Guide


@dataclass(frozen=True)
class Method:
    """about: one line for the report; how: "turn" (ours), "replacement", "sdedit" or "text"; words: of the
    instructions; given: true regions instead of found ones; candidates: chosen by the model itself (match "own") or
    by the learned match ("demo"); retries: see `turns.rounds`. guidance: strength at which the learned match guides the
    painting.
    """

    name: str
    about: str
    how: str = "turn"
    words: str = "full"
    given: bool = False
    candidates: int = 1
    match: str = "own"
    retries: int = 0
    changes: tuple[str, ...] = field(default=())
    guidance: float = 0.0


GUIDANCE = 0.3
"""Strength of the row `guided`."""

METHODS = {
    m.name: m
    for m in (
        Method("given", "a turn, true regions", given=True),
        Method("found", "a turn, regions found from full instructions"),
        Method("short", "a turn, regions found from an instruction with one relation", words="short"),
        Method("given_own", "true regions, the best of 4 candidates by the model itself", given=True, candidates=4),
        Method("own", "found, the best of 4 candidates by the model itself", candidates=4),
        Method(
            "given_retry",
            "true regions, the best of 2, again up to twice where its own check fails",
            given=True,
            candidates=2,
            retries=2,
        ),
        Method(
            "retry",
            "found, the best of 2, again elsewhere up to twice where its own check fails",
            candidates=2,
            retries=2,
        ),
        Method("match", "found, the best of 4 candidates by the learned match", candidates=4, match="demo"),
        Method("guided", "true regions, guided by the learned match", given=True, match="demo", guidance=GUIDANCE),
        Method(
            "latent_mask",
            "replacement in the latents, true regions, nothing laid back",
            "replacement",
            given=True,
        ),
        Method("sdedit", "SDEdit of the picture before, strength .7, full prompt", "sdedit"),
        Method("regenerate", "text to image from the full prompt each time", "text"),
    )
}


@dataclass
class Step:
    """A picture after one turn and what is known of it."""

    picture: Tensor
    scene: Scene
    turn: Turn
    free: Tensor
    drift: float
    """Largest difference (0..1) to the picture before outside the region."""
    tried: Tensor | None = None
    """All candidates [N, 3, H, W], of every round."""
    rounds: int = 1


def step(
    method: Method,
    backend: Any,
    before: Tensor,
    scene: Scene,
    text: str,
    regions: Sequence[Box],
    config: SowConfig,
    options: EditOptions,
    seed: int,
    learned: GuidingMatch | None,
) -> Step:
    """One turn of a method. Raises SowError where the instruction means nothing in the scene."""
    turn = resolve(text, scene, regions if method.given else ())
    tried, rounds = None, 1
    if method.how == "turn":
        seeds = [seed + 1000 * n for n in range(method.candidates)]
        guide = None
        if method.guidance:
            assert learned is not None
            guide = Guide(learned, Steering(method.guidance))

        def painting(turn: Turn, seeds: Sequence[int]) -> tuple[Tensor, Canvas]:
            return painted(backend, before, turn, None, config, options, seeds, guide=guide)

        def judge(canvas: Canvas) -> Match:
            return learned if learned and method.match == "demo" else OwnMatch.of(backend, canvas)

        def moved(turn: Turn, tried: Sequence[Turn]) -> Turn:
            return elsewhere(turn, scene, tried)

        found = best_round(turn, painting, judge, seeds, method.retries, moved)
        picture, canvas = found.images[found.best], found.canvas
        turn, rounds = measured(found.turn, canvas, picture), 1 + len(found.earlier)
        if found.scores:
            tried = torch.cat([r.images for r in (*found.earlier, found)])
    else:
        canvas = make_canvas(before, turn, options)
        plans = {
            "replacement": lambda: peers.replacement(config.steps, config.guidance),
            "sdedit": lambda: peers.sdedit(config.steps, 7, config.guidance),
            "text": lambda: text_plan(config),
        }
        shown = replace(canvas, shown=before, prompt=turn.prompt)
        backend.set_prompts({"positive": turn.prompt, "negative": options.negative})
        # As others do it: the picture is encoded as it is. SDEdit starts from all of it.
        layout = make_edit_layout(shown, replace(config, fill="keep"))
        if method.how == "sdedit":
            layout = replace(layout, canvas=before, fill="gray")
        picture = paint(plans[method.how](), backend, layout, [seed]).images[0]
    drift = float(((picture - before).abs() * (1.0 - canvas.free)).max())
    return Step(picture, Scene(scene.frame, turn.prompt, turn.things), turn, canvas.free, drift, tried, rounds)


def as_tensor(image: Any) -> Tensor:
    """uint8 [h, w, 3] -> [3, h, w] in 0..1."""
    return torch.from_numpy(image.copy()).float().permute(2, 0, 1) / 255
