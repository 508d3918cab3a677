"""The questions: the same every time, in range, and with a true answer."""

from __future__ import annotations

import pytest

from benchmarks.quality.broken import KINDS, specimens
from benchmarks.quality.cases import SETTINGS, SPLITS, render_cases
from benchmarks.quality.classifier import replace_place, replace_style
from sow_core.method.condition import make_layout
from tools.demo_model.world import HELD_OUT, JUDGE, TRAIN, VALIDATION


@pytest.fixture(scope="module")
def cases():
    return {s: render_cases(s, "test", 6) for s in SETTINGS}


def test_same_every_time(cases):
    again = render_cases("style", "test", 6)
    assert [c.fingerprint for c in again] == [c.fingerprint for c in cases["style"]]
    assert len({c.fingerprint for group in cases.values() for c in group}) == 24


def test_splits_keep_apart(cases):
    for count, (split, seeds) in enumerate((("val", VALIDATION), ("test", HELD_OUT))):
        for setting in SETTINGS:
            for c in render_cases(setting, split, 2):
                assert c.seed in seeds and c.seed not in TRAIN and c.seed not in JUDGE, count
    assert set(SPLITS) == {"val", "test"}


def test_the_condition_fits_and_shows_the_face(cases):
    for c in (c for group in cases.values() for c in group):
        assert c.condition.box.snap() == c.condition.box
        layout = make_layout([c.condition], 128, 128)
        cells = layout.regions.any_condition
        x0, y0, x1, y1 = c.face
        ys, xs = cells.nonzero(as_tuple=True)
        assert abs(float(xs.float().mean() + 0.5) * 8 - (x0 + x1) / 2) < 5, c.id
        assert abs(float(ys.float().mean() + 0.5) * 8 - (y0 + y1) / 2) < 5, c.id
        assert layout.regions.related.sum() > 0


def test_hard_cases_are_smaller(cases):
    for setting, group in cases.items():
        widths = [40] * 6 if setting == "small" else [64, 64, 64, 48, 64, 64]
        assert [c.condition.box.width for c in group] == widths
        assert [c.hard for c in group] == [False, False, False, True, False, False]


def test_the_text_says_what_is_asked(cases):
    for c in (c for group in cases.values() for c in group):
        assert c.outside["clothes"] in c.prompt and c.outside["clothes"] in c.plain_prompt
        assert len(c.plain_prompt) < len(c.prompt)
        assert c.truth is not None and c.truth.shape == (3, 128, 128)
    assert all(c.outside["style"] in ("pencil", "watercolor", "pixel") for c in cases["style"])
    assert {next(iter(c.inside)) for c in cases["attribute"]} == {"mouth", "glasses", "old"}
    assert all(not c.inside for c in cases["normal"])


def test_elsewhere_moves_the_face_along(cases):
    c = cases["normal"][0]
    condition, face = c.place(position=False)
    assert condition.box == c.elsewhere and condition.related == ()
    assert face[0] - c.face[0] == c.elsewhere.x - c.condition.box.x
    assert c.place(position=True) == (c.condition, c.face)


def test_place_and_style_words():
    text = "a photo of a man wearing a suit on a beach"
    assert replace_place(text, "space") == "a photo of a man wearing a suit in outer space"
    assert replace_style(text, "pencil") == "a pencil sketch of a man wearing a suit on a beach"
    with pytest.raises(ValueError, match="no place"):
        replace_place("a photo of a man", "space")
    with pytest.raises(ValueError, match="no style"):
        replace_style("a man on a beach", "pixel")


def test_specimens_of_every_kind():
    made = specimens(9_280_000)
    assert sorted(s.kind for s in made) == sorted(KINDS)
    good = next(s for s in made if s.kind == "good")
    assert not good.no_body and not good.seam
    for s in made:
        assert s.image.shape == (128, 128, 3) and s.mask.any()
        assert s.kind == "good" or (s.image != good.image).any(), s.kind
        assert s.kind == "good" or s.no_body != s.seam
