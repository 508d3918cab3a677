"""Who chooses among candidates: a tiny random CLIP, and the demo world's learned match."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch
from unit.retrieval.test_clip_encoder import clip  # noqa: F401

from sow_core.assets import asset_folder
from sow_core.errors import SowError
from sow_core.turns.match import ClipMatch, open_match
from sow_core.turns.match_net import FILE, DemoMatch, MatchNet, encode_words
from sow_core.turns.resolve import Turn

TOLD = "a blue sphere on a gray floor"
PROMPT = "a blue sphere and a red cube on a gray floor"
TURN = Turn("add a red cube right of the blue sphere", (), PROMPT, (), told=TOLD)


def pictures(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_zero_shot_scores_are_the_formula(clip):  # noqa: F811
    match, images = ClipMatch(clip), pictures(4)
    before, after = images[0], images[1:]
    got = match.scores(before, TURN, after)
    new, old = match.texts([TURN.prompt, TOLD])
    shown, start = match.pictures(after), match.pictures(images[:1])[0]
    turned = torch.nn.functional.cosine_similarity(shown - start, (new - old)[None], dim=-1)
    assert torch.allclose(got, shown @ new + 0.5 * turned, atol=1e-5)
    assert torch.allclose(match.pictures(images).norm(dim=-1), torch.ones(4), atol=1e-5)
    silent = match.scores(before, replace(TURN, told=""), after)
    assert not torch.allclose(got, silent), "without words before, no direction"


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(SowError, match="No CLIP model"):
        ClipMatch(tmp_path)


def test_names_of_matches(clip):  # noqa: F811
    assert open_match(None) is None and open_match("own") is None, "the model itself"
    assert open_match("demo").name == "demo" and open_match(str(clip)).name == str(clip)


def test_the_learned_match_knows_what_was_asked():
    from tools.demo_model.edits import SEEDS
    from tools.demo_model.train_match import score

    scores = score(DemoMatch.load(), "test", 60)
    assert SEEDS["test"] >= 9_000_000 and scores["recall_at_1"] > 0.6 and scores["before_each"] > 0.55


def test_the_learned_match_is_small_and_refuses_other_files(tmp_path):
    source = asset_folder("models") / "demo" / "match" / FILE
    assert source.stat().st_size <= 2**20
    with pytest.raises(SowError, match="no learned match"):
        DemoMatch.load(tmp_path)
    shutil.copy(source, tmp_path / FILE)
    (tmp_path / FILE).write_bytes(source.read_bytes()[:1000])
    with pytest.raises(SowError, match="is no match"):
        DemoMatch.load(tmp_path)


def test_words_and_vectors():
    assert encode_words(["add a hat", "hat"], ["a", "add", "hat"]).tolist() == [[2, 1, 3], [3, 0, 0]]
    assert encode_words(["nothing known"], ["a"]).tolist() == [[0]]
    net = MatchNet(4).eval()
    with torch.no_grad():
        query = net.query(pictures(2), encode_words(["add a hat", "hat"], ["a", "add", "hat"]))
    assert torch.allclose(query.norm(dim=1), torch.ones(2), atol=1e-5) and float(net.scale.detach()) <= 100
