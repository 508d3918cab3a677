"""The measures on pictures whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch

from benchmarks.quality import metrics
from benchmarks.quality.judging import kid
from benchmarks.quality.report import with_verdicts
from benchmarks.quality.summary import add_balance, aggregate, balance, identity_score
from sow_core.method.box import Box
from sow_core.method.condition import Condition, make_layout


@pytest.fixture
def layout():
    """A red disc kept in the middle of 128 px."""
    ys, xs = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    mask = ((xs - 32) ** 2 + (ys - 32) ** 2 < 24**2).float()
    image = torch.tensor([0.8, 0.2, 0.1])[:, None, None].expand(3, 64, 64).clone()
    return make_layout([Condition(image, mask, Box(32, 32, 64, 64))], 128, 128)


def test_kept_exactly(layout):
    told = metrics.region(layout.canvas, layout)
    assert told["region_rms"] == 0.0
    assert told["region_psnr"] == 120.0
    assert told["gray_halo"] == 1.0  # all around it is the canvas's gray


def test_region_distance_is_the_rms_inside_alone(layout):
    image = layout.canvas.clone()
    inside = (image - 128 / 255).abs().amax(0) > 0.05
    image[:, inside] += 0.1
    image[:, ~inside] = 0.0  # of no account
    told = metrics.region(image, layout)
    assert told["region_rms"] == pytest.approx(0.1, abs=1e-4)
    assert told["region_psnr"] == pytest.approx(20.0, abs=0.05)
    assert told["gray_halo"] == 0.0


def test_halo_counts_the_ring_alone(layout):
    red = torch.tensor([0.8, 0.2, 0.1])[:, None, None].expand(3, 128, 128).clone()
    assert metrics.gray_halo(red, layout) == 0.0
    half = red.clone()
    half[:, :, :64] = layout.canvas[:, :, :64]
    assert 0.4 < metrics.gray_halo(half, layout) < 0.6


def test_seam_is_seen(layout):
    smooth = torch.tensor([0.8, 0.2, 0.1])[:, None, None].expand(3, 128, 128) + 0.02 * torch.rand(
        3, 128, 128, generator=torch.Generator().manual_seed(0)
    )
    hard = torch.where((layout.canvas - 128 / 255).abs().amax(0) > 0.05, layout.canvas, smooth * 0.5)
    assert metrics.region(smooth, layout)["seam_contrast"] < 1.3
    assert metrics.region(hard, layout)["seam_contrast"] > 3 * metrics.region(smooth, layout)["seam_contrast"]


def test_spread():
    told = metrics.spread([1.0, 2.0, 3.0])
    assert told == {"mean": 2.0, "se": pytest.approx(1 / math.sqrt(3)), "n": 3}
    assert math.isnan(metrics.spread([1.0])["se"])


def test_kid():
    """About 0 for the same distribution, and the larger the further apart."""
    g = torch.Generator().manual_seed(0)
    a, b, c = (torch.randn(200, 8, generator=g) for _ in range(3))
    near, far, further = kid(a, b), kid(a, c + 1.0), kid(a, c + 2.0)
    assert abs(near) < 0.1 < far < further
    with pytest.raises(ValueError, match="at least two"):
        kid(a[:1], b)


def test_kid_of_pairs():
    """Two noisy copies of the same pictures have no distance; counting the pairs would put it far below 0."""
    g = torch.Generator().manual_seed(1)
    same = torch.randn(60, 8, generator=g)
    a, b = (same + 0.3 * torch.randn(60, 8, generator=g) for _ in range(2))
    assert abs(kid(a, b, paired=True)) < 0.1 < -kid(a, b)
    assert kid(a + 1.5, b, paired=True) > 0.5
    with pytest.raises(ValueError, match="as many"):
        kid(a[:50], b, paired=True)


def test_balance():
    assert balance(1.0, 1.0) == 1.0
    assert balance(1.0, 0.0) == balance(0.0, 0.0) == 0.0
    assert balance(0.5, 1.0) == pytest.approx(2 / 3)
    assert identity_score(0.0, 1.1) == 1.0 and identity_score(2.0, 1.1) == 0.0
    assert identity_score(0.55, 1.1) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="above 0"):
        identity_score(0.3, 0.0)


def record(method: str, **values):
    return {"setting": "normal", "method": method, "rows": 50, **values}


def test_verdicts_follow_the_thresholds():
    made = record("a", odds={"no_body": -1.0, "seam_visible": 2.0}, second_face=False)
    assert with_verdicts(made, {"no_body": 0.0, "seam_visible": 1.0})["failed"] is True
    sound = with_verdicts(made, {"no_body": 0.0, "seam_visible": 2.5})
    assert (sound["failed"], sound["no_body"], sound["seam_visible"]) == (False, False, False)
    assert with_verdicts(made | {"second_face": True}, {"no_body": 0.0, "seam_visible": 2.5})["failed"] is True
    assert "failed" not in with_verdicts(record("a"), {"no_body": 0.0})
    assert "failed" not in with_verdicts(made, {})


def test_aggregate_and_balance():
    rows = [
        record("a", region_rms=0.1, identity_distance=0.2, text={"x": True}, text_right=1.0, failed=False),
        record("a", region_rms=0.3, identity_distance=0.4, text={"x": False}, text_right=0.0, failed=True),
        record("b", region_rms=0.2),
    ]
    table = aggregate(rows)
    a, b = table["normal"]["a"], table["normal"]["b"]
    assert a["region_rms"] == {"mean": pytest.approx(0.2), "se": pytest.approx(0.1), "n": 2}
    assert a["failed"]["mean"] == 0.5 and a["text"] == {"x": 0.5}
    assert "failed" not in b and "text" not in b
    add_balance(table, {"normal": 1.0})
    assert a["balance"]["mean"] == pytest.approx(balance(0.7, 0.5))
    assert a["usable"]["mean"] == pytest.approx(balance(0.7, 0.5) / 2)
    assert "balance" not in b
