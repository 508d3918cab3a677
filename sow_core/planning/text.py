"""Prompt text that is safe to hand to a text encoder and short enough for it to read."""

from __future__ import annotations

import re
from collections.abc import Callable

TokenCounter = Callable[[str], int]
"""Tokens of a text without the begin and end marks, as the picture model's own tokenizer counts them."""

CLIP_TOKENS = 75
"""Tokens that CLIP's text encoders read: 77 with the begin and end marks."""

LONGEST = 400
"""Characters of a prompt; a CLIP prompt of 75 tokens has about 350."""

# What frontends and other packs act upon. A picture can carry text that asks a planner for these.
_SYNTAX = (
    (re.compile(r"<[^<>]*>"), " "),  # <lora:name:1>, <scene>, any markup
    (re.compile(r"(?:embedding|\blora|\blyco|\bhypernet|\bwildcard)\s*:\s*[^\s,;]*", re.I), " "),
    (re.compile(r"__[^\s,]*?__"), " "),  # __wildcard__
    (re.compile(r"\$\{[^{}]*\}"), " "),  # variables of wildcard packs
    (re.compile(r"\{(?:[^{}|]*\$\$)*([^{}|]*)(?:\|[^{}]*)?\}"), r"\1"),  # {2$$a|b} -> its first choice
    (re.compile(r"\$\w+|%[^%\s]{1,40}%"), " "),  # more variables, also of file names
    (re.compile(r":\s*[-+]?\d*\.?\d+\s*(?=[)\]])"), ""),  # the number of (word:1.3)
    (re.compile(r"\b(?:BREAK|AND|ADDCOMM|ADDBASE|ADDCOL|ADDROW)\b"), " "),
    (re.compile(r"[()\[\]{}<>|\\`$]|__"), " "),
)


def plain(text: object, longest: int = LONGEST) -> str:
    """`text` as plain words on one line: no control characters, markup, weights, embeddings or wildcards.

    At most `longest` characters, cut at a word. Applying it again changes nothing.
    """
    line = str(text)[: longest * 8]
    previous = None
    while line != previous:  # what one rule removes may join two halves of another
        previous = line
        line = "".join(c if c.isprintable() else " " for c in line)
        for pattern, replacement in _SYNTAX:
            line = pattern.sub(replacement, line)
        line = re.sub(r"\s*,(?:\s*,)*\s*", ", ", " ".join(line.split())).strip(" ,;")
        if len(line) > longest:
            line = line[:longest].rsplit(" ", 1)[0]
    return line


def approximate_tokens(text: str) -> int:
    """A careful guess at CLIP's count, for when no tokenizer is at hand: long and foreign words count more."""
    pieces = re.findall(r"[A-Za-z]+|\d|[^\sA-Za-z\d]", text)
    return sum(1 + (len(p) > 9) + (len(p) > 14) if p[0].isascii() else 2 for p in pieces)


def shorten(prompt: str, count: TokenCounter, limit: int = CLIP_TOKENS) -> str:
    """`prompt` without its last features (comma parts, then words) until it has at most `limit` tokens."""
    for separator in (", ", " "):
        parts = prompt.split(separator)
        while len(parts) > 1 and count(separator.join(parts)) > limit:
            parts.pop()
        prompt = separator.join(parts).rstrip(" ,;")
    while count(prompt) > limit and prompt:
        prompt = prompt[: len(prompt) * limit // max(count(prompt), limit + 1)]
    return prompt


_COMMON = frozenset(
    "the and with for from into onto over under his her its their this that photo picture image".split()
)


def content_words(text: str) -> set[str]:
    """The words that carry the meaning, in lower case."""
    return {w for w in re.findall(r"\w{3,}", text.lower()) if w not in _COMMON}


def keeps_scene(prompt: str, scene: str) -> bool:
    """Whether at least a third of the scene's own words are still in `prompt`.

    A scene in a script other than Latin may have been translated, which text encoders need: that is kept.
    """
    wanted = content_words(scene)
    if not any(word.isascii() for word in wanted):
        return True
    return 3 * len(wanted & content_words(prompt)) >= len(wanted)


def intensified(
    answer: object, scene: str, description: str, count: TokenCounter | None
) -> tuple[str, list[str]]:
    """The prompt to use from a model's `answer`, and notes on what was changed.

    It is plain, fits the text encoder and holds on to the user's scene; otherwise it is built from the scene
    and the description of the condition.
    """
    raw = " ".join(answer.split()) if isinstance(answer, str) else ""
    prompt, count, limit = plain(raw), count or approximate_tokens, CLIP_TOKENS
    notes = []
    if not prompt or not keeps_scene(prompt, scene):
        notes.append(
            "prompt: the answer had none that keeps your scene; your text and the description are used"
        )
        prompt = with_description(scene, description)
        limit = max(limit, count(scene))  # the user's own words are never cut
    elif prompt != raw:
        notes.append("prompt: special syntax or surplus text was removed from the answer")
    fitted = shorten(prompt, count, limit)
    if fitted != prompt:
        notes.append(f"prompt: shortened to {limit} tokens; the text encoder reads {CLIP_TOKENS}")
    return fitted, notes


def with_description(scene: str, description: str) -> str:
    """The user's scene as it is, followed by what is known of the condition."""
    words = plain(description)
    return ", ".join(part for part in (scene.strip(" ,"), words) if part) if words else scene
