"""What the method does to pictures, on the embedded model: wide margins, several seeds, no golden pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from faces import FACES, OTHER, PROMPT, SEEDS, face, mean, scene
from torch import Tensor

from benchmarks.quality.peers import text_to_image
from sow_core.backends import painting
from sow_core.backends.diffusers import DiffusersBackend
from sow_core.method.box import Box
from sow_core.method.condition import Layout, kept_mask, make_layout
from sow_core.method.config import SowConfig
from sow_core.method.fidelity import region_error, seam_contrast, seam_surprise
from sow_core.method.modulation import Modulation
from sow_core.method.plan import Plan, build_plan
from sow_core.method.presets import preset
from sow_core.pictures.composite import paste_back


def settings(**changes: object) -> SowConfig:
    return replace(preset("normal"), guidance=5.0, **changes)  # type: ignore[arg-type]


def paint(
    demo: DiffusersBackend, plan: Plan | SowConfig, where: Layout, seeds: list[int], prompt: str = PROMPT
) -> painting.Painted:
    demo.set_prompts({"positive": prompt, "negative": ""})
    return painting.paint(plan if isinstance(plan, Plan) else build_plan(plan), demo, where, seeds)


@pytest.fixture(scope="module")
def normal(demo: DiffusersBackend) -> Iterator[list[tuple[Layout, Tensor]]]:
    made = [(where, paint(demo, settings(), where, SEEDS).images) for where in (scene(face(n)) for n in FACES)]
    yield made


def test_the_kept_region_is_kept_and_joined(demo: DiffusersBackend, normal: list[tuple[Layout, Tensor]]) -> None:
    errors: dict[str, list[float]] = {}
    surprises: dict[str, list[float]] = {}
    seams: dict[str, list[float]] = {}
    for where, images in normal:
        pictures = {
            "normal": images,
            "text": paint(demo, text_to_image(10, 5.0), where, SEEDS).images,
        }
        pictures["paste"] = paste_back(pictures["text"], where.canvas, kept_mask(where), feather=0)
        for name, made in pictures.items():
            errors.setdefault(name, []).extend(region_error(x, where) for x in made)
            surprises.setdefault(name, []).extend(seam_surprise(demo.encode(made), where, demo, draws=2))
            seams.setdefault(name, []).extend(seam_contrast(x, where) for x in made)
    error = {name: mean(values) for name, values in errors.items()}
    surprise = {name: mean(values) for name, values in surprises.items()}
    assert error["normal"] < 0.75 * error["text"], "the picture is kept much better than by the text alone"
    assert mean(seams["normal"]) < 0.4 * mean(seams["paste"]), "its edge shows much less than a paste's"
    assert surprise["normal"] < 0.75 * surprise["paste"], "and nothing that surprises the model like a paste"


def test_the_text_rules_outside(demo: DiffusersBackend, normal: list[tuple[Layout, Tensor]]) -> None:
    where, snow = normal[0]
    night = paint(demo, settings(), where, SEEDS, OTHER).images
    outside = (1 - where.regions.any_condition).repeat_interleave(8, 0).repeat_interleave(8, 1)
    change = (snow - night).abs().mean(dim=1)
    away = (change * outside).sum() / outside.sum() / len(SEEDS)
    kept = (change * (1 - outside)).sum() / (1 - outside).sum() / len(SEEDS)
    assert away > 0.15 and away > 2 * kept
    assert (snow * outside).sum() > (night * outside).sum(), "snow is brighter than night"


def test_more_preserved_levels_keep_more(demo: DiffusersBackend) -> None:
    where = scene()
    exact = demo.encode(where.filled[None])
    inside = where.regions.any_condition > 0.5

    def distance(levels: tuple[int, ...]) -> float:
        latents = paint(demo, settings(preserve=levels), where, SEEDS).latents
        return float((latents - exact)[:, :, inside].square().mean().sqrt())

    none, paper, most = distance(()), distance((4, 3)), distance((4, 3, 2, 1))
    assert most < 0.9 * none and most <= paper <= none * 1.02


def test_the_seed_canvas_is_forgotten_over_the_cycles(demo: DiffusersBackend) -> None:
    """Two runs that differ in the colour of the canvas alone grow together: each cycle renews the noise."""
    previews = []
    for colour in ((0.5, 0.5, 0.5), (0.1, 0.5, 0.2)):
        where = make_layout([face("tom")], 128, 128, background=colour)
        previews.append(paint(demo, settings(trajectory="noise", init="noise", cycles=10), where, SEEDS).trace.previews)
    apart = [float((a - b).square().mean().sqrt()) for a, b in zip(*previews, strict=True)]
    assert len(apart) == 10
    assert mean(apart[-3:]) < 0.6 * apart[0]


def test_zero_strength_is_no_modulation_bit_for_bit(demo: DiffusersBackend) -> None:
    off = paint(demo, settings(modulation=None, cycles=2), scene(), [1])
    zero = paint(demo, settings(modulation=Modulation(suppress=0, enhance=0), cycles=2), scene(), [1])
    assert torch.equal(off.latents, zero.latents)


def test_suppression_lowers_and_enhancement_raises_the_mass(demo: DiffusersBackend) -> None:
    """Attention toward the condition, read off by the probe: the related region's rises with E."""
    where = scene()
    below = where.regions.related[0].flatten() > 0.5

    def mass(modulation: Modulation) -> tuple[float, float]:
        trace = paint(demo, settings(modulation=modulation, cycles=2), where, [1]).trace
        maps = torch.stack([m[0].flatten() for _, m in trace.masses])
        inside = where.regions.any_condition.flatten() > 0.5
        return float(maps[:, below].mean()), float(maps[:, inside].mean())

    still = mass(Modulation(suppress=0.0, enhance=1e-6, threshold=0.0))
    loud = mass(Modulation(suppress=0.0, enhance=4.0, threshold=0.0))
    closed = mass(Modulation(suppress=4.0, enhance=0.0))
    assert loud[0] > 1.5 * still[0], "the related region looks at the condition more"
    assert closed[1] > still[1], "the condition looks away from the rest, so at itself"


