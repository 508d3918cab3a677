from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from gaussian import GaussianBackend
from torch import Tensor

from sow_core.backends.painting import encode_layout, paint
from sow_core.errors import SowError
from sow_core.method.box import Box
from sow_core.method.condition import Condition, Layout, make_layout
from sow_core.method.config import SowConfig
from sow_core.method.encoded import EncodedLayout
from sow_core.method.engine import generate, run
from sow_core.method.modulation import Modulation
from sow_core.method.noise import NoiseSource
from sow_core.method.plan import Plan, build_plan
from sow_core.method.presets import PRESETS, preset
from sow_core.method.schedule import Schedule, ddim_step, invert_step
from sow_core.method.trace import Event

PLAIN = SowConfig(modulation=None, cycles=3)


def layout(count: int = 1, width: int = 96, height: int = 64) -> Layout:
    generator = torch.Generator().manual_seed(1)
    boxes = [Box(16, 16, 32, 24), Box(56, 24, 24, 32)][:count]
    made = [
        Condition(torch.rand(3, b.height, b.width, generator=generator), torch.ones(b.height, b.width), b)
        for b in boxes
    ]
    return make_layout(made, width, height)


def start(plan: Plan, backend: GaussianBackend, where: Layout, seeds: list[int]) -> Iterator[Event]:
    return run(plan, backend, encode_layout(backend, where, plan), seeds)


def inside(x: Tensor, where: Layout) -> Tensor:
    return x[:, :, where.regions.any_condition > 0.5]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_makes_as_many_calls_as_its_plan_says(name: str) -> None:
    backend, plan = GaussianBackend(), build_plan(preset(name), 2)
    result = paint(plan, backend, layout(2), [0, 1])
    assert len(backend.calls) == plan.cost.calls == len(result.trace.calls)
    full = [c for c in backend.calls if c["shape"][-2:] == (8, 12)]
    rows = sum(len(c["rows"]) for c in full)
    assert (rows, sum(len(c["rows"]) for c in backend.calls) - rows) == (plan.cost.rows, plan.cost.crop_rows)
    assert result.images.shape == (2, 3, 64, 96) and result.latents.shape == (2, 4, 8, 12)
    assert backend.open_sessions == 0


def test_events_count_up_to_the_plan() -> None:
    events = list(start(build_plan(PLAIN), GaussianBackend(), layout(), [0]))
    calls = [e for e in events if e.kind == "call"]
    assert [e.call for e in calls] == list(range(1, build_plan(PLAIN).cost.calls + 1))
    assert {e.total for e in events} == {build_plan(PLAIN).cost.calls}
    assert sum(e.kind == "cycle" for e in events) == 3
    assert events[-1].kind == "done" and events[-1].result is not None
    assert all(e.x0 is not None and torch.isfinite(e.x0).all() for e in calls)


@pytest.mark.parametrize("trajectory", ["invert", "noise"])
def test_the_condition_is_replaced_and_never_written_back(trajectory: str) -> None:
    """One way only: at every call of the cycle the condition's cells are the stored trajectory's."""
    backend = GaussianBackend()
    config = replace(PLAIN, trajectory=trajectory, init="noise")
    paint(build_plan(config), backend, layout(), [3])
    cycle_calls = [c for c in backend.calls if len(c["rows"]) == 2][:6]
    by_level: dict[int, Tensor] = {}
    for call in cycle_calls:
        kept = inside(call["x"], layout())
        if call["level"] in by_level:
            assert torch.equal(by_level[call["level"]], kept)
        by_level[call["level"]] = kept
    assert set(by_level) == {7, 6}


def test_fresh_noise_differs_at_every_use() -> None:
    backend = GaussianBackend()
    paint(build_plan(replace(PLAIN, trajectory="noise_fresh")), backend, layout(), [3])
    first, second = [inside(c["x"], layout()) for c in backend.calls if c["level"] == 7 and len(c["rows"]) == 2][:2]
    assert not torch.allclose(first, second)


def test_preserving_to_the_end_returns_the_condition() -> None:
    """Without guidance the refine retraces the inversion: the kept cells come back."""
    where = layout()
    exact = GaussianBackend().encode(where.canvas[None])
    config = replace(PLAIN, guidance=1.0, preserve=(4, 3, 2, 1))
    near = paint(build_plan(config), GaussianBackend(), where, [0]).latents
    assert (inside(near, where) - inside(exact, where)).abs().max() < 0.1
    pinned = replace(PLAIN, preserve=(4, 3, 2, 1, 0))
    last = paint(build_plan(pinned), GaussianBackend(), where, [0]).latents
    assert torch.equal(inside(last, where), inside(exact, where))


