"""Turns that a match guides: which gradient it is, and a history that is made again bit for bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from unit.retrieval.test_clip_encoder import clip  # noqa: F401
from unit.turns.known import KnownBackend

from sow_core.errors import SowError
from sow_core.method.box import Box
from sow_core.method.steering import Steering
from sow_core.turns import state as S
from sow_core.turns.match import ClipMatch, open_match
from sow_core.turns.match_net import DemoMatch
from sow_core.turns.painting import EditOptions, laid_back, make_canvas
from sow_core.turns.resolve import Turn
from sow_core.turns.session import Wanted, edit, replay, start
from sow_core.turns.steering import Guide, toward
from sow_core.turns.things import Thing
from sow_core.turns.window import Window

PROMPT = "a red cube and a blue cube on a gray floor"
TOLD = "a red cube on a gray floor"
THINGS = (Thing("red cube", Box(4, 20, 24, 24)), Thing("blue cube", Box(60, 24, 24, 24)))
TURN = Turn("add a blue cube right of the red cube", (Box(32, 16, 32, 32),), PROMPT, (), told=TOLD)
WORDS = "make the red cube yellow"


def pictures(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=["demo", "clip"])
def match(request, clip):  # noqa: F811
    return DemoMatch.load() if request.param == "demo" else ClipMatch(clip)


def test_the_likeness_is_the_score_and_has_a_gradient(match):
    before, *after = pictures(3)
    after = torch.stack(after).requires_grad_(True)
    value = match.likeness(before, TURN)(after)
    scores = match.scores(before, TURN, after)
    assert torch.equal(value.detach(), scores) and not scores.requires_grad
    (gradient,) = torch.autograd.grad(value.sum(), after)
    assert gradient.flatten(1).any(dim=1).all()


@pytest.mark.parametrize("window", [None, Window(Box(24, 8, 60, 48), (96, 64))])
def test_a_step_along_the_gradient_raises_the_score_of_the_finished_picture(match, window):
    before, options = pictures(1)[0], EditOptions(feather=4)
    crop = None if window is None else lambda region: window
    canvas, backend = make_canvas(before, TURN, options, crop=crop), KnownBackend()
    x0 = 0.3 * torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(1))
    guide = Guide(match, Steering(0.1))
    with torch.no_grad():
        gradient = toward(backend, canvas, TURN, guide, options.feather)(x0)
    length = gradient.square().mean((1, 2, 3), keepdim=True).sqrt()

    def score(latents):
        return match.scores(before, TURN, laid_back(canvas, backend.decode(latents), options.feather))

    step = 0.002 * gradient / length
    assert (score(x0 + step) > score(x0)).all() and (score(x0) > score(x0 - step)).all()
    near = torch.nn.functional.max_pool2d(canvas.open[None], 1 if window is None else 5, 1, 0 if window is None else 2)
    cells = torch.nn.functional.adaptive_max_pool2d(near, (8, 12))[0]  # resizing reaches 2 px beyond
    assert not gradient[:, :, cells == 0].any(), "what is laid back anyway has no share"


@pytest.fixture
def path(tmp_path, model, image):
    made = tmp_path / "room.turns.json"
    start(made, model, image=image, prompt=PROMPT, things=THINGS)
    return made


def test_off_is_what_it_was_before(path, model):
    state, plain = edit(path, model, Wanted(WORDS, seed=3))
    assert (state.now.steering, state.now.match) == ({}, "none")
    S.write_state(path, replace(state, current=0))
    state, off = edit(path, model, Wanted(WORDS, seed=3, match=DemoMatch.load(), match_guidance=0.0))
    assert off == plain and (state.now.steering, state.now.match) == ({}, "none")
    S.write_state(path, replace(state, current=0))
    state, on = edit(path, model, Wanted(WORDS, seed=3, match=DemoMatch.load(), match_guidance=0.1))
    assert on != plain and state.now.match == "demo" and state.now.steering["strength"] == 0.1


@pytest.mark.parametrize("candidates", [1, 2])
def test_a_guided_history_is_made_again_bit_for_bit(path, model, clip, candidates):  # noqa: F811
    folder = str(clip)
    edit(path, model, Wanted(WORDS, candidates=candidates, match=open_match(folder), match_guidance=0.2))
    edit(path, model, Wanted("remove the blue cube", candidates=candidates, match=DemoMatch.load(), match_guidance=0.3))
    edit(path, model, Wanted("add a green cube right of the yellow cube"))
    state = S.read_state(path)
    assert [t.match for t in state.turns] == ["none", folder, "demo", "none"]
    assert [same for _, _, same in replay(path, state, model)] == [True] * 4
    weaker = replace(state.turns[2], steering={**state.turns[2].steering, "strength": 0.1})
    other = replace(state, turns=(*state.turns[:2], weaker, state.turns[3]))
    assert [same for _, _, same in replay(path, other, model)] == [True, True, False, True]


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"match": "gone/clip"}, "No CLIP model in gone/clip"), ({"match": "own"}, "'own' guides nothing"),
     ({"steering": {"strength": -1.0}}, "strength -1"), ({"steering": {"strong": 1.0}}, "strong")],
)  # fmt: skip
def test_a_guide_that_is_gone_is_one_line_before_anything_is_painted(path, model, changes, words):
    edit(path, model, Wanted(WORDS, match=DemoMatch.load(), match_guidance=0.1))
    state = S.read_state(path)
    state = replace(state, turns=(state.turns[0], replace(state.turns[1], **changes)))
    calls = len(model.backend.calls)
    with pytest.raises(SowError) as error:
        replay(path, state, model)
    assert str(error.value).startswith("Turn 1 was guided by a match") and words in str(error.value)
    assert "\n" not in str(error.value) and len(model.backend.calls) == calls


@pytest.mark.parametrize(
    ("values", "words"),
    [({"match_guidance": 0.1}, "needs --match demo or a CLIP folder"), ({"match_guidance": -0.1}, "expected 0"),
     ({"match_guidance": float("nan")}, "expected 0"), ({"match_guidance": 10.5}, "expected 0")],
)  # fmt: skip
def test_a_wish_that_cannot_be_met(values, words):
    with pytest.raises(SowError, match="--match-guidance") as error:
        Wanted(WORDS, **values)
    assert words in str(error.value)
