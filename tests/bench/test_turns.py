"""The numbers of `bench turns`, and the instructions that its scenes are told by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.turns import metrics, windows
from benchmarks.turns.report import mean, published
from benchmarks.turns.scenes import FIRST, WORDS, instruction, sample_scene
from sow_core.assets import asset_folder
from sow_core.turns.grammar import read_instruction
from tools.demo_model.edits import WRONG, sample_edit
from tools.demo_model.judges import Judges

PLACES = {"a": (0.2, 0.3), "b": (0.7, 0.4), "c": (0.4, 0.8)}
points = st.dictionaries(st.sampled_from("abcde"), st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1)


@pytest.mark.parametrize(
    ("asked", "shown", "wanted"),
    [
        (["a", "b"], ["b", "a"], (1, 1, 1)),
        (["a", "b"], ["a"], (1, 0.5, 2 / 3)),
        (["a", "a"], ["a", "b"], (0.5, 0.5, 0.5)),
        (["a"], [], (0, 0, 0)),
        ([], [], (1, 1, 1)),
    ],
)
def test_f1_counts_multisets(asked, shown, wanted):
    assert metrics.counts(asked, shown) == pytest.approx(wanted)


def test_rsim_by_hand():
    assert metrics.rsim(PLACES, PLACES) == 1.0
    assert metrics.rsim(PLACES, {k: v for k, v in PLACES.items() if k != "c"}) == pytest.approx(2 / 3)
    # b moved to the far left: of 18 entries those of x between b and the others (4) and b's own side (1) are wrong.
    assert metrics.rsim(PLACES, PLACES | {"b": (0.1, 0.4)}) == pytest.approx(1 - 5 / 18)
    assert metrics.rsim(PLACES, {"d": (0.5, 0.5)}) == 0.0


@given(points, points)
def test_rsim_lies_between_nothing_and_recall(asked, shown):
    value = metrics.rsim(asked, shown)
    assert 0.0 <= value <= len(set(asked) & set(shown)) / len(asked) + 1e-9
    assert metrics.rsim(asked, asked) == 1.0


@settings(max_examples=15)
@given(st.integers(0, 500), st.sampled_from(WORDS), st.integers(2, 5))
def test_every_scene_can_be_told(number, words, count):
    things = sample_scene(FIRST["test"] + number, count)
    assert things == sample_scene(FIRST["test"] + number, count) and len({t.name for t in things}) == count
    said = read_instruction(instruction(things, words))
    assert said.kind == "add" and said.thing == things[-1].name and said.relations


def test_means_pass_over_what_was_not_measured():
    assert mean([1.0, None, 0.0]) == {"mean": 0.5, "error": 0.5} and mean([None]) is None


def test_an_edit_differs_from_the_wrong_ones():
    for seed in range(6):
        edit = sample_edit(seed, 64)
        assert edit.after.shape == (64, 64, 3) and len(edit.wrong) == WRONG and read_instruction(edit.instruction)
        assert not any(np.array_equal(edit.after, wrong) for wrong in edit.wrong)


def test_another_models_results_stand_beside_the_first_ones():
    assert [published("turns.json", model) for model in ("demo", "demo_flow")] == ["turns.json", "turns_flow.json"]


@pytest.mark.parametrize("kind", windows.KINDS)
def test_the_judge_sees_what_is_true_in_large_pictures(kind):
    judges = Judges.load(asset_folder("models") / "demo" / "judges")
    for seed in range(windows.FIRST, windows.FIRST + 4):
        things = windows.scene(kind, seed, 256)
        assert len({t.name for t in things}) == len(things) >= (2 if kind == "near" else 4)
        assert all(windows.box_of(t, 256).inside(256, 256) for t in things)
        assert all(kind == "near" or 12 < t.size < 18 for t in things)
        full, short = (windows.draw(t, 256) for t in (things, things[:-1]))
        assert set(windows.judged(judges, kind, full, things, 256).values()) == {1.0}
        assert windows.judged(judges, kind, short, things, 256)["right"] == 0.0