def test_guidance_inside_changes_only_the_condition() -> None:
    where = layout()
    base = paint(build_plan(replace(PLAIN, preserve=())), GaussianBackend(), where, [0]).latents
    gentle = replace(PLAIN, preserve=(), guidance_inside=1.0)
    other = paint(build_plan(gentle), GaussianBackend(), where, [0]).latents
    changed = (base - other).abs().amax(dim=1)[0] > 1e-6
    assert torch.equal(changed, where.regions.any_condition > 0.5)


@pytest.mark.parametrize(
    "changes", [{}, {"init": "noise"}, {"init": "none", "trajectory": "noise"}, {"adaptive": True}]
)
def test_a_seed_means_the_same_alone_and_in_a_batch(changes: dict) -> None:
    config = replace(PLAIN, cycles=8, **changes)
    together = paint(build_plan(config), GaussianBackend(), layout(), [5, 6, 7])
    for index, seed in enumerate((5, 6, 7)):
        torch.manual_seed(index)  # the global generator must not matter
        alone = paint(build_plan(config), GaussianBackend(), layout(), [seed])
        assert torch.allclose(together.latents[index], alone.latents[0], atol=1e-5)
        assert together.trace.cycles[index] == alone.trace.cycles[0]
    assert not torch.allclose(together.latents[0], together.latents[1])


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    paint(build_plan(PLAIN), GaussianBackend(), layout(), [0])
    assert torch.equal(before, torch.get_rng_state())


def test_adaptive_stop_ends_cycling_and_keeps_every_preview() -> None:
    config = replace(PLAIN, cycles=40, adaptive=True, tolerance=0.05)
    backend = GaussianBackend()
    result = paint(build_plan(config), backend, layout(), [0, 1, 2, 3])
    assert all(3 <= c < 40 for c in result.trace.cycles)
    assert len(backend.calls) < build_plan(config).cost.calls
    assert len(result.trace.previews) == max(result.trace.cycles)
    assert all(p.shape[0] == 4 for p in result.trace.previews)
    assert torch.isfinite(result.latents).all()


def test_adaptive_stop_respects_the_minimum() -> None:
    config = replace(PLAIN, cycles=12, adaptive=True, tolerance=1.0, min_cycles=7)
    assert paint(build_plan(config), GaussianBackend(), layout(), [0]).trace.cycles == [7]


@pytest.mark.parametrize("trajectory", ["invert", "noise", "noise_fresh"])
def test_conditions_keep_their_own_pictures(trajectory: str) -> None:
    where = layout(2)
    pinned = replace(PLAIN, preserve=(4, 0), invert_on="crop", trajectory=trajectory)
    latents = paint(build_plan(pinned, 2), GaussianBackend(), where, [0]).latents
    backend = GaussianBackend()
    for item in where.conditions:
        y, x = item.box.y // 8, item.box.x // 8
        part = latents[:, :, y : y + item.cells.shape[0], x : x + item.cells.shape[1]]
        assert torch.allclose(part, backend.encode(item.image[None]), atol=1e-5)


def test_crop_and_canvas_inversion_agree_on_a_pointwise_model() -> None:
    where = layout(2)
    latents = [
        paint(build_plan(replace(PLAIN, invert_on=on, init="noise"), 2), GaussianBackend(), where, [0]).latents
        for on in ("crop", "canvas")
    ]
    assert torch.allclose(*latents, atol=1e-4)


def test_modulation_hands_a_control_to_the_cycle_only() -> None:
    backend = GaussianBackend()
    paint(build_plan(replace(PLAIN, modulation=Modulation())), backend, layout(), [0])
    with_control = [c for c in backend.calls if c["control"] is not None]
    assert len(with_control) == 6 and {c["level"] for c in with_control} == {7, 6}
    assert {c["rows"] for c in with_control} == {("negative", "positive")}


def test_an_error_and_a_cancel_close_the_session() -> None:
    backend = GaussianBackend()
    backend.fail_at = 9
    with pytest.raises(RuntimeError, match="the model broke"):
        paint(build_plan(PLAIN), backend, layout(), [0])
    assert backend.open_sessions == 0
    backend.fail_at = None
    events = start(build_plan(PLAIN), backend, layout(), [0])
    next(events)
    assert backend.open_sessions == 1
    events.close()  # type: ignore[attr-defined]
    assert backend.open_sessions == 0

    class Cancelled(Exception):
        pass

    def cancel(event: object) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        paint(build_plan(PLAIN), backend, layout(), [0], cancel)
    assert backend.open_sessions == 0 and torch.is_grad_enabled()


def test_gradients_stay_enabled_for_the_caller_between_events() -> None:
    events = start(build_plan(PLAIN), GaussianBackend(), layout(), [0])
    next(events)
    assert torch.is_grad_enabled()
    events.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("row", ["positive", "negative"])
