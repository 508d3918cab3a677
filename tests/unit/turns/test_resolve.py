"""Which place changes: arithmetic on boxes, checked on whatever scene hypothesis makes up."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sow_core.errors import SowError
from sow_core.method.box import Box
from sow_core.turns.places import AIR, Wish, find_place
from sow_core.turns.resolve import Scene, resolve
from sow_core.turns.things import Thing, find_thing

FRAME = (128, 128)
SCENE = Scene(FRAME, "a blue sphere and a green cube on a gray floor",
              (Thing("blue sphere", Box(14, 60, 30, 30)), Thing("green cube", Box(80, 70, 34, 30))))  # fmt: skip
CANVAS = Box(0, 0, 128, 128)


def boxes() -> st.SearchStrategy[Box]:
    return st.builds(lambda x, y, w, h: Box(x, y, w, h), st.integers(0, 96), st.integers(50, 96), st.integers(12, 32),
                     st.integers(12, 32))  # fmt: skip


@settings(max_examples=25)
@given(boxes(), st.sampled_from(("left", "right", "behind", "front", "above", "below", "on", "next")))
def test_a_relation_is_obeyed_on_the_canvas(anchor, kind):
    try:
        box = find_place(FRAME, (24, 24), [Wish(kind, (anchor,))], taken=[anchor], band=AIR)
    except SowError:
        assume(False)
        return
    assert box.inside(*FRAME)
    (x, y), (ax, ay) = box.center, anchor.center
    obeyed = {"left": x < ax, "right": x > ax, "behind": y < ay, "above": y < ay, "on": y < ay, "front": y > ay,
              "below": y > ay, "next": True}  # fmt: skip
    assert obeyed[kind]


@settings(max_examples=15)
@given(st.lists(boxes(), max_size=3))
def test_free_space_is_used_where_there_is_any(taken):
    box = find_place(FRAME, (20, 20), taken=taken, band=AIR)
    assert all(box.intersect(t).area == 0 for t in taken)


def test_between_and_several_wishes():
    left, right = Box(4, 60, 20, 20), Box(100, 60, 20, 20)
    box = find_place(FRAME, (24, 24), [Wish("between", (left, right))], taken=[left, right])
    assert left.right < box.center[0] < right.x
    both = find_place(
        FRAME, (24, 24), [Wish("right", (left,)), Wish("left", (right,)), Wish("front", (left,))]
    )
    assert left.center[0] < both.center[0] < right.center[0] and both.center[1] > left.center[1]


def test_no_place_is_all_of_that():
    with pytest.raises(SowError, match="no place"):
        find_place(
            FRAME, (24, 24), [Wish("left", (Box(10, 60, 20, 20),)), Wish("right", (Box(90, 60, 20, 20),))]
        )


def test_where_several_wishes_leave_no_room_a_free_place_beside_is_taken_and_said():
    known = (Thing("blue cube", Box(36, 45, 32, 27)), Thing("yellow ball", Box(46, 78, 33, 34)),
             Thing("red cube", Box(74, 57, 32, 27)))  # fmt: skip
    scene = Scene(FRAME, "a blue cube, a yellow ball and a red cube on a gray floor", known)
    turn = resolve(
        "add a cyan cube left of the yellow ball, right of the blue cube, behind the yellow ball and in front of the "
        "red cube",
        scene,
    )
    box = turn.things[-1].box
    assert sum(box.intersect(t.box).area for t in known) < 0.1 * box.area and min(box.width, box.height) > 18
    assert box.center[0] < known[1].box.center[0] and any("no room" in note for note in turn.notes)
    roomy = resolve("add a cyan cube left of the blue cube", scene)
    assert roomy.notes == () and roomy.things[-1].box.center[0] < known[0].box.center[0]


def test_what_was_drawn_too_small_once_makes_nothing_else_small():
    things = (Thing("blue ball", Box(10, 50, 30, 30)), Thing("red cone", Box(80, 60, 12, 14)))
    scene = Scene(FRAME, "a blue ball and a red cone on a gray floor", things)
    cube = resolve("add a cube in the middle", scene).things[-1].box
    assert 24 <= cube.width <= 40 and 24 <= cube.height <= 40
    cone = resolve("add a green cone in the middle", scene).things[-1].box
    assert 10 <= cone.width <= 16, "as the known ones of its kind"


def test_adding_leaves_the_others_alone():
    turn = resolve("add a red cube left of the green cube", SCENE)
    assert turn.prompt == "a blue sphere, a red cube and a green cube on a gray floor"
    assert [t.name for t in turn.things] == ["blue sphere", "green cube", "red cube"]
    assert turn.fresh == "red cube" and set(turn.spared) == {t.box for t in SCENE.things}
    assert turn.things[-1].box.intersect(turn.regions[0]) == turn.things[-1].box


@pytest.mark.parametrize(
    ("text", "names", "prompt"),
    [
        ("remove the cube", {"blue sphere"}, "a blue sphere on a gray floor"),
        (
            "make the cube purple",
            {"blue sphere", "purple cube"},
            "a blue sphere and a purple cube on a gray floor",
        ),
        (
            "replace the sphere with a red cone",
            {"red cone", "green cube"},
            "a red cone and a green cube on a gray floor",
        ),
        (
            "move the sphere right of the cube",
            {"blue sphere", "green cube"},
            "a green cube and a blue sphere on a gray floor",
        ),
    ],
)
def test_the_other_kinds(text, names, prompt):
    turn = resolve(text, SCENE)
    assert {t.name for t in turn.things} == names and turn.prompt == prompt
    assert not turn.outside and all(r.clip(*FRAME).area for r in turn.regions)


def test_a_background_changes_all_but_the_things():
    turn = resolve("change the background to a beach", SCENE)
    assert turn.outside and set(turn.regions) == {t.box for t in SCENE.things}
    assert turn.prompt.endswith("on a beach")


def test_a_given_region_wins_and_is_clipped():
    turn = resolve("add a red cube", SCENE, [Box(100, 100, 60, 60)])
    assert turn.regions == (Box(100, 100, 28, 28),) and turn.things[-1].box == Box(100, 100, 60, 60)
    assert turn.prompt.startswith("a blue sphere, a green cube and a red cube"), "told from left to right"
    any_text = resolve(
        "do something clever", SCENE, [Box(0, 0, 40, 40)], prompt="a clever thing on a gray floor"
    )
    assert any_text.prompt == "a clever thing on a gray floor"


def test_what_the_history_does_not_know_is_asked_of_the_model():
    scene = Scene(FRAME, "a photo of a man with brown hair in a city")
    asked = []

    def locate(word: str) -> Box:
        asked.append(word)
        return Box(40, 20, 40, 30)

    turn = resolve("make the hair blond", scene, locate=locate)
    assert asked == ["hair"] and turn.prompt == "a photo of a man with blond hair in a city"
    assert "attention" in turn.notes[0]


def test_things_without_a_place_are_looked_for_before_anything_is_put_there():
    scene = Scene(FRAME, "a dog and a cat on a gray floor", (Thing("dog"), Thing("cat")))
    where = {"dog": Box(30, 60, 30, 30)}

    def locate(word: str) -> Box:
        if word not in where:
            raise SowError("not seen")
        return where[word]

    turn = resolve("add a ball", scene, locate=locate)
    ball = turn.things[-1]
    assert ball.box.intersect(where["dog"]).area == 0 and turn.things[0].box == where["dog"]
    assert any("cat: nobody knows" in note for note in turn.notes)


def test_glasses_are_painted_on_the_face_not_around_it():
    scene = Scene(FRAME, "a photo of a man in a city", (Thing("face", Box(40, 20, 44, 50)),))
    turn = resolve("add glasses", scene)
    assert turn.spared == () and turn.regions[0].intersect(Box(40, 20, 44, 50)).area > 0


@pytest.mark.parametrize(
    ("text", "regions", "words"),
    [
        ("add a cat left of the dog", (), "There is no dog"),
        ("remove the dog", (), "There is no dog"),
        ("add a cat left of the sphere", (Box(0, 0, 128, 128),), "whole 128x128"),
        ("add a cat", (Box(300, 0, 10, 10),), "outside the 128x128"),
        ("whirl", (Box(0, 0, 40, 40),), "Cannot read"),
    ],
)
def test_bad_turns(text, regions, words):
    with pytest.raises(SowError, match=words) as error:
        resolve(text, SCENE, regions)
    assert "\n" not in str(error.value)


def test_a_region_without_size_is_none():
    with pytest.raises(SowError, match="at least 1 pixel"):
        Box.parse("10,10,0,5", "--region")


def test_several_and_unknown_things():
    things = (Thing("red cube"), Thing("blue cube"))
    with pytest.raises(SowError, match="several"):
        find_thing(things, "cube")
    assert find_thing(things, "the blue cube").name == "blue cube"
    with pytest.raises(SowError, match="known: red cube, blue cube"):
        find_thing(things, "cone")
    for text in ("cube", "=1,2,3,4", "cube=1,2,3"):
        with pytest.raises(SowError):
            Thing.parse(text)


def test_no_prompt():
    with pytest.raises(SowError, match="no prompt"):
        resolve("add a cat", Scene(FRAME, ""))


def test_a_tiny_region_is_noted():
    assert "narrower" in resolve("add a cat", SCENE, [Box(0, 0, 12, 12)]).notes[0]
