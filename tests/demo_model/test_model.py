"""The shipped model: its size, its scale, and what its autoencoder keeps of a picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tools.demo_model import evaluate, tokenizer, train_vae, world
from tools.demo_model.judge_scores import as_float

FOLDER = Path(__file__).parents[2] / "models" / "demo"


@pytest.fixture(scope="module")
def vae():  # noqa: ANN201
    return train_vae.load(FOLDER / "vae").eval()


def test_it_is_small_and_private() -> None:
    files = [f for f in FOLDER.rglob("*") if f.is_file()]
    limits = {"retrieval": 4_200_000, "match": 1_000_000}  # small models of their own, beside what makes pictures
    sizes = dict.fromkeys(limits, 0) | {"": 0}
    for f in files:
        part = f.relative_to(FOLDER).parts[0]
        sizes[part if part in limits else ""] += f.stat().st_size
    assert sizes[""] <= 20_000_000 and all(sizes[part] <= most for part, most in limits.items()), sizes
    for f in files:
        if f.suffix == ".json" and f.parent.name != "tokenizer":
            name = json.loads(f.read_text()).get("_name_or_path", "")
            assert not Path(name).is_absolute()


def test_latents_have_unit_variance(vae) -> None:  # noqa: ANN001
    images = np.stack([world.render(s, degraded=False).image for s in world.HELD_OUT[:32]])
    z = train_vae.encode_means(vae, images, "cpu") * vae.config.scaling_factor
    assert 0.85 < float(z.std()) < 1.15 and abs(float(z.mean())) < 0.25


def test_pictures_survive_the_autoencoder(vae) -> None:  # noqa: ANN001
    x = as_float(np.stack([world.render(s, degraded=False).image for s in world.HELD_OUT[:16]]))
    y = evaluate.reconstruct(vae, x)
    assert np.mean([evaluate.psnr(a, b) for a, b in zip(x, y, strict=True)]) > 24


def test_its_words_are_the_worlds_words() -> None:
    """The tokenizer's files agree with each other, and captions of the world are mostly whole words to it."""
    from transformers import CLIPTokenizer

    words = CLIPTokenizer.from_pretrained(FOLDER / "tokenizer")
    vocab = json.loads((FOLDER / "tokenizer" / "vocab.json").read_text(encoding="utf-8"))
    assert vocab == words.get_vocab()
    assert len(tokenizer.read_merges(FOLDER / "tokenizer")) > 200
    texts = [world.describe(s) for s in range(9_020_000, 9_020_050)]
    ratio = sum(len(words.tokenize(t)) for t in texts) / sum(len(t.split()) for t in texts)
    assert ratio < 1.6
    assert torch.tensor(words("a photo of a man", padding="max_length").input_ids).shape == (77,)