def test_damaged_weights_are_said_not_painted(row: str) -> None:
    backend = GaussianBackend(means={row: float("nan")})
    with pytest.raises(SowError, match="NaN or infinite values in the (inversion|final latents)"):
        paint(build_plan(PLAIN), backend, layout(), [0])


def test_wrong_use() -> None:
    with pytest.raises(SowError, match="No seed"):
        paint(build_plan(PLAIN), GaussianBackend(), layout(), [])
    with pytest.raises(ValueError, match="the plan is for 1 conditions"):
        paint(build_plan(replace(PLAIN, invert_on="crop")), GaussianBackend(), layout(2), [0])
    with pytest.raises(SowError, match="at least one picture"):
        build_plan(PLAIN, 0)


def test_noise_of_an_image_depends_on_its_seed_alone() -> None:
    together, alone = NoiseSource([1, 2]), NoiseSource([2])
    assert torch.equal(together.draw((4, 3), [0, 1])[1], alone.draw((4, 3), [0])[0])
    assert torch.equal(together.draw((4, 3), [1])[0], alone.draw((4, 3), [0])[0]), "skipped images do not move"
    assert torch.equal(NoiseSource([2**64 + 5]).draw((3,), [0]), NoiseSource([5]).draw((3,), [0]))


def test_the_trace_is_json() -> None:
    import json

    result = paint(build_plan(preset("normal")), GaussianBackend(), layout(), [0])
    report = json.loads(json.dumps(result.trace.as_dict()))
    assert report["model_calls"] == 19 and report["cycles"] == [5]
    assert set(report["seconds"]) == {"encode", "invert", "cycle", "refine", "decode"}


@pytest.mark.parametrize("stride", [2, 3, 7])
def test_a_strided_inversion_asks_at_its_stops_and_keeps_the_condition(stride: int) -> None:
    """Level 0 is stored as encoded, so writing it back at the end gives the condition whatever lies between."""
    where, backend = layout(), GaussianBackend()
    plan = build_plan(replace(PLAIN, inversion_stride=stride, preserve=(4, 0)))
    result = paint(plan, backend, where, [0])
    asked = [c.level for c in result.trace.calls if c.phase == "invert"]
    assert asked == [c["level"] for c in backend.calls[: len(asked)]] == sorted({*range(stride, 8, stride), 7})
    encoded = backend.encode(where.filled[None])
    assert torch.equal(inside(result.latents, where), inside(encoded, where))


def test_a_strided_inversion_comes_near_the_full_one() -> None:
    """Near the stored states of every level, and nearer with more calls."""
    where = layout()

    def states(stride: int) -> list[Tensor]:
        backend = GaussianBackend()
        paint(build_plan(replace(PLAIN, inversion_stride=stride)), backend, where, [0])
        cycle = [c for c in backend.calls if len(c["rows"]) == 2][:2]
        return [inside(c["x"], where) for c in cycle]

    full = states(1)
    errors = [max(float((a - b).square().mean().sqrt()) for a, b in zip(full, states(n), strict=True)) for n in (2, 7)]
    assert 0 < errors[0] < errors[1] < 0.5


@pytest.mark.parametrize(
    ("changes", "crops", "canvas"),
    [
        ({}, 0, 1),
        ({"invert_on": "crop"}, 2, 1),
        ({"invert_on": "crop", "init": "noise"}, 2, 1),
        ({"trajectory": "noise", "init": "none"}, 2, 0),
    ],
)
def test_only_what_the_plan_reads_is_encoded(changes: dict, crops: int, canvas: int) -> None:
    backend, where = GaussianBackend(), layout(2)
    made = encode_layout(backend, where, build_plan(replace(PLAIN, **changes), 2))
    assert (len(made.crops), made.canvas is not None) == (crops, bool(canvas))
    assert backend.encoded == crops + canvas
    assert [z.shape[-2:] for z in made.crops] == [c.cells.shape for c in where.conditions][:crops]


def test_crops_of_one_size_are_encoded_together() -> None:
    backend, where = GaussianBackend(), layout(1, 96, 96)
    twice = make_layout([Condition(c.picture, c.mask, c.box) for c in where.conditions * 2], 96, 96)
    made = encode_layout(backend, twice, build_plan(replace(PLAIN, trajectory="noise", init="none"), 2))
    assert len(made.crops) == 2 and backend.encodings == 1


