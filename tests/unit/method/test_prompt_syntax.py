from __future__ import annotations

import pytest

from sow_core.method.prompt_syntax import SYNTAX, note, unapplied


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("a (man:1.4) on a beach", 0),
        ("a ((red)) suit", 0),
        ("a [beach]", 0),
        ("a [cat:dog:0.5]", 0),
        ("embedding:easynegative, a man", 1),
        ("a man, Embedding : bad", 1),
        ("<lora:style:0.8> a man", 2),
        ("< LORA:style>", 2),
        ("a man BREAK a beach", 3),
        ("a cat AND a dog", 3),
        ("a {red|blue} suit", 4),
        ("a __colour__ suit", 4),
    ],
)
def test_each_syntax_is_named(text, number):
    assert unapplied(text) == [SYNTAX[number][0]]


PLAIN = ["", "a man and a dog, break of day", "snow: 3 cats", "it's 50% off, isn't it?", "a < b", "a_b", "embedding"]


@pytest.mark.parametrize("text", PLAIN)
def test_plain_words_need_no_note(text):
    assert unapplied(text) == [] and note({"--prompt": text}) is None


def test_one_line_for_all_prompts():
    said = note({"--prompt": "(a:1.2) <lora:x:1>", "--negative": "bad", "--diverse": "{a|b}"})
    assert said == (
        "note: --prompt has (word:1.2) weights, <lora:name:1>; --diverse has {a|b} or __wildcards__: "
        "diffusers models read this as plain words."
    )


def test_a_long_prompt_is_looked_at_quickly():
    """Each pattern is linear: nothing to backtrack into."""
    for text in ("(" * 20000, "[(" * 10000, "__" * 10000, "{a" * 10000, "<lora" * 4000):
        unapplied(text)
