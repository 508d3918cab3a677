"""Boxes in every form in which drawing canvases, sockets, text and other nodes deliver them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
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
    "[8,16,64,32]",
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
    ("{", "not JSON"), ("8,16", "four numbers"), ([1, 2, 3], "expected"), ({"x": 1}, "missing"), (5, "expected a box"),
    ([[BOX], 5], "expected"), ({"bbox": [1, 2]}, "thousandths"), ([8, 16, 0, 32], "at least 1"),
    ([float("nan")] * 4, "four numbers"), ('[{"x": 0, "y": 0, "width": "wide", "height": 3}]', "four numbers"),
    ('"text"', "four numbers"),
])
def test_bad_boxes_are_one_clear_line(value, message):
    with pytest.raises(sow_error(), match=message) as caught:
        boxes(value)
    assert "\n" not in str(caught.value)


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