@pytest.mark.parametrize(("missing", "changes"), [("canvas", {}), ("crops", {"invert_on": "crop"})])
def test_an_encoding_for_other_settings_is_said(missing: str, changes: dict) -> None:
    backend, where, plan = GaussianBackend(), layout(), build_plan(replace(PLAIN, **changes))
    other = {"canvas": {"trajectory": "noise", "init": "none"}, "crops": {}}[missing]
    encoded = encode_layout(backend, where, build_plan(replace(PLAIN, **other)))
    with pytest.raises(SowError, match=f"encoded without its {missing}; encode it again"):
        generate(plan, backend, encoded, [0])
    assert backend.open_sessions == 0 and not backend.calls


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_damaged_encodings_and_pictures_are_said(value: float) -> None:
    where = layout()
    with pytest.raises(SowError, match="NaN or infinite values in the VAE's encoding"):
        EncodedLayout(where, (), torch.full((1, 4, 8, 12), value))
    backend = GaussianBackend()
    backend.decode = lambda latent: latent[:, :3] * value  # type: ignore[method-assign]
    with pytest.raises(SowError, match="NaN or infinite values in the decoded picture"):
        paint(build_plan(PLAIN), backend, where, [0])


def test_a_mapped_encoding_keeps_its_layout() -> None:
    backend, where = GaussianBackend(), layout(2)
    made = encode_layout(backend, where, build_plan(replace(PLAIN, invert_on="crop"), 2))
    twice = made.mapped(lambda z: 2 * z)
    assert twice.layout is where and twice.channels == made.channels == 4
    assert all(torch.equal(a, 2 * b) for a, b in zip(twice.latents, made.latents, strict=True))


def test_picture_guidance_asks_once_more_without_the_condition() -> None:
    where = layout()
    plain = paint(build_plan(replace(PLAIN, cycles=1, preserve=(4, 3, 2, 1, 0))), GaussianBackend(), where, [0, 1])
    config = replace(PLAIN, cycles=1, preserve=(4, 3, 2, 1, 0), picture_guidance=2.0)
    backend = GaussianBackend()
    pushed = paint(build_plan(config), backend, where, [0, 1])
    assert torch.equal(inside(plain.latents, where), inside(pushed.latents, where))
    singles = [c for c in backend.calls if c["rows"] == ("positive",) and c["level"] in (7, 6)]
    blank, whole = singles[-2]["x"], next(c["x"] for c in backend.calls if len(c["rows"]) == 2)
    outside = where.regions.any_condition < 0.5
    assert torch.equal(blank[:, :, outside], whole[:, :, outside])
    assert not torch.allclose(inside(blank, where), inside(whole, where))
    assert [c.phase for c in pushed.trace.calls].count("picture") == 2


def test_picture_guidance_draws_its_noise_apart() -> None:
    """At scale 0+ the picture is the unguided one: the run's own noise does not move."""
    where = layout()
    plain = paint(build_plan(PLAIN), GaussianBackend(), where, [3]).latents
    hardly = paint(build_plan(replace(PLAIN, picture_guidance=1e-9)), GaussianBackend(), where, [3]).latents
    assert torch.allclose(plain, hardly, atol=1e-5)


def test_a_flow_model_runs_by_the_same_plan() -> None:
    """Matched levels and an exact denoiser: kept to level 0, a seed alone as in a batch, one way only."""
    where, config = layout(), replace(PLAIN, preserve=(4, 3, 2, 1, 0), level_shift=1.5)
    plan = build_plan(config)
    both, alone = (paint(plan, GaussianBackend(flow=True), where, seeds) for seeds in ([4, 5], [5]))
    assert torch.allclose(both.latents[1], alone.latents[0], atol=1e-5)
    encoded = encode_layout(GaussianBackend(), where, plan).canvas
    assert torch.allclose(inside(both.latents, where), inside(encoded, where).expand(2, -1, -1), atol=1e-5)
    assert not torch.allclose(both.latents[0], both.latents[1], atol=0.1)
    times = [call.timestep for call in both.trace.calls if call.phase == "refine"]
    shifted = Schedule.matched_flow(10, 1.5)
    assert times == pytest.approx([shifted.t[level] for level in range(5, 0, -1)])


@pytest.mark.parametrize("flow", [False, True], ids=["vp", "flow"])
def test_an_inversion_of_a_flow_retraces_itself_as_one_of_stable_diffusion_does(flow: bool) -> None:
    """Up at every level and down again, without guidance: of the same order of error."""
    backend, z = GaussianBackend(flow=flow), torch.full((1, 4, 2, 2), 0.7)
    schedule, x = backend.schedule(10), z
    for level in range(7):
        x = invert_step(x, backend.predict(x, schedule, level + 1, ("positive",))[0], schedule, level, level + 1)
    for level in range(7, 0, -1):
        x = ddim_step(x, backend.predict(x, schedule, level, ("positive",))[0], schedule, level, level - 1)
    assert (x - z).abs().max() < 0.12
