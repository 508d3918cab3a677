"""One turn on a backend whose exact denoiser is known: what stays, stays to the last bit."""

from __future__ import annotations

import pytest
import torch
from gaussian import GaussianBackend

from sow_core.errors import SowError
from sow_core.method.box import Box
from sow_core.turns.painting import EditOptions, check_free, laid_back, make_canvas, measured, paint
from sow_core.turns.presets import EDIT
from sow_core.turns.resolve import Scene, resolve
from sow_core.turns.things import Thing

THINGS = tuple(
    Thing(n, Box(x, 60, 28, 28)) for n, x in (("red cube", 4), ("blue cube", 50), ("green cube", 96))
)
SCENE = Scene((128, 128), "a red cube, a blue cube and a green cube on a gray floor", THINGS)


@pytest.fixture
def picture() -> torch.Tensor:
    return torch.rand(3, 128, 128, generator=torch.Generator().manual_seed(0))


def test_outside_the_region_no_bit_changes(picture):
    turn = resolve("make the blue cube yellow", SCENE)
    canvas = make_canvas(picture, turn, EditOptions(feather=4))
    made = paint(GaussianBackend(), canvas, EDIT, EditOptions(feather=4), [1, 2])
    kept = canvas.free < 0.5
    assert torch.equal(made[:, :, kept], picture[:, kept].expand(2, -1, -1))
    assert (made - picture).abs().amax() > 0.1
    inside = torch.zeros(128, 128)
    box = turn.regions[0]
    inside[box.y + 4 : box.bottom - 4, box.x + 4 : box.right - 4] = 1
    assert not torch.equal(made[0][:, inside > 0], made[1][:, inside > 0]), "each seed has its own"


def test_the_same_seed_is_the_same_picture(picture):
    canvas = make_canvas(picture, resolve("remove the blue cube", SCENE), EditOptions())
    first, second = (paint(GaussianBackend(), canvas, EDIT, EditOptions(), [5]) for _ in range(2))
    assert torch.equal(first, second)


def test_neighbours_and_their_pixels_are_spared(picture):
    turn = resolve("add a yellow cube", SCENE, [Box(20, 50, 60, 60)])
    free = make_canvas(picture, turn, EditOptions()).free
    for thing in THINGS[:2]:
        assert free[thing.box.y + 4 : thing.box.bottom - 4, thing.box.x + 4 : thing.box.right - 4].sum() == 0


def test_a_background_leaves_the_things(picture):
    free = make_canvas(picture, resolve("change the background to a beach", SCENE), EditOptions()).free
    assert free[0, 0] == 1 and all(
        free[t.box.y : t.box.bottom, t.box.x : t.box.right].sum() == 0 for t in THINGS
    )


def test_the_surplus_is_hidden_from_the_model_and_stays_in_the_picture():
    picture = torch.full((3, 128, 128), 0.5)
    picture[:, 60:88, 4:32] = 1.0
    turn = resolve("add a yellow cube right of the blue cube", SCENE, [Box(80, 90, 40, 36)])
    canvas = make_canvas(picture, turn, EditOptions(most=3))
    assert "red" not in canvas.prompt and "yellow" in canvas.prompt
    assert float((canvas.shown - 0.5).abs().max()) < 1e-5, "the far cube is not shown"
    made = paint(GaussianBackend(), canvas, EDIT, EditOptions(most=3), [0])
    assert torch.equal(made[0, :, 60:88, 4:32], picture[:, 60:88, 4:32])


def test_the_new_thing_is_measured(picture):
    turn = resolve("add a yellow cube", SCENE, [Box(40, 96, 48, 30)])
    after = picture.clone()
    after[:, 100:120, 50:70] = 1.0 - after[:, 100:120, 50:70].round()
    box = measured(turn, make_canvas(picture, turn, EditOptions()), after).things[-1].box
    assert (
        abs(box.x - 50) <= 1
        and abs(box.y - 100) <= 1
        and abs(box.right - 70) <= 1
        and abs(box.bottom - 120) <= 1
    )
    same = measured(turn, make_canvas(picture, turn, EditOptions()), picture)
    assert same.things[-1].box == turn.things[-1].box, "nothing was painted: the plan's box stays"


@pytest.mark.parametrize(("value", "words"), [(0.0, "empty"), (1.0, "whole picture")])
def test_a_region_of_nothing_or_all(value, words):
    with pytest.raises(SowError, match=words):
        check_free(torch.full((64, 64), value))


def test_a_region_below_a_cell_and_a_mask_of_another_size(picture):
    speck = torch.zeros(128, 128)
    speck[3:5, 3:5] = 1
    with pytest.raises(SowError, match="no whole 8-px cell"):
        check_free(speck)
    with pytest.raises(SowError, match="Bad mask size. Expected 128x128"):
        make_canvas(picture, resolve("add a cat", SCENE, masked=True), EditOptions(), torch.ones(64, 64))


@pytest.mark.parametrize("changes", [{"feather": -1}, {"feather": 65}, {"most": -1}])
def test_bad_options(changes):
    with pytest.raises(SowError, match="expected 0 to"):
        EditOptions(**changes)


def test_the_feather_lies_inside_the_region(picture):
    canvas = make_canvas(picture, resolve("remove the blue cube", SCENE), EditOptions())
    out = laid_back(canvas, torch.zeros(1, 3, 128, 128), 6)[0]
    assert torch.equal(out[:, canvas.free < 0.5], picture[:, canvas.free < 0.5])
    box = resolve("remove the blue cube", SCENE).regions[0]
    assert float(out[:, (box.y + box.bottom) // 2, (box.x + box.right) // 2].max()) == 0.0
