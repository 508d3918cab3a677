"""Boxes in every form in which drawing canvases, sockets, text and other nodes deliver them."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from .pack import part, sow_error

B = part("nodes.boxes")
Box = part("sow_core.method.box").Box
BOX = {"x": 8, "y": 16, "width": 64, "height": 32}
DRAWN = {**BOX, "metadata": {"type": "obj", "text": "", "desc": "Related: hair", "palette": []}}


def boxes(value):
    return [box for box, _ in B.parse_boxes(value, 512, 256)]


@pytest.mark.parametrize("value", [
    BOX, [BOX], [[BOX]], (BOX,), [8, 16, 64, 32], [8.2, 15.9, 64.4, 32.0], "8,16,64,32", "8, 16, 64, 32",
    "[8,16,64,32]", "8 16 64 32", "8,16,64,32 the face", "8;16;64;32", "0.015625,0.0625,0.125,0.125",
    [0.015625, 0.0625, 0.125, 0.125],
    json.dumps(BOX), json.dumps([BOX]), json.dumps([[BOX]]), Box(8, 16, 64, 32), ["8,16,64,32"],
    {"type": "obj", "bbox": [62, 16, 188, 141], "desc": "x"},
])
def test_one_box(value):
    expected = Box(8, 16, 64, 32)
    assert boxes(value if not isinstance(value, Box) else value.as_dict()) == [expected]


@pytest.mark.parametrize("value", [None, "", "  ", [], [[]], "[]"])
def test_no_box(value):
    assert boxes(value) == []
    assert B.placement_of(B.parse_boxes(value, 512, 512)) is None


def test_frames_of_a_batch_count_as_one_picture():
    other = {**BOX, "x": 100}
    assert boxes([[BOX, other], [other]]) == [Box(8, 16, 64, 32), Box(100, 16, 64, 32)]


@pytest.mark.parametrize(("value", "message"), [
    ("{", "not valid JSON"), ("8,16", "four numbers"), ([1, 2, 3], "expected"), ({"x": 1}, "missing"),
    (5, "expected a box"),
    ([[BOX], 5], "expected"), ({"bbox": [1, 2]}, "thousandths"), ([8, 16, 0, 32], "at least 1"),
    ([float("nan")] * 4, "four numbers"), ('[{"x": 0, "y": 0, "width": "wide", "height": 3}]', "four numbers"),
    ('"text"', "four numbers"),
])
def test_bad_boxes_are_one_clear_line(value, message):
    with pytest.raises(sow_error(), match=message) as caught:
        boxes(value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [
    "8,16,64,32 face\n\n 100,16,64,32 Related: hair\n", "8,16,64,32;100,16,64,32 related",
])
def test_lines_of_boxes(text):
    found = B.parse_boxes(text, 512, 256)
    assert [box for box, _ in found] == [Box(8, 16, 64, 32), Box(100, 16, 64, 32)]
    assert B.placement_of(found).box == Box(8, 16, 64, 32)


@pytest.mark.parametrize("text", ["8,16,64,32,100,16,64,32", "8,16,64,32 100,16,64,32", "8,16,64,32\n1,2"])
def test_boxes_that_run_together_are_told_to_stand_in_lines(text):
    with pytest.raises(sow_error(), match="several boxes: one a line"):
        boxes(text)


def test_shares_fill_the_canvas_and_touch_each_other():
    assert boxes("0,0,1,1") == [Box(0, 0, 512, 256)]
    left, right = boxes("0,0,.333,1\n.333,0,.667,1")
    assert left.right == right.x and right.right == 512


def twice(lines, moved=None, dropped=None, size=(512, 256)):
    """Boxes as a template carries them: as text, and drawn from it; then one drawn box is moved or dropped."""
    found = B.parse_boxes("\n".join(lines), *size)
    drawn = [{**box.as_dict(), "metadata": {"desc": label, "text": B.with_source(i, len(lines), box, line)}}
             for i, ((box, label), line) in enumerate(zip(found, lines, strict=True), start=1)]
    if moved is not None:
        drawn[moved]["x"] += 16
    if dropped is not None:
        del drawn[dropped]
    return drawn


LINES = ["8,16,64,32 face", "0.5,0,0.25,0.5 related: hair"]


@pytest.mark.parametrize(("drawn", "text", "x", "count"), [
    (twice(LINES), LINES, 8, 2), (twice(LINES, moved=0), LINES, 24, 2), (twice(LINES, dropped=1), LINES, 8, 1),
    (twice(LINES), ["40,16,64,32 face", LINES[1]], 40, 2), (twice(LINES), LINES[:1], 8, 1),
    (twice(LINES, moved=0), ["40,16,64,32 face", LINES[1]], 40, 2), ([], LINES, 8, 2), (twice(LINES), [], 8, 2),
    ([{**BOX, "x": 200}], LINES, 8, 2),
])
def test_the_box_that_was_changed_counts(drawn, text, x, count):
    """Each canvas of the host edits one of the two forms; the other still holds the template's boxes."""
    made = B.choose("\n".join(text), drawn, 512, 256)
    assert (made.boxes[0][0].x, len(made.boxes)) == (x, count)
    both = drawn and text and [b for b, _ in made.boxes] != boxes(drawn) and drawn != twice(LINES)
    assert bool(made.remark) == bool(both or (drawn and made.boxes and x == 24) or len(drawn) == 1), made.remark


