"""The model as the judge of its own candidates: the arithmetic on a known denoiser, the choice on the demo model."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gaussian import GaussianBackend

from sow_core.errors import SowError
from sow_core.method.advice import Advice
from sow_core.method.box import Box
from sow_core.turns.own_match import (
    ENOUGH,
    FLOOR,
    LEVELS,
    MOST,
    STEPS,
    OwnMatch,
    calls_of,
    mixtures,
    noise_errors,
    rivals,
    row_names,
)
from sow_core.turns.painting import Canvas
from sow_core.turns.resolve import Turn
from sow_core.turns.things import Thing
from sow_core.turns.window import Window

WHOLE = Window.whole((64, 64))
TOLD = "a blue ball on a gray floor"
ASKED = "a blue ball and a red cube on a gray floor"
TURN = Turn("add a red cube", (Box(0, 0, 32, 32),), ASKED,
            (Thing("blue ball", Box(40, 0, 20, 20)), Thing("red cube", Box(0, 0, 9, 9))), fresh="red cube")  # fmt: skip


class Shown(GaussianBackend):
    """Every prompt means a picture of one gray, which the denoiser expects exactly."""

    def __init__(self, grays: dict[str, float]) -> None:
        super().__init__(std=0.0)
        self.parts = SimpleNamespace(recommended=Advice())
        self.grays = grays

    def set_prompts(self, prompts: dict[str, str]) -> None:
        self.means = {row: self.grays[text] for row, text in prompts.items()}


def test_a_thing_is_mixed_up_with_its_neighbours():
    assert mixtures("red cube", "blue ball") == ["blue ball", "blue cube", "red ball"]
    assert mixtures("hat", "red cube") == ["red cube", "red hat", "cube"]
    told = rivals(ASKED, TOLD, TURN)
    assert told[0] == TOLD and "a blue ball and a blue cube on a gray floor" in told and ASKED not in told
    assert rivals(ASKED, "", TURN)[0] == TOLD, "what was hidden from the model is not in the prompt before"


def test_there_are_never_more_rivals_than_are_worth_it():
    things = tuple(Thing(f"{q} {kind}") for q in ("big", "old", "new") for kind in ("cat", "dog", "cow"))
    prompt = ", ".join(f"a {t.name}" for t in things) + " and a red cube"
    turn = Turn("add a red cube", (), prompt, (*things, Thing("red cube")), fresh="red cube")
    assert len(rivals(prompt, TOLD, turn)) == MOST


@pytest.mark.parametrize("turn", [Turn("remove it", (), TOLD, ()), Turn("do as I say", (), ASKED, ())])
def test_nothing_new_is_compared_with_what_was_told_before(turn):
    assert rivals(turn.prompt, "a cat", turn) == ("a cat",)
    assert rivals(turn.prompt, "", turn) == rivals(turn.prompt, turn.prompt, turn) == ()


def test_the_score_is_the_formula_and_the_picture_that_was_asked_for_wins():
    free = torch.zeros(64, 64)
    free[:32, :32] = 1
    before = torch.full((3, 64, 64), 0.5)
    grays = dict.fromkeys(rivals(ASKED, TOLD, TURN), 0.7) | {TOLD: 0.0, ASKED: 0.4}
    backend = Shown(grays)
    own = OwnMatch.of(backend, Canvas(before, free, before, ASKED, TURN.regions, WHOLE, TOLD))  # type: ignore[arg-type]

    def painted(gray: float) -> torch.Tensor:
        return torch.where(free > 0, torch.full_like(before, gray / 2 + 0.5), torch.rand(3, 64, 64))

    after = torch.stack([painted(gray) for gray in (0.6, 0.4, 0.1, 0.45)])
    scores = own.scores(before, TURN, torch.where(free > 0, after, before))
    assert scores.argmax() == 1
    # A gray that is d beside another is expected with an error of unit d^2.
    schedule = backend.schedule(STEPS)
    unit = sum((schedule.a[k] / schedule.b[k]) ** 2 for k in LEVELS) / len(LEVELS)
    pairs = ((0.04, 0.01), (0.0, 0.09), (0.09, 0.01), (0.0025, 0.0625))  # to the asked gray, to the nearest other
    expected = [unit * (near - asked) / (unit * near + FLOOR) for asked, near in pairs]
    assert np.allclose(scores, expected, rtol=1e-3, atol=1e-5)
    assert scores[1] >= own.enough > scores[0]


def test_a_model_says_from_which_score_it_is_believed():
    backend = Shown({})
    assert OwnMatch.of(backend, None).enough == ENOUGH  # type: ignore[arg-type]
    backend.parts = SimpleNamespace(recommended=Advice(believed=0.05))
    assert OwnMatch.of(backend, None).enough == 0.05  # type: ignore[arg-type]
    with pytest.raises(SowError, match="Bad believed 2"):
        Advice(believed=2)


def test_neighbours_are_compared_with_first():
    far, new, near = (Thing(n, Box(x, x, 9, 9)) for n, x in (("old cat", 90), ("red cube", 0), ("big dog", 9)))
    things = (far, new, near, Thing("lamp"))
    turn = Turn("add a red cube", (), "x", things, fresh="red cube")
    told = rivals("an old cat, a big dog, a lamp and a red cube", TOLD, turn)
    assert told == (TOLD, *(f"an old cat, a big dog, a lamp and a {mixed}" for mixed in (
        "big dog", "big cube", "red dog", "old cat", "old cube")))  # fmt: skip


def test_the_error_is_that_of_the_noise_on_the_cells_that_are_free():
    free = torch.zeros(64, 64)
    free[:32, :32] = 1
    backend, calls = Shown({"asked": 0.4}), []
    backend.set_prompts(row_names(["asked"]))
    z = torch.rand(2, 4, 8, 8)
    z[:, :, :4, :4] = torch.tensor([0.6, 0.4])[:, None, None, None]
    found = noise_errors(backend, z, free, ["rival 0"], lambda: calls.append(1))  # type: ignore[arg-type]
    # Two grays differ by d: the noise is wrong by a d / b.
    schedule = backend.schedule(STEPS)
    unit = sum((schedule.a[k] / schedule.b[k]) ** 2 for k in LEVELS) / len(LEVELS)
    assert np.allclose(found, [[unit * 0.04, 0.0]], atol=1e-5) and len(calls) == calls_of(["asked"])


def test_with_nothing_to_compare_the_smaller_error_wins_and_is_believed():
    before, free = torch.full((3, 64, 64), 0.5), torch.ones(64, 64)
    own = OwnMatch.of(Shown({ASKED: 0.4}), Canvas(before, free, before, ASKED, (), WHOLE))  # type: ignore[arg-type]
    after = torch.stack([torch.full_like(before, gray / 2 + 0.5) for gray in (0.5, 0.4)])
    scores = own.scores(before, Turn("as I say", (), ASKED, ()), after)
    assert scores[1] > scores[0] >= own.enough


def test_of_a_large_picture_it_looks_at_the_window_alone():
    before, after = torch.full((3, 64, 64), 0.5), torch.rand(2, 3, 64, 64)
    free, noise = torch.zeros(64, 64), torch.rand(3, 160, 128)
    free[:32, :32] = 1

    def embedded(part: torch.Tensor) -> torch.Tensor:
        whole = noise[: part.shape[-3]].clone() if part.ndim > 2 else torch.zeros(160, 128)
        whole = whole.expand(*part.shape[:-3], *whole.shape).clone() if part.ndim > 3 else whole
        whole[..., 40:104, 16:80] = part
        return whole

    window = Window(Box(16, 40, 64, 64), (64, 64))
    canvases = (Canvas(before, free, before, ASKED, (), WHOLE, TOLD),
                Canvas(embedded(before), embedded(free), before, ASKED, (), window, TOLD))  # fmt: skip
    grays = dict.fromkeys(rivals(ASKED, TOLD, TURN), 0.7) | {TOLD: 0.0, ASKED: 0.4}
    small, large = (OwnMatch.of(Shown(grays), c) for c in canvases)  # type: ignore[arg-type]
    scores = small.scores(before, TURN, after)
    assert torch.equal(scores, large.scores(embedded(before), TURN, embedded(after))) and scores[0] != scores[1]


def test_the_demo_model_knows_its_colours_and_shapes():
    """A true picture against the same with another colour or shape in its place."""
    from dataclasses import replace

    from sow_core.backends.diffusers import DiffusersBackend
    from tools.demo_model import edits, world
    from tools.demo_model.captions import cube_caption

    backend, right = DiffusersBackend.load("demo"), 0
    for seed in range(5):
        old, new = edits.sample_scene(np.random.default_rng([world.VALIDATION[70_000] + seed, 3]), 2)
        changes = ({"color": old.color}, {"shape": old.shape})
        wrong = replace(new, **changes[(new.shape != old.shape) * (seed % 2)])
        if wrong == new:
            wrong = replace(new, **changes[1])
        x0, y0, x1, y1 = (round(v) for v in new.box)
        region = Box(x0 - 4, y0 - 4, x1 - x0 + 8, y1 - y0 + 8).clip(128, 128)
        free = torch.zeros(128, 128)
        free[region.y : region.bottom, region.x : region.right] = 1
        before, good, bad = (
            torch.from_numpy(world.draw_cubes(scene).copy()).permute(2, 0, 1).float() / 255
            for scene in ((old,), (old, new), (old, wrong))
        )
        prompt, told = cube_caption((old, new)), cube_caption((old,))
        turn = Turn("add it", (region,), prompt, (Thing(old.name), Thing(new.name)), fresh=new.name)
        own = OwnMatch.of(backend, Canvas(before, free, before, prompt, (region,), Window.whole((128, 128)), told))
        right += int(own.scores(before, turn, torch.stack([bad, good])).argmax())
    assert right >= 4
