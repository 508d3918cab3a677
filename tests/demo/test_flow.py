"""The method on the embedded flow transformer, where attention is the only way between cells."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from faces import EXAMPLES, FACES, OTHER, PROMPT, SEEDS, face, mean, scene
from torch import Tensor

from benchmarks.quality.peers import text_to_image
from sow_core.backends import painting
from sow_core.backends.opening import open_backend
from sow_core.backends.transformer import TransformerBackend
from sow_core.cli import main
from sow_core.method.condition import Layout, to_tensor
from sow_core.method.config import SowConfig
from sow_core.method.fidelity import region_error
from sow_core.method.modulation import Modulation
from sow_core.method.plan import Plan, build_plan
from sow_core.method.presets import preset
from sow_core.pictures.reading import load_picture
from tools.demo_model.judges import Judges

GUIDANCE = 4.0


@pytest.fixture(scope="module")
def flow() -> TransformerBackend:
    backend = open_backend("demo_flow")
    assert isinstance(backend, TransformerBackend)
    return backend


@pytest.fixture(scope="module")
def judges() -> Judges:
    return Judges.load(EXAMPLES.parent / "models" / "demo" / "judges")


def settings(**changes: object) -> SowConfig:
    return replace(preset("normal"), guidance=GUIDANCE, **changes)  # type: ignore[arg-type]


def paint(
    flow: TransformerBackend, plan: Plan | SowConfig, where: Layout, seeds: list[int], prompt: str = PROMPT
) -> painting.Painted:
    flow.set_prompts({"positive": prompt, "negative": ""})
    return painting.paint(plan if isinstance(plan, Plan) else build_plan(plan), flow, where, seeds)


@pytest.fixture(scope="module")
def normal(flow: TransformerBackend) -> dict[str, tuple[Layout, Tensor]]:
    wheres = {name: scene(face(name)) for name in FACES}
    return {name: (where, paint(flow, settings(), where, SEEDS).images) for name, where in wheres.items()}


def test_the_person_is_kept_in_the_scene_asked_for(
    flow: TransformerBackend, judges: Judges, normal: dict[str, tuple[Layout, Tensor]]
) -> None:
    """As the judges see them: the same face, nearer than the text's own; mountains and a red t-shirt around it."""
    near, far, errors, plain, right = [], [], [], [], []
    for name, (where, images) in normal.items():
        given, _ = load_picture(EXAMPLES / f"{name}_source.png")
        told = judges.identity(to_tensor(given)[None])
        by_text = paint(flow, text_to_image(10, GUIDANCE), where, SEEDS).images
        near += (judges.identity(images) @ told.T).flatten().tolist()
        far += (judges.identity(by_text) @ told.T).flatten().tolist()
        errors += [region_error(x, where) for x in images]
        plain += [region_error(x, where) for x in by_text]
        right += [row["background"] == "mountains" for row in judges.labels(images)]
        right += [row["clothes_color"] == "red" for row in judges.labels(images)]
    assert mean(near) > 0.5 and mean(near) > mean(far) + 0.2
    assert mean(errors) < 0.6 * mean(plain)
    assert mean(right) >= 0.75


def test_the_text_rules_outside(flow: TransformerBackend, normal: dict[str, tuple[Layout, Tensor]]) -> None:
    where, snow = normal[FACES[0]]
    night = paint(flow, settings(), where, SEEDS, OTHER).images
    outside = (1 - where.regions.any_condition).repeat_interleave(8, 0).repeat_interleave(8, 1)
    change = (snow - night).abs().mean(dim=1)
    away = (change * outside).sum() / outside.sum() / len(SEEDS)
    kept = (change * (1 - outside)).sum() / (1 - outside).sum() / len(SEEDS)
    assert away > 0.15 and away > 2 * kept


def test_zero_strength_is_no_modulation_bit_for_bit(flow: TransformerBackend) -> None:
    off = paint(flow, settings(modulation=None, cycles=2), scene(), [1])
    zero = paint(flow, settings(modulation=Modulation(suppress=0, enhance=0), cycles=2), scene(), [1])
    assert torch.equal(off.latents, zero.latents)


def test_suppression_lowers_and_enhancement_raises_the_mass(flow: TransformerBackend) -> None:
    where = scene()

    def mass(modulation: Modulation) -> tuple[float, float]:
        trace = paint(flow, settings(modulation=modulation, cycles=2), where, [1]).trace
        maps = torch.stack([m[0] for _, m in trace.masses])
        regions = where.regions.at((maps.shape[-2], maps.shape[-1]))
        below, inside = regions.related[0] >= 0.5, regions.condition[0] >= 0.5
        return float(maps.flatten(1)[:, below].mean()), float(maps.flatten(1)[:, inside].mean())

    still = mass(Modulation(suppress=0.0, enhance=1e-6))
    loud = mass(Modulation(suppress=0.0, enhance=4.0))
    closed = mass(Modulation(suppress=4.0, enhance=0.0))
    assert loud[0] > 1.5 * still[0], "the related region looks at the condition more"
    assert closed[1] > still[1], "the condition looks away from the rest of the picture, so at itself and the text"


def test_a_seed_is_the_same_picture_alone_and_in_a_batch(flow: TransformerBackend) -> None:
    together = paint(flow, settings(cycles=3), scene(), [4, 9]).images
    torch.manual_seed(99)
    alone = paint(flow, settings(cycles=3), scene(), [9]).images
    assert (together[1] - alone[0]).abs().max() < 2 / 255


def test_a_picture_of_it_repeats_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--from names the model as it is embedded, wherever it is run."""
    monkeypatch.chdir(tmp_path)
    for file in (EXAMPLES / "tom.png", EXAMPLES / "tom_mask.png"):
        shutil.copy(file, tmp_path)
    quick = ["--size", "128x128", "--preset", "fast", "--device", "cpu", "--quiet"]
    assert main(["generate", "--model", "demo_flow", "--condition", "tom.png", "--mask", "tom_mask.png", "--prompt",
                 PROMPT, "--out", "one.png", *quick]) == 0  # fmt: skip
    assert main(["generate", "--from", "one.png", "--out", "two.png", "--quiet", "--device", "cpu"]) == 0
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
