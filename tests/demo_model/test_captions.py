"""Captions say what is there: a full caption can be read back, a shortened one says nothing false."""

from __future__ import annotations

import numpy as np

from tools.demo_model import attributes, captions, cubes, tokenizer, world


def read(text: str) -> dict[str, str]:
    """The attributes that a caption names."""
    out: dict[str, str] = {}
    for style, starts in captions.STYLE_WORDS.items():
        for start in starts:
            if text.startswith(start + " "):
                out["style"], text = style, text.removeprefix(start + " ")
    for place, words in captions.PLACE_WORDS.items():
        if text.endswith(" " + words):
            out["background"], text = place, text.removesuffix(" " + words)
    text, _, wear = text.partition(" wearing ")
    text, _, have = text.partition(" with ")
    words = text.split()[1:]
    out["gender"] = words[-1]
    for name, word in captions.MOUTH_WORDS.items():
        if word in words:
            out["mouth"] = name
    if "old" in words or "young" in words:
        out["age"] = "old" if "old" in words else "young"
    for part in have.replace(" and ", ", ").split(", ") if have else ():
        w = part.split()
        if part == "a beard":
            out["beard"] = "yes"
        elif part == "a bald head":
            out["hair_style"] = "bald"
        elif w[-1] == "face":
            out["face_shape"] = w[1]
        elif w[-1] == "skin":
            out["skin"] = w[0]
        elif w[-1] == "eyes":
            out["eyes"] = w[0]
        elif part.endswith(("hair in a bun", "hair in a bob")):
            out["hair_style"] = w[-1]
            out |= {"hair_color": w[0]} if w[0] != "hair" else {}
        elif w[-1] == "hair":
            out["hair_style"] = w[0]
            out |= {"hair_color": w[1]} if len(w) == 3 else {}
        else:
            raise AssertionError(part)
    for part in wear.replace(" and ", ", ").split(", ") if wear else ():
        bare = part.split(" ", 1)[1] if part.startswith(("a ", "an ")) else part
        if bare in attributes.GLASSES:
            out["glasses"] = bare
        elif bare in attributes.HATS:
            out["hat"] = bare
        else:
            color, _, kind = bare.partition(" ")
            if color in attributes.CLOTHES_COLORS:
                out["clothes_color"], bare = color, kind
            assert bare in attributes.CLOTHES, part
            out["clothes"] = bare
    return out


def test_a_full_caption_can_be_read_back() -> None:
    for seed in range(9_010_000, 9_010_300):
        p = attributes.sample_portrait(world.rng_of(seed, 0))
        told = read(captions.portrait_caption(p))
        for key, value in told.items():
            assert getattr(p, key) == value
        left_out = {k for k in attributes.CHOICES if k not in told}
        allowed = {k for k, none in (("glasses", "none"), ("hat", "none"), ("beard", "no"), ("age", "adult"))
                   if getattr(p, k) == none}  # fmt: skip
        allowed |= {"hair_color"} if p.hair_style == "bald" else set()
        allowed |= {"eyes"} if p.glasses == "sunglasses" else set()
        allowed |= {"skin", "hair_color", "eyes", "clothes_color"} if p.style == "pencil" else set()
        assert left_out <= allowed


def test_shortened_captions_say_nothing_false() -> None:
    short = 0
    for seed in range(9_011_000, 9_011_300):
        p = attributes.sample_portrait(world.rng_of(seed, 0))
        text = captions.portrait_caption(p, np.random.default_rng(seed))
        told = read(text)
        short += len(text) < len(captions.portrait_caption(p))
        for key, value in told.items():
            assert value == "person" if (key, value) == ("gender", "person") else getattr(p, key) == value
    assert short > 200


def test_articles() -> None:
    texts = [world.describe(s) for s in range(9_012_000, 9_012_500)]
    assert not [t for t in texts if any(f" a {v}" in f" {t}" for v in "aeiou")]
    assert not [t for t in texts if " an b" in t or " an r" in t]


def test_cube_captions_name_every_object() -> None:
    for seed in range(9_013_000, 9_013_100):
        things = cubes.sample_scene(world.rng_of(seed, 0))
        text = captions.cube_caption(things, np.random.default_rng(seed))
        for name in {t.name for t in things}:
            assert text.count(name) == sum(t.name == name for t in things)


def test_degraded_captions_say_so() -> None:
    texts = [world.render(s, degraded=True, kind="portrait").caption for s in range(9_014_000, 9_014_020)]
    assert all(t.startswith(captions.BAD_WORDS) for t in texts)


def test_every_word_is_one_token(tmp_path) -> None:  # noqa: ANN001
    words = tokenizer.build()
    for seed in range(9_015_000, 9_015_100):
        text = world.describe(seed)
        expect = len(text.replace(",", " ,").replace("-", " - ").split())
        assert len(words.tokenize(text)) == expect
    assert len(words("zyxw").input_ids) > 3, "unknown words fall apart"
    tokenizer.save(words, tmp_path)
    from transformers import CLIPTokenizer

    again = CLIPTokenizer.from_pretrained(tmp_path)
    text = world.describe(9_015_000)
    assert again(text).input_ids == words(text).input_ids
    assert {"tokenizer.json", "vocab.json", "merges.txt"} <= {f.name for f in tmp_path.iterdir()}


def test_an_older_vocabulary_keeps_its_tokens(tmp_path) -> None:  # noqa: ANN001
    old = tokenizer.build()
    tokenizer.save(old, tmp_path)
    merges = tokenizer.read_merges(tmp_path)
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(m) for m in merges[:200]) + "\n")
    new = tokenizer.build(tmp_path)
    text = world.describe(9_015_001)
    assert tokenizer.read_merges(tmp_path)[:200] == merges[:200]
    assert len(new.tokenize(text)) == len(old.tokenize(text))
