"""Painting again where the judge does not believe: when it ends, where it goes, which picture is taken."""

from __future__ import annotations

import pytest
import torch

from sow_core.errors import SowError
from sow_core.method.box import Box
from sow_core.turns.painting import EditOptions, make_canvas
from sow_core.turns.resolve import Scene, elsewhere, resolve
from sow_core.turns.rounds import best_round, check_rounds
from sow_core.turns.things import Thing

PROMPT = "a red cube and a blue sphere on a gray floor"
SCENE = Scene((128, 128), PROMPT, (Thing("red cube", Box(10, 60, 30, 30)), Thing("blue sphere", Box(80, 64, 30, 30))))
BEFORE = torch.full((3, 128, 128), 0.5)


class Known:
    """A judge whose scores are the pictures' mean colours."""

    name = "known"

    def __init__(self, enough: float | None = 0.9) -> None:
        self.enough = enough

    def scores(self, before, turn, after):
        return after.mean((1, 2, 3))


class Painted:
    """Paints one gray a seed, and remembers where."""

    def __init__(self, grays: dict[int, float]) -> None:
        self.grays, self.turns, self.seeds = grays, [], []

    def __call__(self, turn, seeds):
        self.turns.append(turn)
        self.seeds.append(tuple(seeds))
        images = torch.stack([torch.full_like(BEFORE, self.grays.get(s, 0.0)) for s in seeds])
        canvas = make_canvas(BEFORE, turn, EditOptions())
        return torch.where(canvas.free > 0, images, BEFORE), canvas


def taken(paint, seeds=(0,), retries=3, judge=None, text="add a green cube", moved=True):
    turn = resolve(text, SCENE)
    go = (lambda turn, tried: elsewhere(turn, SCENE, tried)) if moved else (lambda turn, tried: turn)
    return best_round(turn, paint, lambda canvas: judge or Region(canvas), seeds, retries, go)


class Region(Known):
    """The mean colour of what was free."""

    def __init__(self, canvas) -> None:
        super().__init__(0.8)
        self.free = canvas.free

    def scores(self, before, turn, after):
        return (after.mean(1) * self.free).sum((1, 2)) / self.free.sum()


def test_the_first_picture_that_is_believed_ends_it():
    paint = Painted({0: 0.1, 1: 0.9, 2: 1.0})
    found = taken(paint)
    assert paint.seeds == [(0,), (1,)] and found.seeds == (1,) and found.judge == "known"
    assert found.told == ["try 1: seed 0: 0.100", "try 2: seed 1: 0.900", "taken: seed 1"]


def test_where_none_is_believed_the_best_is_taken():
    paint = Painted({0: 0.1, 1: 0.5, 2: 0.3, 3: 0.2})
    found = taken(paint)
    assert len(paint.seeds) == 4 and found.seeds == (1,) and [r.seeds for r in found.earlier] == [(0,), (2,), (3,)]
    assert found.told[-1] == "taken: seed 1; the model does not see in it what was asked"


def test_every_round_has_seeds_of_its_own():
    paint = Painted({3: 0.85})
    found = taken(paint, seeds=(0, 1))
    assert paint.seeds == [(0, 1), (2, 3)] and found.best == 1


def test_each_try_has_a_place_of_its_own_that_still_obeys():
    paint = Painted({})
    taken(paint, text="add a green cube right of the red cube")
    boxes = [next(t.box for t in turn.things if t.name == "green cube") for turn in paint.turns]
    assert len({str(b) for b in boxes}) == 4
    for number, box in enumerate(boxes):
        assert box.center[0] > SCENE.things[0].box.center[0]
        assert all(box.intersect(b).area < 0.6 * max(box.area, b.area) for b in boxes[:number])
    assert all(turn.prompt.count("green cube") == 1 and turn.regions for turn in paint.turns)


def test_a_thing_that_moves_can_go_elsewhere_too():
    paint = Painted({})
    taken(paint, retries=1, text="move the red cube to the right")
    first, second = paint.turns
    assert first.regions[0] == second.regions[0], "where it stood is emptied either way"
    assert first.regions[1] != second.regions[1]
    assert all(turn.prompt.count("red cube") == 1 for turn in paint.turns)


@pytest.mark.parametrize(
    "turn",
    [
        resolve("add a green cube", SCENE, [Box(40, 40, 40, 40)]),
        resolve("make the red cube green", SCENE),
        resolve("add a green cube", SCENE, prompt="all of it"),
    ],
)
def test_what_was_given_stays_where_it_is(turn):
    assert elsewhere(turn, SCENE, [turn]) is turn


def test_one_candidate_without_retries_is_not_judged():
    paint = Painted({0: 0.3})
    found = taken(paint, retries=0, judge=object())
    assert found.scores == () and found.judge == "none" and found.told == []


def test_candidates_without_retries_are_one_round():
    paint = Painted({0: 0.3, 1: 0.4})
    found = taken(paint, (0, 1), retries=0)
    assert len(paint.turns) == 1 and found.best == 1 and found.told[0].startswith("candidates: seed 0: 0.300")


def test_who_only_compares_cannot_say_when_to_stop():
    with pytest.raises(SowError, match="Only the model's own check .* leave out --match known, or --retries"):
        check_rounds(1, 1, Known(None))
    check_rounds(2, 0, Known(None))


@pytest.mark.parametrize(("numbers", "words"), [((0, 0), "--candidates 0: expected 1 to 16"), ((17, 0), "17"),
                                                ((1, -1), "--retries -1: expected 0 to 8"), ((1, 9), "9")])  # fmt: skip
def test_numbers_out_of_range_are_said(numbers, words):
    with pytest.raises(SowError, match=words):
        check_rounds(*numbers)


def test_a_thing_that_is_half_hidden_is_not_believed():
    """Painted in a third of the place that the rules chose, or in all of it: the same colour, another score."""
    turn = resolve("add a green cube", SCENE)
    box = next(t.box for t in turn.things if t.name == turn.fresh)

    def paint(width):
        image = BEFORE.clone()
        image[:, box.y : box.bottom, box.x : box.x + width] = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
        return lambda turn, seeds: (image[None], make_canvas(BEFORE, turn, EditOptions()))

    class Sure(Known):
        def scores(self, before, turn, after):
            return torch.full((len(after),), 0.95)

    def score(width, turn=turn):
        return best_round(turn, paint(width), lambda canvas: Sure(), [0], 1).score

    assert score(box.width) == pytest.approx(0.95) and score(box.width // 3) < 0.8
    given = resolve("add a green cube", SCENE, [box])
    assert score(box.width // 3, given) == pytest.approx(0.95), "a place that was given may be larger than its thing"
