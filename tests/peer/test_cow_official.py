"""Parity with the predecessor's official code on one small random SD 2 model and the same noises.

Runs when COW_PEER names a checkout of that code (github wangruoyu02/COW), which is imported from there and run
as it is. What `cow_official` has to repeat of it, although no paper says so:

* both inversions at w = 7.5 towards the target prompt, away from the empty one;
* four rows in the cycle (negative, prompt, suppress, diverse), two elsewhere; the negative prompt in the cycle only;
* re-noising with the ratio of the levels 6 -> 8 on a latent of level 5;
* eta 1 in the cycle, 0.1 in the refine with the condition written back at level 4 alone.

Given to ours instead of repeated: the VAE's samples (ours are means), the noises, and a mask whose edges lie on
the 8-px grid (the official one takes the top-left pixel of each cell, ours the covered area).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from peer.cow_trace import CowTrace, run_official  # noqa: E402
from peer.replay import Recorder, ReplayNoise  # noqa: E402
from peer.scene import PROMPTS, picture_and_mask  # noqa: E402
from tiny_models import build  # noqa: E402

from sow_core.backends.diffusers import DiffusersBackend  # noqa: E402
from sow_core.backends.painting import encode_layout  # noqa: E402
from sow_core.method.box import Box  # noqa: E402
from sow_core.method.condition import Condition, make_layout, to_tensor  # noqa: E402
from sow_core.method.engine import run  # noqa: E402
from sow_core.method.plan import Plan, build_plan  # noqa: E402
from sow_core.method.presets import preset  # noqa: E402

PEER = os.environ.get("COW_PEER", "")
pytestmark = pytest.mark.skipif(not PEER, reason="COW_PEER names no checkout of the official code")

@pytest.fixture(scope="module", params=[(256, (128, 64)), (184, (304, 16))], ids=["256px", "184px"])
def both(request, tmp_path_factory) -> tuple[CowTrace, Recorder, Plan]:
    size, offset = request.param
    model = build("sd2", tmp_path_factory.mktemp("sd2"))
    picture, keep = picture_and_mask(size)
    official = run_official(Path(PEER), model, picture, keep, PROMPTS["positive"], offset, seed=3)

    plan = build_plan(preset("cow_official"))
    condition = Condition(to_tensor(picture), to_tensor(keep), Box(*offset, size, size))
    layout = make_layout([condition], 512, 512, coverage=plan.config.coverage, fill=plan.config.fill)
    backend = DiffusersBackend.load(model)
    backend.set_prompts(PROMPTS)
    recorder = Recorder(backend, encoded=official.encoded)
    noise = ReplayNoise(official.noises)
    *_, done = run(plan, recorder, encode_layout(recorder, layout, plan), [0], noise)
    recorder.result, recorder.draws = done.result, noise.drawn
    return official, recorder, plan


def worst(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> float:
    """Largest difference of any value, over the rms of its latent (at least 1)."""
    return max(((a - b).abs().max() / b.square().mean().sqrt().clamp(min=1.0)).item()
               for a, b in zip(ours, theirs, strict=True))


def test_the_same_pixels_are_encoded(both):
    official, recorder, _ = both
    for ours, theirs in zip(recorder.pixels, official.pixels, strict=True):
        assert ours.shape == theirs.shape
        # gray is 128/255 there and 0.5 in ours: half a level of 255
        assert (ours * 2 - 1 - theirs).abs().max() < 5e-3


def test_every_call_sees_the_same_latents(both):
    official, recorder, plan = both
    assert len(official.latents) == len(recorder.latents) == plan.cost.calls == 37
    assert [int(t) for t in recorder.timesteps] == official.timesteps
    assert recorder.rows == official.rows
    difference = worst(recorder.latents, official.latents)
    print(f"largest difference over {len(official.latents)} calls: {difference:.1e} of the latents' rms")
    assert difference <= 1e-3


def test_the_same_result(both):
    official, recorder, _ = both
    assert worst([recorder.result.latents], [official.result]) <= 1e-3


def test_costs_are_what_the_plan_says(both):
    official, recorder, plan = both
    canvas = sum(rows for rows, z in zip(official.rows, official.latents, strict=True) if z.shape[-1] == 64)
    crop = sum(official.rows) - canvas
    assert (canvas, crop) == (plan.cost.rows, plan.cost.crop_rows) == (100, 14)
    assert recorder.backend.text_calls == 5 and official.text_calls == 170  # once per distinct prompt


def test_every_noise_was_used(both):
    official, recorder, _ = both
    assert len(official.noises) == recorder.draws == 35
