"""The speed benchmark's own logic: fair turns, honest ratios, and the same picture timed as is made. No timing here."""

from __future__ import annotations

import argparse
import xml.etree.ElementTree as ElementTree

import pytest

torch = pytest.importorskip("torch")

from benchmarks import speed  # noqa: E402
from benchmarks.timing import Durations, alternate  # noqa: E402
from sow_core.errors import SowError  # noqa: E402


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    speed.add_arguments(parser)
    return parser.parse_args(words)


def test_a_ratio_is_taken_within_rounds():
    """One slow minute hits both sides: the ratio stays 2, where a ratio of medians would not."""
    times = Durations("a", {"a": [1.0, 10.0, 1.0, 30.0], "b": [2.0, 20.0, 2.0, 60.0]})
    assert times.ratio("b") == 2.0 and times.ratio("a") == 1.0
    assert times.as_dict()["b"] == {"median_s": 11.0, "ratio": 2.0, "rounds": 4}


def test_everyone_goes_first_equally_often_after_one_untimed_round():
    turns: list[str] = []
    times = alternate({name: (lambda n=name: turns.append(n)) for name in "abc"}, rounds=3)
    rounds = [turns[i : i + 3] for i in range(0, len(turns), 3)]
    assert len(rounds) == 4 and all(sorted(r) == ["a", "b", "c"] for r in rounds)
    assert sorted(r[0] for r in rounds[1:]) == ["a", "b", "c"]
    assert all(len(values) == 3 for values in times.seconds.values())


def test_the_attention_variants_compute_the_same_bias():
    from benchmarks.attention_speed import variants

    ways = variants(64, 2, torch.float32, "cpu")
    results = {name: way() for name, way in ways.items()}
    outputs = [r[0] if isinstance(r, tuple) else r for r in results.values()]
    plain, *biased = outputs[:-1]  # the last one is min-max: another function of the same regions
    assert len(biased) >= 3
    for other in biased[1:]:
        assert torch.allclose(biased[0], other, atol=1e-5)
    assert not torch.allclose(biased[0], plain, atol=1e-3)


def test_plain_sampling_is_a_picture(tmp_path):
    from tiny_models import build

    from benchmarks.run_speed import backend_for, plain

    picture = plain(backend_for(build("sd2", tmp_path), "cpu"), 64, count=2, steps=2)
    assert picture.shape == (2, 3, 64, 64) and picture.std() > 0


def test_parts_are_written_one_by_one_and_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speed, "measure", lambda part, args: [{"count": 1, "ratio": 1.0, "part": part}])
    speed.run(options("--part", "batches", "--out", str(tmp_path)))
    speed.run(options("--part", "cycles", "--out", str(tmp_path)))
    text = (tmp_path / "speed.json").read_text()
    assert '"batches"' in text and '"cycles"' in text and '"threads": 1' in text
    assert ElementTree.parse(tmp_path / "speed.svg").getroot().tag.endswith("svg")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_is_one_line():
    with pytest.raises(SowError, match="no CUDA device"):
        speed.run(options("--device", "cuda"))


def test_the_joint_attention_needs_no_matrix_of_all_tokens():
    """In sizes of q, what the rank form allocates is the same for 4 times the tokens; a mask's is not."""
    from benchmarks.attention_speed import joint_variants, memory_of

    used = {}
    for tokens in (256, 1024):
        size = {"tokens": tokens, "text": tokens // 4, "head": 16, "heads": 2}
        ways = joint_variants(**size, dtype=torch.float32, device="cpu")
        with torch.inference_mode():
            for name, way in ways.items():
                way()  # what is kept for the rest of a call
                used[name, tokens] = memory_of(way, size, torch.float32, "cpu")
    ours, masked = "low rank with mass (ours)", "N x N bias, fused"
    assert used[ours, 1024] < 1.5 * used[ours, 256], "a matrix would make it four times as much"
    assert used[masked, 1024] > 2.5 * used[masked, 256]