def test_the_gate_lets_a_third_of_the_enhancement_through(demo: DiffusersBackend) -> None:
    """With the model's own calibration, on four cases; a gate that is shut makes every ablation of E empty."""
    config = demo.parts.recommended.config("normal")
    assert config.modulation is not None and config.modulation.threshold > 0
    gates = [paint(demo, config, scene(face(name)), SEEDS).trace.mean_gate() for name in FACES]
    assert all(gate is not None for gate in gates)
    assert 0.3 <= mean([gate for gate in gates if gate is not None]) < 1


def test_both_forms_of_equation_8_run_and_differ_little_when_weak(demo: DiffusersBackend) -> None:
    base = paint(demo, settings(modulation=None, cycles=2), scene(), [1]).latents
    for weak in (Modulation(suppress=0.05, enhance=0.05), Modulation(suppress=0.01, enhance=0.01, form="minmax")):
        out = paint(demo, settings(modulation=weak, cycles=2), scene(), [1]).latents
        assert 0 < float((out - base).square().mean().sqrt()) < 0.5


def test_a_seed_is_the_same_picture_alone_and_in_a_batch(demo: DiffusersBackend) -> None:
    together = paint(demo, settings(cycles=3), scene(), [4, 9]).images
    torch.manual_seed(99)
    alone = paint(demo, settings(cycles=3), scene(), [9]).images
    assert (together[1] - alone[0]).abs().max() < 2 / 255


def test_two_faces_on_a_wide_canvas(demo: DiffusersBackend) -> None:
    faces = [face("tom", Box(16, 8, 64, 64)), face("rose", Box(112, 8, 64, 64))]
    where = make_layout(faces, 192, 128)
    plain = paint(demo, text_to_image(10, 5.0), where, [2]).images[0]
    ours = paint(demo, settings(), where, [2]).images[0]
    assert ours.shape == (3, 128, 192)
    assert region_error(ours, where) < region_error(plain, where)


def test_fast_keeps_the_face_too(demo: DiffusersBackend) -> None:
    where = scene()
    fast = replace(preset("fast"), guidance=5.0)
    kept = mean([region_error(x, where) for x in paint(demo, fast, where, SEEDS).images])
    text = mean([region_error(x, where) for x in paint(demo, text_to_image(10, 5.0), where, SEEDS).images])
    assert kept < 0.8 * text


def test_each_prompt_is_encoded_once_a_run(demo: DiffusersBackend) -> None:
    before = demo.text_calls
    paint(demo, settings(cycles=2), scene(), [0, 1])
    assert demo.text_calls - before == 2
    demo.set_prompts({"positive": "snow", "negative": "snow"})
    before = demo.text_calls
    painting.paint(build_plan(settings(cycles=1)), demo, scene(), [0])
    assert demo.text_calls - before == 1, "the same words twice are one prompt"
