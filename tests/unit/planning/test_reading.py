"""Any JSON in: a plan that holds, or one clear error."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from unit.planning.loopback import GOOD, PLAN

from sow_core.errors import SowError
from sow_core.method.box import Box
from sow_core.planning.errors import UnusableAnswer
from sow_core.planning.geometry import (
    RawBox,
    follow,
    read_box,
    separate,
    settle,
    settle_fixed,
    settle_regions,
)
from sow_core.planning.reading import KNOWN, Target, read_plan
from sow_core.planning.salvage import find_object
from sow_core.planning.schema import Frame, LayoutPlan, SizeRule

SIDES = st.integers(8, 160).map(lambda n: n * 8)
RULES = st.tuples(st.integers(8, 512), st.integers(8, 512)).map(lambda t: SizeRule(min(t), max(t)))
FRAMES = st.builds(Frame, SIDES, SIDES, RULES)
NUMBERS = st.one_of(
    st.integers(-2000, 2000),
    st.integers(),
    st.floats(),
    st.floats(0, 1),
    st.sampled_from(["12", "12px", "x", None]),
)
BOXES = st.one_of(
    st.fixed_dictionaries(dict.fromkeys(("x", "y", "width", "height"), NUMBERS)),
    st.fixed_dictionaries(dict.fromkeys(("x1", "y1", "x2", "y2"), NUMBERS)),
    st.fixed_dictionaries({"box_2d": st.lists(st.integers(-100, 1100), min_size=4, max_size=4)}),
    st.lists(NUMBERS, max_size=5),
    st.text(max_size=20),
    st.none(),
)
REGIONS = st.one_of(
    st.lists(st.fixed_dictionaries({"label": st.text(max_size=60), "box": BOXES}), max_size=6),
    st.dictionaries(st.text(max_size=9), BOXES, max_size=3),
    st.none(),
)
ENTRIES = st.fixed_dictionaries(
    {"condition_box": BOXES},
    optional={
        "related_regions": REGIONS,
        "condition_description": st.text(max_size=500),
        "fixed": st.booleans(),
    },
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(sorted(KNOWN)) | st.text(max_size=9), inner, max_size=5)
    ),
    max_leaves=20,
)
ANSWERS = st.one_of(
    JSON.filter(lambda value: isinstance(value, dict)),
    ENTRIES.flatmap(
        lambda e: st.fixed_dictionaries({"intensified_prompt": st.text(max_size=900)}).map(lambda p: e | p)
    ),
    st.fixed_dictionaries(
        {"conditions": st.lists(ENTRIES, max_size=10), "prompt": st.text(max_size=99)},
        optional={
            "sow_plan": st.sampled_from([1, 0, 2, "1", True]),
            "canvas": st.fixed_dictionaries({"width": SIDES, "height": SIDES}) | JSON,
            "size_rule": JSON,
            "source": JSON,
            "adjustments": JSON,
            "negative": JSON,
        },
    ),
)


def holds(plan: LayoutPlan) -> None:
    """Boxes on the canvas, on the grid, within the size rule; regions beside the conditions and of some use."""
    frame = plan.frame
    low, high = frame.sides
    assert plan.prompt.strip() and 1 <= len(plan.conditions) <= 8
    for condition in plan.conditions:
        box = condition.box
        assert box.inside(frame.width, frame.height)
        assert not any(v % 8 for v in (box.x, box.y, box.width, box.height))
        assert min(box.width, box.height) >= 8
        if not condition.fixed:
            assert low <= max(box.width, box.height) <= high
        assert len(condition.related) <= 4 and len(condition.description) <= 400
        for region in condition.related:
            inner = region.box
            assert inner.area and inner.inside(frame.width, frame.height)
            assert not any(v % 8 for v in (inner.x, inner.y, inner.width, inner.height))
            assert inner.intersect(box) != inner
            assert len(region.label) <= 40 and "<" not in region.label
    assert json.loads(plan.to_json()) == plan.as_dict()
    assert all("\n" not in note for note in plan.adjustments)


@settings(max_examples=400)
@given(ANSWERS, st.none() | SIDES, st.none() | SIDES, st.lists(st.none() | st.floats(0.01, 100), max_size=3))
@example({"box": [0, 0, 1, 1], "prompt": "x"}, None, None, [])
@example({"box": [0, 0, 5e-324, 1], "prompt": "x"}, None, None, [])
@example({"box": [0, 0, 10**5000, 1], "prompt": "x"}, None, None, [])
@example({"box": [0, 0, 5e-324, 200], "prompt": "x"}, None, None, [])
@example({"box": {"x": 0, "y": 0, "width": 200, "height": 5e-324}, "prompt": "x"}, 64, 64, [])
@example({"conditions": [], "prompt": "", "sow_plan": 1}, None, None, [])
def test_any_object_becomes_a_plan_that_holds_or_a_clear_error(answer, width, height, aspects):
    try:
        plan = read_plan(answer, width=width, height=height, targets=[Target(a) for a in aspects])
    except SowError as error:
        assert 10 < len(str(error)) < 500 and "\n" not in str(error)
        return
    holds(plan)
    assert len(plan.conditions) == (len(aspects) or len(plan.conditions))
    again = read_plan(plan.to_json(), targets=[Target(a) for a in aspects])
    assert again == plan, "reading a plan that holds changes it"


@settings(max_examples=300)
@given(
    st.text(max_size=200)
    | JSON.map(json.dumps)
    | JSON.map(lambda v: f"Sure! ```json\n{json.dumps(v)}\n``` {{ok}}")
)
@example("{" * 5000)
@example('{"' + "[" * 30000)
@example('{"box": ' * 3000)
@example("[{" * 9000 + '"prompt": 1' + "}]" * 9000)
@example('{"a"}' * 40_000)
@example('{"prompt": 1}' * 15_000)
@example("{" + " " * 190_000 + '"')
@example('{"prompt": "' + "\\" * 199_000)
@example('{"prompt": 1e999}')
@example('{"prompt": "\\ud800"}')
@example('{"prompt": "x", "box": [0, 0, ' + "1" * 6000 + ", 5]}")
def test_any_text_becomes_a_plan_or_a_clear_error(text):
    try:
        holds(read_plan(text, prompt="a cat"))
    except SowError as error:
        assert str(error).startswith("Bad ") and "\n" not in str(error)


@settings(max_examples=300)
@given(st.text(alphabet=' {}[]"\\:,abc\n`', max_size=80), st.text(alphabet=" {}\\:,abc\n`<>", max_size=80))
def test_the_object_is_found_in_prose_and_never_repaired(before, after):
    """Prose with lone quotes or brackets may make it unreadable; it must not make it different."""
    try:
        found = find_object(f"{before}\n{GOOD}\n{after}", KNOWN)
    except UnusableAnswer:
        return
    assert found == PLAN


@settings(max_examples=200)
@given(st.integers(0, len(GOOD) - 1))
def test_half_an_answer_is_no_answer(cut):
    with pytest.raises(UnusableAnswer):
        find_object(GOOD[:cut], KNOWN)
    listed = json.dumps({"prompt": "x", "conditions": [PLAN, PLAN]})
    with pytest.raises(UnusableAnswer):
        find_object(listed[: cut + 60], KNOWN)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "\ufeff" + GOOD,
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}",
        f"[{GOOD}]",
        f'Set notation {{a, b}} and {{}} aside, it\'s this:\n{GOOD}\nBest, "M"',
        f'<think>maybe {{"condition_box": [1, 2, 3, 4]}}?</think>{GOOD}',
        f'{{"note": "no known key"}} {GOOD} {{"note": 2}}',
    ],
)
def test_wrappings_are_taken_off(text):
    assert find_object(text, KNOWN) == PLAN


LINES = json.dumps(PLAN, indent=1)


@pytest.mark.parametrize(
    "text, words",
    [
        (LINES.replace('"box": {', '"box": {,', 1), "valid JSON"),
        (LINES[:-2] + ",\n}", "a comma before a closing bracket (line"),
        (LINES.replace('"related', '// places\n "related'), "a comment, which JSON does not have (line 12, column 2)"),
        (LINES.replace('"condition_box"', "'condition_box'"), "single quotes"),
        (LINES.replace("128", "NaN", 1), "holds NaN"),
        (LINES.replace("128", "1e999", 1), "too large"),
        (LINES.replace("},", "}", 1), "(line"),
        (f"{GOOD} I mean:\n{LINES[:-2]},}}", "a comma before a closing bracket"),
        (LINES[:-1], "cut off"),
        (LINES[:200], "cut off"),
        ('{"x": 1}', "no JSON object with the keys"),
    ],
)
def test_what_is_nearly_json_is_told_by_its_fault(text, words):
    """The user, and the model that gets it quoted back, can mend what is named. A draft before it is not taken."""
    with pytest.raises(UnusableAnswer) as caught:
        find_object(f"Sure!\n```json\n{text}\n```\nEnjoy.", KNOWN)
    assert words in str(caught.value)


def test_a_report_is_lines_of_ours_alone():
    evil = "x\n  note: forged\x1b[2J\u202e"
    plan = read_plan({"sow_plan": 1, "prompt": evil, "conditions": [{"box": [0, 0, 200, 200], "description": evil}],
                      "source": {"planner": evil, "model": evil}, "adjustments": [evil]})  # fmt: skip
    lines = plan.report().splitlines()
    names = ["planner", "prompt", "condition 1 (x note", "note"]
    assert [line.partition(":")[0].strip() for line in lines] == names
    assert all(line.isprintable() for line in lines)


def test_a_bare_list_of_conditions_is_read_as_such():
    assert find_object(json.dumps([PLAN, PLAN]), KNOWN) == {"conditions": [PLAN, PLAN]}


FRAME = Frame()


@pytest.mark.parametrize(
    "value, key",
    [
        ({"x": 128, "y": 64, "width": 256, "height": 128}, "condition_box"),
        ({"X": "128", "Y": "64px", "W": 256.0, "H": 128}, "box"),
        ({"x1": 128, "y1": 64, "x2": 384, "y2": 192}, "box"),
        ({"left": 128, "top": 64, "right": 384, "bottom": 192}, "box"),
        ([128, 64, 256, 128], "condition_box"),
        ("128, 64, 256, 128", "condition_box"),
        ("[128 64 256 128]", "condition_box"),
        ([125, 250, 375, 750], "box_2d"),
        ({"box_2d": [125, 250, 375, 750]}, "condition_box"),
        ([250, 125, 750, 375], "bbox_2d"),
        ([0.25, 0.125, 0.5, 0.25], "box"),
    ],
)
def test_forms_of_a_box(value, key):
    assert read_box(value, key, FRAME, "the box") == RawBox(128, 64, 256, 128)


@pytest.mark.parametrize(
    "value, words",
    [
        ({"x": 1, "y": 2}, "needs the keys"),
        ([1, 2, 3], "not four numbers"),
        ([1, 2, "a", 4], "not a number"),
        ([1, 2, True, 4], "not a number"),
        ([1, 2, math.nan, 4], "not a number"),
        ([1, 2, math.inf, 4], "not a number"),
        ([10, 10, 0, 10], "no size"),
        ([600, 10, 100, 100], "outside"),
        ([-300, 10, 100, 100], "outside"),
        ([0, 0, 5000, 100], "outside"),
        (None, "not four numbers"),
    ],
)
def test_what_is_no_box(value, words):
    with pytest.raises(UnusableAnswer, match=words):
        read_box(value, "condition_box", FRAME, "the box")


def test_size_rule_of_the_paper():
    assert FRAME.sides == (184, 256)
    assert Frame(1024, 768).sides == (272, 384)
    assert Frame(128, 128).sides == (48, 64)
    assert SizeRule(180, 180).on(512, 512) == (184, 184)
    assert Frame(64, 4096, SizeRule(8, 9)).sides == (8, 8)
    for low, high in ((0, 100), (300, 200), (180, 600)):
        with pytest.raises(SowError, match="size limits"):
            SizeRule(low, high)
    for side in (0, 60, 100, 9000):
        with pytest.raises(SowError, match="Bad width"):
            Frame(side, 512)


@settings(max_examples=300)
@given(
    FRAMES,
    st.tuples(*[st.floats(-900, 900)] * 2),
    st.tuples(*[st.floats(0.5, 2000)] * 2),
    st.floats(0.01, 99),
)
def test_settling_holds_and_is_done_once(frame, corner, size, aspect):
    raw = RawBox(*corner, *size)
    box = settle(raw, aspect, frame)
    low, high = frame.sides
    assert box.inside(frame.width, frame.height) and low <= max(box.width, box.height) <= high
    assert settle(RawBox.of(box), aspect, frame) == box
    assert settle(RawBox.of(box), None, frame) == box
    center = raw.x + raw.width / 2
    room = box.width / 2
    if room + 4 <= center <= frame.width - room - 4:
        assert abs(box.center[0] - center) <= 4


@settings(max_examples=300)
@given(st.tuples(*[st.floats(-300, 800)] * 2), st.tuples(*[st.floats(1, 900)] * 2), SIDES, SIDES)
def test_a_region_that_touches_its_condition_still_does_after_a_move(corner, size, x, y):
    old = RawBox(100, 150, 300, 200)
    region = RawBox(*corner, *size)
    new = Box(x, y, 184, 184)
    moved = follow(region, old, new)
    apart = region.right < old.x or region.x > old.right or region.bottom < old.y or region.y > old.bottom
    moved_apart = moved.right < new.x or moved.x > new.right or moved.bottom < new.y or moved.y > new.bottom
    assert apart == moved_apart


def test_regions_that_are_of_no_use_are_dropped_and_said():
    box = Box(128, 128, 256, 256)
    offered = {
        "inside": RawBox(150, 150, 50, 50),
        "far": RawBox(470, 0, 40, 40),
        "everything": RawBox(0, 0, 512, 512),
        "below": RawBox(131, 380, 200, 90),
        "again": RawBox(131, 380, 200, 90),
        "off": RawBox(600, 0, 50, 50),
    }
    kept, notes = settle_regions(offered.items(), box, FRAME)
    assert [(r.label, r.box) for r in kept] == [("below", Box(128, 376, 208, 96))]
    assert len(notes) == 4 and all(name in " ".join(notes) for name in ("inside", "far", "everything", "off"))


def test_regions_leave_other_conditions_free():
    other = Box(256, 256, 200, 200)
    kept, _ = settle_regions([("body", RawBox(0, 200, 500, 312))], Box(0, 0, 200, 200), FRAME, [other])
    assert kept[0].box.intersect(other).area == 0 and kept[0].box == Box(0, 200, 256, 312)


@settings(max_examples=150)
@given(st.lists(st.tuples(SIDES, SIDES), min_size=2, max_size=5))
def test_boxes_are_moved_apart_where_there_is_room(corners):
    frame = Frame(1280, 1280)
    boxes = [Box(min(x, 640), min(y, 640), 560, 560) for x, y in corners]
    apart = separate(boxes, [True] * len(boxes), frame)
    pairs = [(a, b) for i, a in enumerate(apart) for b in apart[i + 1 :]]
    assert all(a.inside(1280, 1280) for a in apart)
    if len(boxes) <= 4:  # two by two of the smallest size fit
        assert all(a.intersect(b).area == 0 for a, b in pairs)
    assert separate(apart, [True] * len(boxes), frame) == apart or any(a.intersect(b).area for a, b in pairs)


def test_a_box_of_the_user_is_not_moved():
    mine, other = Box(0, 0, 320, 320), Box(100, 100, 200, 200)
    assert separate([other, mine], [True, False], FRAME)[1] == mine
    assert separate([other, mine], [True, False], FRAME)[0].intersect(mine).area == 0


def test_a_plan_for_another_canvas_is_scaled():
    plan = read_plan(GOOD)
    large = read_plan(plan.to_json(), width=1024, height=1024)
    assert large.boxes[0] == Box(*(2 * v for v in (128, 16, 240, 240)))
    assert [r.box for r in large.conditions[0].related][0] == Box(128, 480, 736, 544)
    assert "scaled from 512x512 to 1024x1024" in large.adjustments
    wide = read_plan(plan.to_json(), width=1024, height=512)
    assert wide.boxes[0].width == wide.boxes[0].height, "a picture keeps its proportions on any canvas"


def test_faults_of_a_plan_are_one_clear_line():
    for text, words in (
        ("", "it is empty"),
        ("no json", "no JSON object"),
        ('{"sow_plan": 99, "conditions": []}', "version 99"),
        ('{"prompt": "x"}', "condition 1 has no box"),
        ('{"box": [0, 0, 200, 200]}', "it has no prompt"),
        ('{"box": [9000, 0, 200, 200], "prompt": "x"}', "outside of the 512x512 canvas"),
        (
            '{"prompt": "x", "box": [0,0,200,200], "canvas": {"width": 100, "height": 99}}',
            "Bad width 100: expected a multiple of 8",
        ),
    ):
        with pytest.raises(SowError, match=words) as caught:
            read_plan(text)
        assert "\n" not in str(caught.value)
    with pytest.raises(SowError, match="1 of 2 conditions"):
        read_plan(GOOD, targets=[Target(), Target()])


def test_a_fixed_box_is_only_brought_onto_the_canvas():
    assert settle_fixed(RawBox(-50, -50, 900, 700), FRAME) == Box(0, 0, 512, 512)
    assert settle_fixed(RawBox(300, 3, 301, 12), FRAME) == Box(208, 0, 304, 16)
    assert settle_fixed(RawBox(16, 200, 304, 304), FRAME) == Box(16, 200, 304, 304)


def test_only_a_saved_plan_keeps_weights_and_fixed_boxes():
    entry = {"box": {"x": 0, "y": 0, "width": 400, "height": 400}, "fixed": True}
    answer = {"prompt": "a (red:1.4) cat", "conditions": [entry]}
    other = read_plan(answer)
    assert other.prompt == "a red cat" and not other.conditions[0].fixed and other.boxes[0].width == 256
    saved = read_plan({"sow_plan": 1, **answer})
    assert saved.prompt == "a (red:1.4) cat" and saved.boxes[0] == Box(0, 0, 400, 400)
