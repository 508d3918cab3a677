"""The peers' plans: what they cost, and that they are what their names say, on a closed-form backend."""

from __future__ import annotations

import pytest
import torch
from gaussian import GaussianBackend

from benchmarks.quality import methods, peers, tokens
from benchmarks.quality.methods import ABLATIONS, METHODS, PLAIN, choose
from sow_core.backends.painting import paint
from sow_core.errors import SowError
from sow_core.method.advice import Advice
from sow_core.method.box import Box
from sow_core.method.condition import Condition, make_layout
from sow_core.method.plan import Denoise, Place, build_plan
from sow_core.method.presets import preset

TOLD = Advice(5.0, "")


@pytest.fixture
def layout():
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    return make_layout([Condition(image, torch.ones(32, 32), Box(16, 16, 32, 32))], 64, 64)


def test_costs():
    assert (peers.text_to_image(10, 5.0).cost.calls, peers.text_to_image(10, 5.0).cost.rows) == (10, 20)
    assert peers.sdedit(10, 7, 5.0).cost.calls == 7
    assert peers.replacement(25, 5.0).cost.rows == 50
    assert peers.replacement(10, 5.0, rounds=3).cost.calls == 30
    assert METHODS["cow_official"].plan("style", TOLD).cost.rows == 100


def test_replacement_keeps_the_picture_in_the_latent(layout):
    """Up to the noise of level 0, where Stable Diffusion's grid ends (b = 0.03)."""
    backend = GaussianBackend()
    result = paint(peers.replacement(10, 5.0, rounds=2), backend, layout, [1])
    kept = layout.regions.any_condition > 0.5
    given = backend.encode(layout.canvas[None])
    error = (result.latents - given)[0].square().mean(dim=0)
    assert error[kept].mean().sqrt() < 0.04 < 0.2 < error[~kept].mean().sqrt()


def test_replacement_without_rounds_places_at_every_level():
    ops = peers.replacement(10, 5.0).ops
    assert [op.level for op in ops if isinstance(op, Place)] == list(range(10, -1, -1))
    assert [op.eta for op in ops if isinstance(op, Denoise)] == [1.0] * 9 + [0.0]


def test_text_to_image_never_sees_the_picture(layout):
    other = make_layout([Condition(torch.zeros(3, 32, 32), torch.ones(32, 32), Box(0, 0, 32, 32))], 64, 64)
    plan = peers.text_to_image(10, 5.0)
    first, second = (paint(plan, GaussianBackend(), x, [3]).latents for x in (layout, other))
    assert torch.equal(first, second)


def test_sdedit_starts_from_the_canvas(layout):
    """At strength 0.1 nearly nothing is left to change; at 1.0 nearly nothing is left of the canvas."""
    backend = GaussianBackend()
    z = backend.encode(layout.canvas[None])
    near, far = (paint(peers.sdedit(10, k, 1.0), backend, layout, [0]).latents for k in (1, 10))
    assert (near - z).square().mean() < 0.2 * (far - z).square().mean()


def test_token_replacement_writes_in_the_early_steps_only(layout):
    plan = METHODS["tokens_half"].plan("normal", TOLD)
    assert [op.level for op in plan.ops if isinstance(op, Place)] == [10, 9, 8, 7, 6]
    assert plan.cost.rows == 30, "an inversion of single rows, ten guided steps"
    assert not torch.equal(paint(plan, GaussianBackend(), layout, [3]).latents,
                           paint(peers.text_to_image(10, 5.0), GaussianBackend(), layout, [3]).latents)  # fmt: skip


def test_tokens_change_places_within_their_window():
    latent = torch.arange(2 * 16 * 16, dtype=torch.float32).view(1, 2, 16, 16)
    inside = torch.zeros(16, 16)
    inside[4:13, 2:12] = 1
    moved = tokens.shuffled(latent, inside, 0)
    outside = torch.ones(16, 16, dtype=torch.bool)
    outside[4:12, 2:12] = False
    assert torch.equal(moved[..., outside], latent[..., outside]), "a token that lies half outside stays"
    assert not torch.equal(moved, latent)
    assert torch.equal(moved.flatten().sort().values, latent.flatten())
    came_from = moved[0, 0].int()
    rows, columns = came_from // 16, came_from % 16
    at = torch.arange(16)
    assert ((rows // 6) == (at // 6)[:, None]).all() and ((columns // 6) == (at // 6)[None]).all()


@pytest.mark.parametrize("setting", ["normal", "style", "attribute"])
def test_every_method_has_a_plan(setting):
    for method in METHODS.values():
        assert method.plan(setting, TOLD).cost.calls > 0, method.name


def test_sow_is_the_settings_own_preset_at_the_models_guidance():
    for setting in ("normal", "style", "attribute"):
        mine = METHODS["sow"].config(setting, TOLD)
        assert mine.guidance == 5.0
        assert mine.preserve == preset(setting).preserve and mine.refine_eta == preset(setting).refine_eta


def test_ablations_differ_from_the_full_method():
    """Every ablation changes the plan, the canvas, the box or the text, and no two are the same (but for values
    that are the preset's own)."""
    full = METHODS["sow"].fingerprint("normal", TOLD)
    same = {m.name for m in ABLATIONS if m.fingerprint("normal", TOLD) == full}
    # the preset's own values, kept in the series; the chain's last link; a gate that is open without calibration
    assert same == {"eta_0", "keep_43", "ap_dam_pi", "no_indicator"}


def test_groups_of_whole_runs_carry_the_plain_samples_that_failures_are_measured_by():
    for group in ("main", "ablations", "all"):
        assert PLAIN in {m.name for m in choose(group)}, group


def test_fingerprint_follows_guidance_and_negative():
    sow = METHODS["sow"]
    told = {sow.fingerprint("normal", t) for t in (TOLD, Advice(7.5, ""), Advice(5.0, "bad"))}
    assert len(told) == 3


def test_predecessor_inverts_at_its_own_guidance():
    assert METHODS["cow_official"].config("normal", TOLD).inversion_guidance == 5.0
    assert build_plan(METHODS["sow"].config("normal", TOLD)).config.inversion_guidance == 1.0


def test_choose():
    assert [m.name for m in choose("sow, cow_official,sow")] == ["sow", "cow_official"]
    assert {m.name for m in choose("cycles")} >= {"sow", "cycles_1", "cycles_20"}
    assert len(choose("all")) == len(methods.METHODS)
    with pytest.raises(SowError, match="Unknown method 'sowe'"):
        choose("sowe")
    with pytest.raises(SowError, match="No method"):
        choose(" , ")
