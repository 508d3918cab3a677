"""Every command runs end to end on a handful of pictures, resumes, and says what is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tools.demo_model import evaluate, export, flow, render, train_flow, train_judges, train_unet, train_vae


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set and a tiny trained run."""
    root = tmp_path_factory.mktemp("demo_model")
    render.main(["--smoke", "--out", str(root / "data")])
    common = ["--smoke", "--data", str(root / "data"), "--out", str(root / "run")]
    train_vae.main(common)
    train_unet.main(common)
    train_judges.main(["--smoke", "--out", str(root / "judges"), "--run", str(root / "judges_run")])
    return root


def test_render_writes_pictures_and_truth(work: Path) -> None:
    images = np.load(work / "data" / "images.npy")
    lines = (work / "data" / "truth.jsonl").read_text().splitlines()
    assert images.shape == (48, 128, 128, 3) and len(lines) == 48
    assert json.loads(lines[5])["seed"] == 5
    assert (work / "data" / "sheet.png").stat().st_size > 10_000


def test_latents_have_unit_variance(work: Path) -> None:
    """The scale is folded into the autoencoder, so that scaling_factor 0.18215 is right."""
    vae = train_vae.load(work / "run" / "vae")
    images = np.load(work / "data" / "images.npy")
    z = train_vae.encode_means(vae, images, "cpu") * vae.config.scaling_factor
    assert torch.allclose(z.mean((0, 2, 3)), torch.zeros(4), atol=0.05)
    assert torch.allclose(z.std((0, 2, 3)), torch.ones(4), atol=0.05)


def test_standardising_changes_no_picture() -> None:
    vae = train_vae.build(0.5, 32).eval()
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        z = vae.encode(x).latent_dist.mean
        before, noise = vae.decode(z).sample, vae.encode(x).latent_dist.std / z.std((0, 2, 3))[:, None, None]
        train_vae.standardize(vae, z)
        z2 = vae.encode(x).latent_dist.mean
        after, noise2 = vae.decode(z2).sample, vae.encode(x).latent_dist.std / z2.std((0, 2, 3))[:, None, None]
    assert torch.allclose(before, after, atol=1e-4)
    assert torch.allclose(noise, noise2, rtol=1e-3)


