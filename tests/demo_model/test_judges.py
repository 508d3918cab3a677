"""The shipped judges, against the ground truth of pictures they have never seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tools.demo_model import judge_data, judge_nets, judge_scores, visible, world
from tools.demo_model.attributes import CHOICES
from tools.demo_model.judges import VALUES, Judges

FOLDER = Path(__file__).parents[2] / "models" / "demo" / "judges"
COUNT = 96


@pytest.fixture(scope="module")
def judges() -> Judges:
    return Judges.load(FOLDER)


def test_they_are_small() -> None:
    assert sum(f.stat().st_size for f in FOLDER.iterdir()) <= 2_000_000


def test_attributes(judges: Judges) -> None:
    """Wide margins below the scores of judges/scores.json, which are of thousands of pictures."""
    scores = judge_scores.attributes(judges, COUNT, "held_out")
    assert set(scores) == set(VALUES)
    low = {k: v["all"] for k, v in scores.items() if v["all"] < 0.85}
    assert not low
    assert np.mean([v["all"] for v in scores.values()]) > 0.93


def test_faces(judges: Judges) -> None:
    scores = judge_scores.faces(judges, COUNT, "held_out")
    assert scores["recall"] > 0.95 and scores["false_alarms"] < 0.1 and scores["iou"] > 0.75


def test_objects(judges: Judges) -> None:
    scores = judge_scores.objects(judges, COUNT, "held_out")
    assert scores["precision"] > 0.9 and scores["recall"] > 0.9 and scores["distance_px"] < 3


def test_identity(judges: Judges) -> None:
    scores = judge_scores.identity(judges, 40, "held_out")
    assert scores["eer_photo"] < 0.12 and scores["eer"] < 0.2
    assert scores["mean_same"] > scores["mean_other"] + 0.3


def test_any_picture_size(judges: Judges) -> None:
    """Boxes come back in px of the picture given."""
    small, large = (world.render(9_000_001, n, kind="portrait", degraded=False) for n in (128, 256))
    a, b = (judges.faces(judge_scores.as_float(s.image[None])) for s in (small, large))
    assert torch.allclose(a.boxes * 2, b.boxes, atol=8)
    labels = [judges.labels(judge_scores.as_float(s.image[None]))[0] for s in (small, large)]
    assert sum(labels[0][k] == labels[1][k] for k in labels[0]) >= len(labels[0]) - 2


def test_given_boxes_are_used(judges: Judges) -> None:
    s = world.render(9_000_001, kind="portrait", degraded=False)
    x = judge_scores.as_float(s.image[None])
    box = torch.tensor([s.boxes["face"]])
    near, far = judges.identity(x, box), judges.identity(x, torch.tensor([[0.0, 90, 40, 128]]))
    assert torch.allclose(near.norm(dim=1), torch.ones(1), atol=1e-4)
    assert float((near * judges.identity(x)).sum()) > float((near * far).sum())


def test_wrong_input_is_named(judges: Judges, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\[N,3,H,W\]"):
        judges.faces(torch.zeros(3, 128, 128))
    with pytest.raises(FileNotFoundError, match="train_judges"):
        Judges.load(tmp_path)


def test_hidden_attributes_are_not_asked_for() -> None:
    p = world.render(9_000_001, kind="portrait", style="pencil", hat="crown", degraded=False).portrait
    assert p
    assert {"skin", "clothes_color", "eyes", "hair_color", "hair_style"}.isdisjoint(visible.values(p))
    assert {k: len(v) for k, v in VALUES.items()} == {**judge_nets.SCENE_HEADS, **judge_nets.FACE_HEADS}
    assert all(VALUES[k] == CHOICES[k] for k in VALUES if k != "old")


def test_people_keep_who_they_are() -> None:
    """Same person, other scenes: what makes the person stays, the haircut aside."""
    from tools.demo_model.attributes import IDENTITY

    views = judge_data.person_views(9_000_003, 4)
    for p in views[1:]:
        for k in IDENTITY:
            assert k == "hair_style" or getattr(p, k) == getattr(views[0], k)
    assert len({(p.background, p.clothes, p.mouth, p.x) for p in views}) == 4


def test_equal_error_rate() -> None:
    eer, cut = judge_scores.equal_error_rate(np.array([0.8, 0.9, 0.7, 0.2]), np.array([0.1, 0.0, 0.3, 0.75]))
    assert eer == pytest.approx(0.25) and 0.2 < cut <= 0.75
    assert judge_scores.equal_error_rate(np.array([0.9, 0.8]), np.array([0.1, 0.2]))[0] == 0
