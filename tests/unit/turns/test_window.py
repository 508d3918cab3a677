"""The window of a big picture that a turn is painted in: where it lies, and the way there and back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from gaussian import GaussianBackend
from hypothesis import given, settings
from hypothesis import strategies as st

from sow_core.errors import SowError
from sow_core.method.box import SIDES, Box
from sow_core.turns import window as W
from sow_core.turns.painting import EditOptions, make_canvas, make_edit_layout, measured, paint
from sow_core.turns.presets import EDIT
from sow_core.turns.resolve import Scene, Turn, resolve
from sow_core.turns.things import Thing
from sow_core.turns.window import Window, check_crop, cropping, find_window

TRAINED = (128, 128)


@st.composite
def cases(draw):
    """A region in a picture, a model, and a wish."""
    snap = draw(st.sampled_from((8, 16)))
    trained = tuple(snap * draw(st.integers(64 // snap, 1024 // snap)) for _ in range(2))
    width, height = (8 * draw(st.integers(8, 300)) for _ in range(2))
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    region = Box(x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y)))
    crop = draw(st.sampled_from(("auto", "off", "1.2", "2", "3.7", "10")))
    return region, (width, height), crop, trained, snap


@given(cases())
@settings(max_examples=300, deadline=None)
def test_a_window_holds_the_region_inside_the_picture_on_the_models_grid(case):
    region, frame, crop, trained, snap = case
    window = find_window(*case)
    box = window.box
    assert box.inside(*frame) and box.intersect(region) == region
    if window == Window.whole(frame):
        return
    assert crop != "off"
    assert all(side % snap == 0 and SIDES[0] <= side <= SIDES[1] for side in window.size)
    if crop == "auto":
        assert box.width >= min(trained[0], frame[0]) and box.height >= min(trained[1], frame[1])
        assert box.width >= min(W.CONTEXT * region.width, frame[0])
        assert box.height >= min(W.CONTEXT * region.height, frame[1])
    else:
        assert box.width >= min(float(crop) * region.width, frame[0])
    for side, own in zip(window.size, (box.width, box.height), strict=True):
        if crop == "auto" and side != SIDES[0]:
            assert side <= own + snap / 2, "an automatic window is never enlarged"
    if min(window.size) > SIDES[0] and max(window.size) < SIDES[1] // snap * snap:
        area = window.size[0] * window.size[1] / (trained[0] * trained[1])
        assert area < 1.4 * W.ROOMY if crop == "auto" else 0.7 < area < 1.4


@given(cases())
@settings(max_examples=100, deadline=None)
def test_a_window_is_read_back_from_its_numbers(case):
    window = find_window(*case)
    assert Window.read(window.numbers) == window


@given(cases(), st.integers(0, 50), st.integers(0, 50))
@settings(max_examples=100, deadline=None)
def test_a_box_of_the_region_lies_within_what_is_shown(case, left, top):
    region, window = case[0], find_window(*case)
    inner = Box(
        region.x + left % region.width,
        region.y + top % region.height,
        region.width - left % region.width,
        region.height - top % region.height,
    )
    placed = window.place(inner)
    assert placed.inside(*window.size) and placed.area > 0
    if window.plain:
        assert placed == Box(inner.x - window.box.x, inner.y - window.box.y, inner.width, inner.height)


@pytest.mark.parametrize(
    ("region", "frame", "crop", "expected"),
    [
        # At the model's own size, and a little above it, nothing is cropped.
        (Box(40, 40, 20, 20), (128, 128), "auto", (0, 0, 128, 128, 128, 128)),
        (Box(40, 40, 20, 20), (152, 160), "auto", (0, 0, 152, 160, 152, 160)),
        # A small region: the trained size, pixel by pixel; at a corner it moves inside.
        (Box(250, 250, 20, 20), (512, 512), "auto", (196, 196, 128, 128, 128, 128)),
        (Box(0, 490, 20, 22), (512, 512), "auto", (0, 384, 128, 128, 128, 128)),
        # A larger one: with its context, made smaller.
        (Box(200, 200, 100, 100), (512, 512), "auto", (98, 98, 304, 304, 128, 128)),
        # Nearly everything: the whole picture, made smaller.
        (Box(8, 8, 500, 500), (512, 512), "auto", (0, 0, 512, 512, 128, 128)),
        (Box(8, 8, 500, 500), (512, 512), "off", (0, 0, 512, 512, 512, 512)),
        # A number enlarges what is small.
        (Box(40, 40, 20, 20), (128, 128), "2", (30, 30, 40, 40, 128, 128)),
        # A long region: a long window of the model's area, no longer than LEAN.
        (Box(100, 200, 200, 20), (512, 512), "2", (0, 110, 400, 200, 184, 88)),
    ],
)
def test_windows_by_example(region, frame, crop, expected):
    assert find_window(region, frame, crop, TRAINED).numbers == expected


@pytest.mark.parametrize("bad", ["", "on", "1", "1.1", "10.5", "nan", "inf", "-2", "2x"])
def test_a_bad_crop_is_one_line(bad):
    with pytest.raises(SowError, match="Bad crop .*: expected auto, off, or .* 1.2 to 10") as error:
        check_crop(bad)
    assert "\n" not in str(error.value)


def test_a_crop_is_kept_in_one_spelling():
    assert [check_crop(t) for t in (" Auto", "OFF", "2.0", "1.50")] == ["auto", "off", "2", "1.5"]


@pytest.mark.parametrize(
    "numbers", [(), (0, 0, 8, 8), (0, 0, 0, 8, 64, 64), (0, 0, 8, 8, 8, 8), (0, 0, 8, 8, 9000, 64)]
)
def test_a_damaged_window_is_refused(numbers):
    with pytest.raises(SowError, match="Bad window"):
        Window.read(numbers)


def test_the_whole_picture_is_seen_and_comes_back_as_it_is():
    picture = torch.rand(3, 64, 96)
    window = Window.whole((96, 64))
    assert window.see(picture).data_ptr() == picture.data_ptr()
    made = torch.rand(2, 3, 64, 96)
    assert window.back(made, picture) is made


def test_a_plain_window_moves_pixels_and_leaves_the_others():
    picture, window = torch.rand(3, 200, 200), Window(Box(30, 41, 128, 128), TRAINED)
    assert torch.equal(window.see(picture), picture[:, 41:169, 30:158])
    made = torch.rand(1, 3, 128, 128)
    back = window.back(made, picture)[0]
    assert torch.equal(back[:, 41:169, 30:158], made[0])
    back[:, 41:169, 30:158] = picture[:, 41:169, 30:158]
    assert torch.equal(back, picture)


def test_there_and_back_at_another_size_stays_near():
    """A smooth picture survives both ways; values stay within 0..1."""
    across = torch.linspace(0, 1, 240)
    picture = torch.stack([across.expand(240, 240), across[:, None].expand(240, 240), torch.zeros(240, 240)])
    for window in (Window(Box(16, 24, 200, 208), TRAINED), Window(Box(100, 90, 50, 60), TRAINED)):
        back = window.back(window.see(picture)[None], picture)[0]
        assert float((back - picture).abs().max()) < 0.02
        assert 0.0 <= float(back.min()) and float(back.max()) <= 1.0


# -- a turn in it

SIDE = 384
NAMES = ("red cube", "blue cube", "green cube", "cyan cube", "purple cube")
THINGS = tuple(Thing(n, Box(10 + 74 * i, 200, 40, 40)) for i, n in enumerate(NAMES))
SCENE = Scene(
    (SIDE, SIDE), "a red cube, a blue cube, a green cube, a cyan cube and a purple cube on a floor", THINGS
)
ADD = "add a yellow cube"
REGION = Box(20, 250, 40, 40)


@pytest.fixture
def picture() -> torch.Tensor:
    return torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def canvas_of(picture, turn: Turn, crop="auto", mask=None, **options):
    return make_canvas(picture, turn, EditOptions(**options), mask, cropping(crop, (SIDE, SIDE), TRAINED))


@pytest.mark.parametrize("crop", ["auto", "off", "1.5", "4"])
def test_outside_the_region_no_bit_changes(picture, crop):
    turn = resolve(ADD, SCENE, [REGION])
    canvas = canvas_of(picture, turn, crop)
    plain = replace(EDIT, guidance=1.0, inversion_guidance=1.0)  # so that no value is clipped
    made = paint(GaussianBackend(), canvas, plain, EditOptions(feather=4), [1, 2])
    kept = canvas.free < 0.5
    assert made.shape == (2, 3, SIDE, SIDE)
    assert torch.equal(made[:, :, kept], picture[:, kept].expand(2, -1, -1))
    assert (made[0] - picture).abs().amax() > 0.1 and not torch.equal(made[0], made[1])


def test_off_and_a_picture_of_the_models_size_are_as_without(picture):
    small = picture[:, :128, :128].contiguous()
    scene = Scene((128, 128), "a red cube on a floor", (Thing("red cube", Box(10, 60, 30, 30)),))
    turn = resolve(ADD, scene, [Box(60, 60, 40, 40)])
    plain = make_canvas(small, turn, EditOptions())
    cropped = make_canvas(small, turn, EditOptions(), None, cropping("auto", (128, 128), TRAINED))
    first, second = (paint(GaussianBackend(), c, EDIT, EditOptions(), [5]) for c in (plain, cropped))
    assert torch.equal(first, second) and cropped.prompt == plain.prompt
    whole = canvas_of(picture, resolve(ADD, SCENE, [REGION]), "off")
    assert whole.shown.shape == picture.shape and whole.window == Window.whole((SIDE, SIDE))


def test_the_model_sees_the_window_alone_at_its_size(picture):
    canvas = canvas_of(picture, resolve(ADD, SCENE, [REGION]))
    layout = make_edit_layout(canvas, EDIT)
    assert (layout.width, layout.height) == TRAINED and canvas.window.plain
    box = canvas.window.box
    assert torch.equal(canvas.shown, picture[:, box.y : box.bottom, box.x : box.right])
    assert torch.equal(canvas.open, canvas.free[box.y : box.bottom, box.x : box.right])
    assert canvas.regions == (Box(20 - box.x, 250 - box.y, 40, 40),)
    after = torch.rand(2, 3, SIDE, SIDE)
    shown = canvas.as_shown(after)
    inside = canvas.open > 0
    assert torch.equal(shown[:, :, ~inside], canvas.shown[:, ~inside].expand(2, -1, -1))
    assert torch.equal(shown[:, :, inside], canvas.window.see(after)[:, :, inside])


def test_a_list_names_what_reaches_into_the_window(picture):
    turn = resolve(ADD, SCENE, [REGION])
    assert canvas_of(picture, turn, "off").prompt == turn.prompt
    canvas = canvas_of(picture, turn)
    assert canvas.prompt == "a red cube, a yellow cube and a blue cube on a floor"
    assert canvas.told == "a red cube and a blue cube on a floor"


def test_free_words_stay_whole_in_a_window(picture):
    told = "a red cube wearing a hat beside a blue cube, and a yellow cube, on a floor"
    turn = resolve(ADD, SCENE, [REGION], told)
    assert canvas_of(picture, turn).prompt == told


def test_a_list_of_which_nothing_is_in_the_window_says_the_place(picture):
    turn = resolve("remove the red cube", SCENE, [Box(0, 0, 40, 40)])
    canvas = canvas_of(picture, turn, "2")
    assert (canvas.prompt, canvas.told) == ("on a floor", "a red cube on a floor")


def test_only_the_things_in_the_window_are_counted_and_hidden(picture):
    gray = torch.full((3, SIDE, SIDE), 0.5)
    for thing in THINGS:
        gray[:, thing.box.y : thing.box.bottom, thing.box.x : thing.box.right] = 1.0
    turn = resolve(ADD, SCENE, [REGION])
    assert "red" in canvas_of(gray, turn, most=3).prompt, "three are in the window: all are shown"
    hiding = canvas_of(gray, turn, most=2)
    assert hiding.prompt == "a red cube and a yellow cube on a floor"
    blue = hiding.window.place(THINGS[1].box).clip(*hiding.window.size)
    red = hiding.window.place(THINGS[0].box)
    assert float((hiding.shown[:, blue.y : blue.bottom, blue.x : blue.right] - 0.5).abs().max()) < 1e-4
    assert torch.all(hiding.shown[:, red.y : red.bottom, red.x : red.right] == 1.0)
    made = paint(GaussianBackend(), hiding, EDIT, EditOptions(most=2), [0])
    box = THINGS[1].box
    assert torch.all(made[0, :, box.y : box.bottom, box.x : box.right] == 1.0), "in the picture it stays"


def test_the_new_thing_is_measured_in_the_whole_picture(picture):
    turn = resolve(ADD, SCENE, [REGION])
    after = picture.clone()
    after[:, 260:285, 28:50] = 1.0 - after[:, 260:285, 28:50].round()
    box = measured(turn, canvas_of(picture, turn), after).things[-1].box
    assert all(
        abs(a - b) <= 1
        for a, b in zip((box.x, box.y, box.right, box.bottom), (28, 260, 50, 285), strict=True)
    )


def test_a_background_is_painted_as_a_whole_at_the_models_size(picture):
    canvas = canvas_of(picture, resolve("change the background to a beach", SCENE))
    assert canvas.window == Window(Box(0, 0, SIDE, SIDE), TRAINED)
    made = paint(GaussianBackend(), canvas, EDIT, EditOptions(), [0])
    kept = canvas.free < 0.5
    assert torch.equal(made[0][:, kept], picture[:, kept]) and kept.any()


def test_specks_far_apart_are_too_small_at_the_models_size(picture):
    mask = torch.zeros(SIDE, SIDE)
    mask[:16, :16] = mask[-16:, -16:] = 1
    turn = resolve(ADD, SCENE, masked=True)
    with pytest.raises(
        SowError, match="No whole 8-px cell of the model changes in the window .* set crop to off"
    ):
        canvas_of(picture, turn, mask=mask)
    assert canvas_of(picture, turn, "off", mask).free.sum() == 512
    frame = torch.ones(SIDE, SIDE)
    frame[8:16, 8:16] = 0
    with pytest.raises(SowError, match="No whole 8-px cell of the model stays"):
        canvas_of(picture, turn, mask=frame)


def test_a_window_of_a_state_that_leaves_the_picture_is_refused(picture):
    turn = resolve(ADD, SCENE, [REGION])
    with pytest.raises(SowError, match="leaves the 384x384 picture"):
        make_canvas(picture, turn, EditOptions(), None, lambda region: Window(Box(300, 0, 128, 128), TRAINED))