def test_training_resumes_where_it_stopped(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second run with the same number of steps has nothing left to do and changes nothing."""
    before = (work / "run" / "unet.pt").read_bytes()
    train_unet.main(["--smoke", "--data", str(work / "data"), "--out", str(work / "run")])
    assert (work / "run" / "unet.pt").read_bytes() == before


def test_training_repeats_itself(work: Path, tmp_path: Path) -> None:
    """The same seed gives the same weights, stopped in the middle or not."""
    common = ["--data", str(work / "data"), "--batch", "4", "--width", "0.5"]
    train_vae.main([*common, "--out", str(tmp_path / "a"), "--steps", "4"])
    state = torch.load(tmp_path / "a" / "vae.pt", weights_only=True)
    train_vae.main([*common, "--out", str(tmp_path / "b"), "--steps", "4"])
    again = torch.load(tmp_path / "b" / "vae.pt", weights_only=True)
    assert state["step"] == again["step"] == 4
    for k, v in state["model"].items():
        assert torch.equal(v, again["model"][k]), k


def test_no_picture_always_meets_the_same_noise(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise levels rise from the first to the last of a batch, so pictures must come in no order of their own."""
    shutil.copytree(work / "run" / "vae", tmp_path / "vae")
    drawn, met = [], {}
    tell, levels = train_unet.captions, train_unet.emphasis.noise_levels

    def captions(truths, rng):
        drawn.append([id(t) for t in truths])
        return tell(truths, rng)

    def noise_levels(*given):
        times = levels(*given)
        for picture, t in zip(drawn[-1], times, strict=True):
            met.setdefault(picture, []).append(t)
        return times

    monkeypatch.setattr(train_unet, "captions", captions)
    monkeypatch.setattr(train_unet.emphasis, "noise_levels", noise_levels)
    train_unet.main(["--data", str(work / "data"), "--out", str(tmp_path), "--size", "tiny", "--batch", "16",
                     "--steps", "30"])  # fmt: skip
    assert len(met) == 48 and min(map(len, met.values())) == 10
    assert min(np.std(times) for times in met.values()) > 150, "289 for even levels, under 60 for the first if sorted"


def test_flow_training_repeats_itself_and_resumes(work: Path, tmp_path: Path) -> None:
    """Stopped after two of four steps or not: the same weights."""
    common = ["--data", str(work / "data"), "--batch", "4", "--size", "tiny", "--steps", "4", "--text", "models/demo"]
    states = []
    for name, stops in (("a", ("4",)), ("b", ("2", "4"))):
        shutil.copytree(work / "run" / "vae", tmp_path / name / "vae")
        for stop in stops:
            train_flow.main([*common, "--out", str(tmp_path / name), "--until", stop])
        states.append(torch.load(tmp_path / name / "flow.pt", weights_only=True))
    assert [s["step"] for s in states] == [4, 4]
    for k, v in states[0]["model"].items():
        assert torch.equal(v, states[1]["model"][k]), k
    evaluate.main(["--smoke", "--model", str(tmp_path / "a"), "--out", str(tmp_path / "seen")])
    scores = json.loads((tmp_path / "seen" / "scores.json").read_text())
    assert {"inversion", "following", "cubes"} <= set(scores)


def test_flow_times_dwell_on_the_middle() -> None:
    even = (np.arange(1000) + 0.5) / 1000
    dwelling = flow.times(even, np.zeros(1000, bool))
    assert np.array_equal(flow.times(even, np.ones(1000, bool)), even.astype(np.float32))
    assert (np.diff(dwelling) > 0).all() and 0 < dwelling[0] and dwelling[-1] < 1
    assert ((dwelling > 0.25) & (dwelling < 0.75)).mean() > 0.7


def test_a_new_flow_transformer_answers_nothing() -> None:
    """adaLN-zero: every branch is gated off, the last layer is zero."""
    net = flow.build(flow.SIZES["tiny"], 16)
    x, states, pooled = torch.randn(2, 4, 16, 16), torch.randn(2, 5, flow.TEXT), torch.randn(2, flow.TEXT)
    out = net(hidden_states=x, encoder_hidden_states=states, pooled_projections=pooled,
              timestep=torch.tensor([100.0, 900.0]), return_dict=False)[0]  # fmt: skip
    assert out.shape == x.shape and not out.any()


def test_two_processes_train_together(work: Path, tmp_path: Path) -> None:
    train_vae.main(["--smoke", "--processes", "2", "--data", str(work / "data"), "--out", str(tmp_path)])
    assert (tmp_path / "vae" / "config.json").exists()


def test_export_and_evaluate(work: Path) -> None:
    out = work / "model"
    out.mkdir()
    (out / "README.md").write_text("a card")
    export.main(["--run", str(work / "run"), "--out", str(out)])
    export.main(["--run", str(work / "run"), "--out", str(out)])
    assert (out / "README.md").read_text() == "a card", "files that are no weights stay"
    for f in out.rglob("*.json"):
        assert "_name_or_path" not in f.read_text()
    evaluate.main(["--smoke", "--model", str(out), "--judges", str(work / "judges"), "--out", str(work / "evaluation")])
    scores = json.loads((work / "evaluation" / "scores.json").read_text())
    assert {"autoencoder", "inversion", "following", "cubes"} <= set(scores)
    assert 3 < scores["autoencoder"]["all"] < 60


def test_a_missing_step_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="train_vae first"):
        train_unet.main(["--smoke", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"tools\.demo_model\.render"):
        train_vae.main(["--smoke", "--data", str(tmp_path), "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="is missing"):
        export.main(["--run", str(tmp_path), "--out", str(tmp_path / "model")])


def test_counting_objects() -> None:
    told = evaluate.multiset_f1([["red cube", "red cube", "blue sphere"]], [["red cube", "blue sphere", "green cube"]])
    assert told["precision"] == told["recall"] == pytest.approx(2 / 3)
    assert told["exact"] == 0
