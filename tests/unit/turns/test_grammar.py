"""What an instruction says, in words alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sow_core.errors import SowError
from sow_core.turns.grammar import COLOURS, FORMS, Instruction, Relation, read_instruction

CASES = {
    "add a red cube left of the blue sphere": ("add", "red cube", "", (), (("left", "blue sphere"),)),
    "Add a red cube to the left of the blue sphere.": ("add", "red cube", "", (), (("left", "blue sphere"),)),
    "please add a hat": ("add", "hat", "", (), ()),
    "add a dog to the picture": ("add", "dog", "", (), ()),
    "add a man on a horse": ("add", "man on a horse", "", (), ()),
    "add a cat on the sofa": ("add", "cat", "", (), (("on", "sofa"),)),
    "give him glasses": ("add", "glasses", "", (), ()),
    "add a bird in the top right corner": ("add", "bird", "", ("top", "right"), ()),
    "add a dog on the left of the picture": ("add", "dog", "", ("left",), ()),
    "put a lamp between the sofa and the table": ("add", "lamp", "", (), (("between", "sofa", "table"),)),
    "add a green cube at the back left, right of the sphere, behind the cube and in front of the cone": (
        "add",
        "green cube",
        "",
        ("top", "left"),
        (("right", "sphere"), ("behind", "cube"), ("front", "cone")),
    ),
    "remove the straw hat": ("remove", "straw hat", "", (), ()),
    "get rid of the dog": ("remove", "dog", "", (), ()),
    "move the cube to the right": ("move", "cube", "", ("right",), ()),
    "put the cup on the table": ("move", "cup", "", (), (("on", "table"),)),
    "replace the cube with a sphere": ("replace", "cube", "sphere", (), ()),
    "turn the red cube into a green sphere": ("replace", "red cube", "green sphere", (), ()),
    "change the cube to red": ("make", "cube", "red", (), ()),
    "make the hair blond": ("make", "hair", "blond", (), ()),
    "make the hair dark brown": ("make", "hair", "dark brown", (), ()),
    "make her smile": ("make", "her", "smile", (), ()),
    "change the colour of the car to blue": ("make", "car", "blue", (), ()),
    "change the background to a forest": ("background", "", "a forest", (), ()),
    "put him on a beach": ("background", "", "on a beach", (), ()),
}


@pytest.mark.parametrize("text", CASES)
def test_reads(text):
    kind, thing, new, places, relations = CASES[text]
    wanted = tuple(Relation(name, anchors) for name, *anchors in relations)
    got = read_instruction(text)
    assert (got.kind, got.thing, got.new, got.places) == (kind, thing, new, places)
    assert tuple((r.kind, tuple(r.anchors)) for r in got.relations) == tuple(
        (r.kind, tuple(r.anchors)) for r in wanted
    )


@pytest.mark.parametrize("form", FORMS)
def test_every_form_that_the_error_names_reads(form):
    assert isinstance(read_instruction(form), Instruction)


@pytest.mark.parametrize(
    "text",
    [
        "rotate everything",
        "add",
        "make the cube",
        "add a cat left of",
        "move the cube",
        "x " * 300,
        "add a cat at the left and at the right",
        "background",
    ],
)
def test_says_what_it_can_read(text):
    with pytest.raises(SowError) as error:
        read_instruction(text)
    message = str(error.value)
    assert "\n" not in message and ("expected" in message) and len(message) < 500


def test_nothing_said():
    with pytest.raises(SowError, match="No instruction"):
        read_instruction("  ")


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused_in_one_line(text):
    try:
        read_instruction(text)
    except SowError as error:
        assert str(error).isprintable()


@given(
    st.sampled_from(sorted(COLOURS)), st.sampled_from(("cube", "sphere")), st.sampled_from(("left", "right"))
)
def test_a_sentence_made_of_its_parts_comes_back(colour, shape, side):
    said = read_instruction(f"add a {colour} {shape} {side} of the green cone")
    assert said == Instruction("add", f"{colour} {shape}", "", (), (Relation(side, ("green cone",)),))
