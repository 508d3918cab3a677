from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sow_core.errors import SowError
from sow_core.method.box import Box

sides = st.integers(1, 600)
places = st.integers(-300, 900)
boxes = st.builds(Box, places, places, sides, sides)


@pytest.mark.parametrize(
    "value",
    ["8,16,32,64", " 8, 16 ,32,64", [8, 16, 32, 64], (8.2, 15.9, 32.0, 64), Box(8, 16, 32, 64),
     {"x": 8, "y": 16, "width": 32, "height": 64, "metadata": {}}],
)  # fmt: skip
def test_forms_of_a_box(value: object) -> None:
    assert Box.parse(value) == Box(8, 16, 32, 64)


@pytest.mark.parametrize(
    "value",
    ["", "1,2,3", "a,b,c,d", "1,2,0,4", "1,2,3,-4", "nan,1,2,3", "1e9,1,2,3", {"x": 1}, None, 7, [1, 2, [3], 4]],
)
def test_bad_boxes_say_what_was_expected(value: object) -> None:
    with pytest.raises(SowError, match="Bad related region.*(expected|at least)"):
        Box.parse(value, "related region")


@given(boxes)
def test_text_is_read_back(box: Box) -> None:
    assert Box.parse(str(box)) == box == Box.parse(box.as_dict())


@given(boxes, sides, sides)
def test_a_clipped_box_is_inside_and_never_grows(box: Box, width: int, height: int) -> None:
    clipped = box.clip(width, height)
    assert clipped.inside(width, height) and clipped.area <= box.area
    assert clipped.area == box.intersect(Box(0, 0, width, height)).area
    assert (clipped == box) == box.inside(width, height)


@given(boxes)
def test_snapping_moves_at_most_half_a_cell(box: Box) -> None:
    snapped = box.snap()
    assert all(v % 8 == 0 for v in (snapped.x, snapped.y, snapped.width, snapped.height))
    assert abs(snapped.x - box.x) <= 4 and abs(snapped.y - box.y) <= 4
    assert snapped.width >= 8 and abs(snapped.width - max(box.width, 4)) <= 4
    assert snapped.snap() == snapped


@given(boxes, boxes)
def test_intersection_is_symmetric(a: Box, b: Box) -> None:
    assert a.intersect(b).area == b.intersect(a).area <= min(a.area, b.area)