def test_shares_follow_another_canvas_size():
    """In the classic canvas nobody rescales the drawn boxes: the text counts."""
    drawn = twice(["0.25,0.25,0.5,0.5"], size=(128, 128))
    assert B.choose("0.25,0.25,0.5,0.5", drawn, 512, 512).boxes[0][0] == Box(128, 128, 256, 256)


def test_the_first_box_is_the_place():
    placement = B.placement_of(B.parse_boxes([BOX, {**BOX, "x": 100}], 512, 512))
    assert placement == (Box(8, 16, 64, 32), (Box(100, 16, 64, 32),))


def test_a_box_described_as_related_is_never_the_place():
    placement = B.placement_of(B.parse_boxes([DRAWN, {**BOX, "x": 100}], 512, 512))
    assert placement == (Box(100, 16, 64, 32), (Box(8, 16, 64, 32),))
    assert B.placement_of(B.parse_boxes([DRAWN], 512, 512)) is None


NUMBERS = st.integers(0, 4000)


@given(st.lists(st.tuples(NUMBERS, NUMBERS, st.integers(1, 4000), st.integers(1, 4000)), max_size=5))
def test_all_forms_mean_the_same(rows):
    dicts = [dict(zip(("x", "y", "width", "height"), row, strict=True)) for row in rows]
    expected = [Box(*row) for row in rows]
    assert boxes(dicts) == boxes(json.dumps(dicts)) == boxes([dicts]) == expected


def nested(inner):
    return st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=8), nested))
def test_anything_else_is_a_clear_error_and_no_crash(value):
    try:
        B.parse_boxes(value, 512, 512)
    except sow_error() as error:
        assert len(str(error)) < 400


NUMBERS = st.integers() | st.floats() | st.sampled_from([0, 0.5, 1, 5e-324, 1e308, 10**30])
FOURS = st.lists(NUMBERS, min_size=4, max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=6) | FOURS,
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["x", "y", "width", "height", "bbox", "metadata", "desc"]), inner, max_size=6),
)
TEXTS = st.text(alphabet='0123456789.,e+- \n;:[]{}"xN', max_size=40)


@settings(max_examples=300)
@given(TEXTS | VALUES.map(json.dumps) | FOURS.map(lambda v: str(v)[1:-1]) | FOURS.map(lambda v: f'{{"bbox": {v}}}'))
@example("[" * 5000)
@example('{"bbox": [0, 0, 1e999, 5]}')
@example("1e400,0,5,5")
@example('{"x": 0, "y": 0, "width": 1e300, "height": 5}')
def test_any_text_is_boxes_or_one_line(text):
    try:
        made = boxes(text)
    except sow_error() as error:
        assert str(error).isprintable() and len(str(error)) <= 1000
    else:
        assert all(isinstance(box, Box) for box in made)
