"""Instructions read by a language model on this machine: its plan is checked, clamped, and never trusted."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from unit.planning.conftest import _own_home, server  # noqa: F401
from unit.planning.loopback import SCRIPTS, Reply

from sow_core.errors import SowError
from sow_core.method.box import Box
from sow_core.planning.config import Config
from sow_core.planning.errors import UnusableAnswer
from sow_core.turns.asking import ask_turn, read_turn
from sow_core.turns.resolve import Scene
from sow_core.turns.things import Thing

SCENE = Scene((128, 128), "a red cube on a gray floor", (Thing("red cube", Box(8, 60, 30, 30)),))
PLAN = {
    "regions": [{"x": 60, "y": 50, "width": 40, "height": 44}],
    "prompt": "a red cube and a small dog on a gray floor",
    "things": [
        {"name": "red cube", "box": {"x": 8, "y": 60, "width": 30, "height": 30}},
        {"name": "small dog", "box": {"x": 64, "y": 56, "width": 30, "height": 34}},
    ],
}
TEXT = "a friend for the cube, perhaps a dog?"


def ask(server, monkeypatch, tmp_path, *replies: Reply, **others):  # noqa: F811
    monkeypatch.setitem(SCRIPTS, "turn", replies)
    config = Config(tmp_path, {"profiles": {"local": {"base_url": f"{server.base}/v1", "model": "turn"}}})
    return ask_turn(SCENE, TEXT, Image.new("RGB", (128, 128)), "local", config=config, **others)


def test_a_plan_becomes_a_turn(server, monkeypatch, tmp_path):  # noqa: F811
    turn = ask(server, monkeypatch, tmp_path, Reply(json.dumps(PLAN)))
    assert turn.regions == (Box(60, 50, 40, 44),) and turn.prompt == PLAN["prompt"]
    assert turn.fresh == "small dog" and turn.spared == (SCENE.things[0].box,)
    body = json.dumps(server.calls()[0].body)
    assert "perhaps a dog" in body and "red cube: 8,60,30,30" in body and "image/jpeg" in body


def test_what_the_user_gave_stays(server, monkeypatch, tmp_path):  # noqa: F811
    own = [Box(0, 0, 40, 40)]
    turn = ask(server, monkeypatch, tmp_path, Reply(json.dumps(PLAN)), regions=own, prompt="a dog")
    assert turn.regions == tuple(own) and turn.prompt == "a dog"


def test_no_plan_is_asked_once_more_and_then_refused(server, monkeypatch, tmp_path):  # noqa: F811
    turn = ask(server, monkeypatch, tmp_path, Reply("I would rather not."), Reply(json.dumps(PLAN)))
    assert turn.fresh == "small dog" and len(server.calls()) == 2
    with pytest.raises(SowError) as error:
        ask(server, monkeypatch, tmp_path, Reply("no"), Reply("never"))
    assert "\n" not in str(error.value)


def test_an_unknown_profile(tmp_path):
    with pytest.raises(SowError, match="No planner profile"):
        ask_turn(SCENE, TEXT, Image.new("RGB", (8, 8)), "nobody", config=Config(tmp_path))


@pytest.mark.parametrize(
    "changes",
    [{"prompt": ""}, {"prompt": 3}, {"regions": []}, {"regions": "all"}, {"regions": [{"x": 1}]},
     {"regions": [{"x": 900, "y": 0, "width": 20, "height": 20}]},
     {"regions": [{"x": 0, "y": 0, "width": 128, "height": 128}]}],
)  # fmt: skip
def test_an_answer_that_is_no_plan(changes):
    with pytest.raises(UnusableAnswer):
        read_turn(json.dumps(PLAN | changes), SCENE, TEXT)


def test_boxes_are_clamped_and_faulty_things_left_out():
    things = [
        {"name": "dog", "box": {"x": 100, "y": 100, "width": 90, "height": 90}},
        {"box": {}},
        {"name": "cat", "box": 7},
        3,
    ]
    turn = read_turn(json.dumps(PLAN | {"things": things}), SCENE, TEXT)
    assert turn.things == (Thing("dog", Box(100, 100, 28, 28)),) and len(turn.notes) == 3


KEYS = st.sampled_from(("x", "y", "width", "height", "name", "box"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner),
)


@given(st.sampled_from(sorted(PLAN)), JSON)
def test_any_answer_is_read_or_refused(key, value):
    try:
        turn = read_turn(json.dumps(PLAN | {key: value}), SCENE, TEXT)
    except UnusableAnswer:
        return
    assert all(b.inside(128, 128) and b.area for b in turn.regions)
    assert all(t.box is None or t.box.inside(128, 128) for t in turn.things)
