"""Families of one change each, and the training made of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sow_core.retrieval.checkpoint import load_prior
from sow_core.retrieval.demo_encoder import DemoEncoder
from tools.demo_model import choose_guidance, train_encoders, train_prior
from tools.demo_model.families import CHANGEABLE, KINDS, family
from tools.demo_model.visible import hidden

SEEDS = range(2_000_000, 2_000_120)


@pytest.mark.parametrize("kind", KINDS)
def test_families_repeat_and_differ_in_one_thing(kind: str) -> None:
    for seed in SEEDS:
        found = family(seed, kind)
        assert found == family(seed, kind)
        reference, changes = found[0], found[1:]
        assert not reference.instruction and changes
        assert all(m.instruction for m in changes)
        assert len({m.instruction for m in changes}) == len(changes)
        for m in changes:
            if kind == "portrait":
                assert reference.portrait is not None and m.portrait is not None
                before, after = reference.portrait.as_dict(), m.portrait.as_dict()
                assert [k for k in before if before[k] != after[k]] == [m.attribute]
                assert m.attribute in CHANGEABLE
                seen = "old" if m.attribute == "age" else m.attribute
                assert seen not in hidden(reference.portrait) | hidden(m.portrait)
            else:
                a, b = set(reference.things), set(m.things)
                assert {"add": (0, 1), "remove": (1, 0), "recolor": (1, 1)}[m.attribute] == (len(a - b), len(b - a))
                assert len({t.name for t in m.things}) == len(m.things)
        if kind == "scene":
            assert len({frozenset(m.things) for m in changes}) == len(changes)


def test_every_kind_of_change_occurs() -> None:
    portraits = {m.attribute for s in SEEDS for m in family(s, "portrait")[1:]}
    scenes = {m.attribute for s in SEEDS for m in family(s, "scene")[1:]}
    assert portraits == set(CHANGEABLE) and scenes == {"add", "remove", "recolor"}


def test_removals_name_what_goes() -> None:
    for seed in SEEDS:
        for m in (*family(seed, "portrait")[1:], *family(seed, "scene")[1:]):
            assert bool(m.removed) == m.instruction.startswith(("without", "remove"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both trainings on a handful of families, one after the other."""
    root = tmp_path_factory.mktemp("find")
    common = ["--smoke", "--out", str(root / "made"), "--run", str(root / "run"), "--data", str(root / "data")]
    with pytest.MonkeyPatch.context() as patch:
        for name, values in {"TEXT": (1.0,), "IMAGE": (1.0,), "STEPS": (2,)}.items():
            patch.setattr(choose_guidance, name, values)
        train_encoders.main(common)
        train_prior.main(common)
    return root


def test_training_makes_what_find_reads(folder: Path) -> None:
    encoder = DemoEncoder(Path("models/demo"), file=folder / "made" / "encoders.safetensors")
    prior = load_prior(folder / "made" / "prior.safetensors")
    assert prior.network.config == train_prior.MINIATURE and prior.encoder == encoder.identity
    assert encoder.states("a red cube").shape == (48, 128)
    assert sum(p.stat().st_size for p in (folder / "made").iterdir()) < 4_000_000


def test_training_of_the_encoders_repeats_itself(folder: Path, tmp_path: Path) -> None:
    """The same seed gives the same weights, stopped in the middle or not."""

    def run(name: str, steps: int) -> dict[str, torch.Tensor]:
        train_encoders.main(["--families", "24", "--batch", "8", "--data", str(folder / "data"), "--steps", str(steps),
                             "--out", str(tmp_path / name), "--run", str(tmp_path / name)])  # fmt: skip
        return load_file(tmp_path / name / "encoders.safetensors")

    whole = run("a", 4)
    state = torch.load(tmp_path / "a" / "encoders.pt", weights_only=True)
    assert state["step"] == 4
    again = run("b", 4)
    assert all(torch.equal(whole[k], again[k]) for k in whole)
    before = (tmp_path / "a" / "encoders.pt").read_bytes()
    run("a", 4)
    assert (tmp_path / "a" / "encoders.pt").read_bytes() == before
