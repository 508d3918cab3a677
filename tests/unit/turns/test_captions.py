"""The prompt of the whole picture after a turn."""

from __future__ import annotations

import pytest

from sow_core.method.box import Box
from sow_core.turns import captions as C
from sow_core.turns.things import Thing

FACE = "a photo of a smiling man with short brown hair wearing a straw hat and a red t-shirt in a forest"


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (C.with_thing(FACE, "glasses"), FACE.replace("wearing a straw", "wearing glasses, a straw")),
        (C.with_thing(FACE, "beard"), FACE.replace("with short", "with a beard and short")),
        (C.with_thing(FACE, "dog"), FACE.replace(" in a forest", " and a dog in a forest")),
        (C.with_thing("a photo of a man", "crown"), "a photo of a man wearing a crown"),
        (
            C.with_thing("a photo of a man in a city", "red scarf"),
            "a photo of a man wearing a red scarf in a city",
        ),
        (C.without_thing(FACE, "hat"), FACE.replace("a straw hat and ", "")),
        (C.without_thing(FACE, "t-shirt"), FACE.replace(" and a red t-shirt", "")),
        (C.without_thing("a man wearing glasses in a city", "glasses"), "a man in a city"),
        (C.without_thing(FACE, "dog"), FACE),
        (C.with_other(FACE, "hat", "crown"), FACE.replace("a straw hat", "a crown")),
        (C.with_quality(FACE, "hair", "blond"), FACE.replace("brown", "blond")),
        (C.with_quality(FACE, "her", "smile"), FACE),
        (C.with_quality(FACE, "man", "sad"), FACE.replace("smiling", "sad")),
        (C.with_quality(FACE, "man", "old"), FACE.replace("smiling man", "smiling old man")),
        (C.with_quality("a photo of a woman", "hair", "red"), "a photo of a woman with red hair"),
        (C.with_quality("a cat on a sofa", "cat", "orange"), "an orange cat on a sofa"),
        (C.with_background(FACE, "beach"), FACE.replace("in a forest", "on a beach")),
        (C.with_background("a photo of a man", "snowy mountains"), "a photo of a man in snowy mountains"),
        (C.with_background(FACE, "by a lake at sunset"), FACE.replace("in a forest", "by a lake at sunset")),
        (C.qualified("dark red car", "light blue"), "light blue car"),
    ],
)
def test_prompt(made, wanted):
    assert made == wanted


def test_a_list_is_told_from_left_to_right():
    things = (Thing("blue sphere", Box(80, 60, 30, 30)), Thing("red cube", Box(10, 60, 30, 30)))
    form = C.listed("a blue sphere and a red cube on a gray floor", things)
    assert form == ("", " on a gray floor")
    assert C.as_list(things, *form) == "a red cube and a blue sphere on a gray floor"


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("a red cube, a blue sphere and a cat on a gray floor", ["red cube", "blue sphere", "cat"]),
        ("a photo of a dog in a city", ["dog"]),
        (FACE, []),
        ("a red cube left of a blue sphere on a gray floor", []),
        ("snow", []),
    ],
)
def test_things_of_a_list(prompt, names):
    assert C.mentioned(prompt) == names


@pytest.mark.parametrize(
    "prompt", ["a red cube on a gray floor", "a red cube left of a blue sphere on a gray floor", FACE]
)
def test_only_a_mere_list_is_one(prompt):
    assert C.listed(prompt, (Thing("blue sphere"), Thing("red cube"))) is None
