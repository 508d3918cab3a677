"""The panel on true renders and on pictures broken on purpose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.quality.broken import specimens
from benchmarks.quality.cases import render_cases
from benchmarks.quality.failure import FILE, FailureJudge
from benchmarks.quality.judging import Panel
from benchmarks.quality.methods import METHODS
from benchmarks.quality.running import layout_of
from sow_core.assets import asset_folder
from sow_core.method.advice import Advice

JUDGES = asset_folder("models") / "demo" / "judges"
TOLD = Advice(5.0, "")


@pytest.fixture(scope="module")
def panel():
    if not (JUDGES / "judges.safetensors").is_file():
        pytest.skip("the demo model's folder has no judges")
    return Panel.load(JUDGES)


@pytest.fixture(scope="module")
def sets():
    return [s for seed in range(9_285_000, 9_285_012) for s in specimens(seed)]


def told(panel, case, image):
    method = METHODS["sow"]
    return panel.judge(image, layout_of(method, case, TOLD), case, method)


def test_true_pictures_pass(panel):
    """The render that the text describes: right place and clothes, the same person, one face."""
    cases = render_cases("normal", "val", 8)
    verdicts = [told(panel, c, c.truth) for c in cases]
    assert np.mean([v["text_right"] for v in verdicts]) > 0.9
    assert np.mean([v["identity_distance"] for v in verdicts]) < 0.5 * panel.strangers(cases)
    assert all(v["face_found"] and not v["second_face"] for v, c in zip(verdicts, cases, strict=True) if not c.hard)


def test_wrong_pictures_do_not(panel):
    """Another case's picture: another person in another scene."""
    cases = render_cases("normal", "val", 8)
    verdicts = [told(panel, c, other.truth) for c, other in zip(cases, cases[1:] + cases[:1], strict=True)]
    assert np.mean([v["text_right"] for v in verdicts]) < 0.5
    assert np.mean([v["identity_distance"] for v in verdicts]) > 0.5 * panel.strangers(cases)


def test_edits_are_judged_inside(panel):
    case = next(c for c in render_cases("attribute", "val", 3) if "glasses" in c.inside)
    assert told(panel, case, case.truth)["edit"] == {"glasses": True}
    unasked = replace(case, inside={"glasses": "none"})
    assert told(panel, unasked, case.truth)["edit_right"] == 0.0


def test_second_faces_are_counted(panel, sets):
    def count(kind):
        return [panel.count_faces(_image(s)) for s in sets if s.kind == kind]

    assert max(count("good")) == 1 and min(count("beside")) == 2


def _image(specimen):
    return torch.from_numpy(specimen.image.copy()).permute(2, 0, 1).float() / 255


@pytest.mark.skipif(not FILE.is_file(), reason="the failure net is not trained")
def test_failure_net_tells_broken_from_good(sets):
    judge = FailureJudge()
    images, masks = torch.stack([_image(s) for s in sets]), torch.from_numpy(np.stack([s.mask for s in sets]))
    odds = judge.judge(images, masks, [s.face for s in sets])
    limits = judge.thresholds(images[:0], [])
    verdicts = [any(o[k] > limits[k] for k in limits) for o in odds]

    def failed(*kinds):
        return np.mean([v for v, s in zip(verdicts, sets, strict=True) if s.kind in kinds])

    assert failed("good") < 0.35
    assert failed("face_alone", "head_alone", "beside") > 0.8
    assert failed("gray_halo", "other_face", "shifted") > 0.6
