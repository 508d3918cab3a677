"""The rules without a language model: what a person would say about the drawn cases."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.planning.cases import CAR, CASES, CAT, FACE, FIGURE, MUG
from unit.planning.test_reading import FRAMES, holds

from sow_core.errors import SowError
from sow_core.method.box import Box
from sow_core.planning.offline import plan_offline
from sow_core.planning.places import direction, find_places, is_person, size_word
from sow_core.planning.planner import PlannerOptions, plan_layout
from sow_core.planning.reading import read_plan
from sow_core.planning.request import ConditionPicture, PlanRequest
from sow_core.planning.schema import Frame
from sow_core.planning.silhouette import silhouette

ROOT = Path(__file__).resolve().parents[3]


def planned(condition, prompt, width=512, height=512, **switches):
    return plan_offline(PlanRequest(prompt, (condition,), Frame(width, height), **switches))


def region(plan, label):
    return next(r.box for r in plan.conditions[0].related if label in r.label)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_every_case_holds_travels_and_repeats(case):
    request = PlanRequest(case.prompt, case.conditions, Frame(case.width, case.height))
    plan = plan_offline(request)
    holds(plan)
    assert plan.prompt == case.prompt, "it must not pretend to have seen the picture"
    assert all(condition.related for condition in plan.conditions)
    assert read_plan(plan.to_json()) == plan and plan_offline(request) == plan
    for i, box in enumerate(plan.boxes):
        assert all(box.intersect(other).area == 0 for other in plan.boxes[i + 1 :])
        aspect = case.conditions[i].aspect
        assert abs(box.width - box.height * aspect) <= 8 * max(aspect, 1)


def test_a_head_has_its_body_below_and_hair_above():
    plan = planned(FACE, "a man in a suit")
    box, body, hair = plan.boxes[0], region(plan, "body"), region(plan, "hair")
    assert 512 / 16 <= box.y <= 512 / 6 and abs(box.center[0] - 256) <= 8
    assert body.bottom == 512 and body.y <= box.bottom and body.width > box.width
    assert abs(body.center[0] - box.center[0]) <= 8 and hair.y < box.y + box.height / 8


def test_an_animals_head_is_a_head_too():
    head = ConditionPicture(FACE.image[40:], FACE.mask[40:])
    plan = planned(head, "a cat on a sofa")
    assert {r.label for r in plan.conditions[0].related} == {"neck and body", "ears"} and plan.boxes[0].y < 110
    assert "seen as part" in planned(head, "a vase on a sofa").adjustments[-1]


def test_a_car_cut_at_the_right_goes_on_to_the_right():
    plan = planned(CAR, "a red car on a road")
    rest = region(plan, "right")
    assert plan.boxes[0].center[0] < 200 and rest.right == 512 and rest.x < plan.boxes[0].right
    mirrored = ConditionPicture(CAR.image[:, ::-1], CAR.mask[:, ::-1])
    plan = planned(mirrored, "a red car on a road")
    assert plan.boxes[0].center[0] > 312 and region(plan, "left").x == 0


def test_the_words_cannot_take_the_room_that_the_rest_needs():
    plan = planned(CAR, "a red car on the right")
    assert 512 - plan.boxes[0].right >= 0.5 * plan.boxes[0].width


def test_what_stands_has_ground_and_what_flies_has_not():
    standing = planned(FIGURE, "a man waiting in the rain")
    assert standing.boxes[0].bottom > 440 and standing.boxes[0].height == 256
    assert region(standing, "ground").bottom > standing.boxes[0].bottom - 8
    flying = planned(MUG, "a mug flying through space")
    assert [r.label for r in flying.conditions[0].related] == ["around it"]


def test_switches():
    assert planned(FACE, "a man, on the left", use_position=False).boxes == (Box(128, 128, 256, 256),)
    assert planned(FACE, "a man", use_context=False).conditions[0].related == ()
    told = ConditionPicture(FACE.image, FACE.mask, description="grey beard <lora:x:1>")
    assert planned(told, "a (man:1.2)").prompt == "a (man:1.2), grey beard"
    assert planned(told, "a (man:1.2)", use_prompt=False).prompt == "a (man:1.2)"


def test_kind_can_be_said():
    shown = ConditionPicture(FACE.image, FACE.mask, kind="object")
    assert "seen as object" in planned(shown, "a man").adjustments[-1]


def test_long_prompt_is_counted_by_the_models_own_tokenizer_and_left_alone():
    request = PlanRequest("word " * 90, (FACE,), count_tokens=lambda text: len(text.split()))
    plan = plan_offline(request)
    assert plan.prompt == request.prompt and "90 tokens" in plan.adjustments[-1]


@settings(max_examples=120)
@given(
    FRAMES,
    st.text(alphabet="abdefghilmnoprtu ,.", max_size=60),
    st.integers(1, 8),
    st.integers(0, 2**32 - 1),
)
def test_any_picture_and_scene_holds(frame, scene, count, seed):
    rng = np.random.default_rng(seed)
    conditions = []
    for _ in range(count):
        height, width = rng.integers(1, 60, 2)
        image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        mask = (rng.random((height, width)) < rng.random()).astype(np.float32)
        mask[rng.integers(height), rng.integers(width)] = 1
        conditions.append(ConditionPicture(image, mask if rng.random() < 0.8 else None))
    plan = plan_offline(PlanRequest(scene + " x", tuple(conditions), frame))
    holds(plan)
    assert read_plan(plan.to_json()) == plan


@pytest.mark.parametrize(
    "scene, x, y",
    [
        ("a man on the left", 0.27, None),
        ("a man, standing on the far right side", 0.73, None),
        ("a cat in the top left corner", 0.27, 0.27),
        ("a cat at the bottom-right of the picture", 0.73, 0.73),
        ("a cat in the lower right-hand corner of the image", 0.73, 0.73),
        ("in the center, a vase", 0.5, 0.5),
        ("a centered vase on a table", 0.5, 0.5),
        ("a cat at the bottom", None, 0.73),
        ("a man to the left of a tree", 0.27, None),
        ("a man in the middle of a street", None, None),
        ("a goat at the top of a hill", None, None),
        ("a man looking to the left", None, None),
        ("a man with a ring on the left hand", None, None),
        ("a man walking on the right", 0.73, None),
        ("a knight with a tree on the left", 0.73, None),
        ("a knight, a castle on the right", 0.27, None),
        ("a tank top in a shop, all right", None, None),
        ("he left the house", None, None),
        ("", None, None),
    ],
)
def test_words_of_place(scene, x, y):
    place = find_places(scene, [""])[0]
    assert (place.x, place.y) == (x, y), place
    assert bool(place.why) == (x is not None or y is not None)


def test_places_of_several_conditions():
    scene = "a cat on the left and a dog on the right, in a garden"
    assert [p.x for p in find_places(scene, ["dog", "cat"])] == [0.73, 0.27]
    assert [p.x for p in find_places(scene, ["", ""])] == [0.27, 0.73]
    assert [p.x for p in find_places("a cat and a dog in a garden", ["", ""])] == [None, None]
    assert [p.x for p in find_places(scene, ["owl", "dog"])] == [None, 0.73]


def test_other_words():
    assert direction("a horse running to the right") == "right" and direction("turn left") == "left"
    assert direction("his right hand") == "" and direction("left alone") == ""
    assert size_word("close-up of a knight standing") == "large" and size_word("full-body photo") == "small"
    assert (
        size_word("a cat") == "" and is_person("A Viking") and not is_person("a manor with mental arithmetic")
    )


def test_outline_of_a_mask():
    mask = np.zeros((100, 200), np.float32)
    mask[20:, 50:150] = 1
    outline = silhouette(np.zeros((100, 200, 3), np.uint8), mask)
    assert (outline.left, outline.top, outline.right, outline.bottom) == (0.25, 0.2, 0.75, 1.0)
    assert set(outline.contacts) == {"bottom"} and outline.contacts["bottom"] == (0.5, 0.25, 0.75)
    mask[-1] = 0  # segmentations end a pixel early
    assert set(silhouette(np.zeros((100, 200, 3), np.uint8), mask).contacts) == {"bottom"}
    mask[-6:] = 0
    assert not silhouette(np.zeros((100, 200, 3), np.uint8), mask).contacts


def test_something_round_that_grazes_the_edges_is_not_cut_off():
    y, x = np.mgrid[-1:1:100j, -1:1:100j]
    circle = (x**2 + y**2 <= 1).astype(np.float32)
    black = np.zeros((100, 100, 3), np.uint8)
    assert not silhouette(black, circle).contacts
    assert set(silhouette(black[:70], circle[:70]).contacts) == {"bottom"}
    assert set(silhouette(black[:, 30:], circle[:, 30:]).contacts) == {"left"}


def test_outline_without_a_mask():
    image = np.full((100, 100, 3), 250, np.uint8)
    image[30:, 30:70] = 20
    told = silhouette(image, None)
    assert told.origin == "background" and set(told.contacts) == {"bottom"} and told.left == 0.3
    noise = np.random.default_rng(0).integers(0, 255, (50, 50, 3), dtype=np.uint8)
    assert silhouette(noise, None).origin == "unknown"
    assert silhouette(np.zeros((9, 9, 3), np.uint8), None).origin == "unknown"
    assert silhouette(image, np.ones((100, 100), np.float32)).origin == "background", (
        "a full mask tells nothing"
    )


def test_bad_input_is_one_clear_line():
    image = FACE.image
    for make, words in (
        (lambda: ConditionPicture(image[..., :1]), "RGB"),
        (lambda: ConditionPicture(image, FACE.mask[:9]), "mask size"),
        (lambda: ConditionPicture(image, FACE.mask * 0), "keeps nothing"),
        (lambda: ConditionPicture(image, kind="dog"), "kind"),
        (lambda: PlanRequest("x", ()), "1 to 8"),
        (lambda: PlanRequest("x", (ConditionPicture(image, box=Box(400, 0, 200, 200)),)), "lies outside"),
        (lambda: PlannerOptions("gpt"), "Bad planner"),
        (lambda: PlannerOptions(on_failure="cry"), "Bad on_failure"),
    ):
        with pytest.raises(SowError, match=words):
            make()


def test_the_default_needs_no_torch_no_package_and_no_network():
    """In a fresh process: importing and planning offline loads nothing heavy and opens nothing."""
    code = (
        "import sys, socket\n"
        "def no(*a, **k): raise SystemExit('network')\n"
        "socket.socket.connect = no\n"
        "import numpy as np\n"
        "from sow_core.planning.planner import plan_layout\n"
        "from sow_core.planning.request import ConditionPicture, PlanRequest\n"
        "import sow_core.commands.plan, sow_core.planning.draw\n"
        "plan = plan_layout(PlanRequest('a cat', (ConditionPicture(np.zeros((8, 8, 3), np.uint8)),)))\n"
        "bad = [m for m in ('torch', 'google.genai', 'google.generativeai', 'requests', 'httpx') if m in sys.modules]\n"
        "print(len(plan.boxes), bad)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("1 []\n", "")


def test_auto_without_a_key_is_offline_and_says_so(tmp_path):
    plan = plan_layout(PlanRequest("a cat", (CAT,)), PlannerOptions("auto", on_failure="stop"))
    assert plan.source["planner"] == "offline" and "no Gemini" in plan.adjustments[-1]


def test_a_report_names_everything():
    plan = planned(FACE, "a man, on the left")
    text = plan.report()
    for part in (
        "planner: offline",
        "prompt: a man, on the left",
        str(plan.boxes[0]),
        "neck and body",
        "'on the left'",
    ):
        assert part in text
    assert json.loads(plan.to_json())["sow_plan"] == 1
