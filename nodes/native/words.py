"""Where a word stands in the text that a flow transformer of ComfyUI reads: found by token ids, since the host keeps no
characters. What a family writes around a prompt, and drops again, is told by the tokens of other texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...sow_core.errors import SowError
from ...sow_core.method import families
from ...sow_core.method.families import Family
from ...sow_core.method.separation import find_tokens
from ...sow_core.turns.grounding import ALSO, find_groups, no_attention, not_named, parts_of

TEXTS: dict[Family, tuple[str, ...]] = {
    families.SD3: ("l", "t5xxl"), families.FLUX: ("t5xxl",), families.FLUX_SCHNELL: ("t5xxl",),
    families.CHROMA: ("t5xxl",), families.LUMINA2: (), families.Z_IMAGE: (), families.QWEN_IMAGE: (),
    families.FLUX2_KLEIN: (),
}  # fmt: skip
"""The host's names of the tokenizers whose tokens stand in a family's text, in this order; (): it has only one. Flux.2
dev pads its text in front, HiDream's blocks add to it: they are not read."""
BEFORE = "a "
"""A word within a prompt begins with a space, to some tokenizers."""


def word_places(clip: Any, family: Family, prompt: str, word: str, length: int) -> list[list[int]]:
    """For each part of `word` its places in the text of `length` tokens; see `grounding.find_groups`.

    Raises SowError if the prompt does not name it, or the text is not the CLIP's own.
    """
    if family not in TEXTS:
        raise no_attention(word)
    found: list[list[list[int]]] = []
    for name, start in _texts(clip, family, prompt, length):
        try:
            found.append([[start + n for n in group] for group in _groups(clip, name, prompt, word)])
        except SowError:  # another tokenizer's part may have it
            continue
    if not found:
        raise not_named(word)
    parts = min(map(len, found))  # the last alone, where one has no more
    return [[n for groups in found for n in groups[len(groups) - parts + part]] for part in range(parts)]


def _texts(clip: Any, family: Family, prompt: str, length: int) -> list[tuple[str, int]]:
    """Each tokenizer's name and the place of its first token. Encoders that are not loaded leave no tokens."""
    tokens = clip.tokenize(prompt)
    names = [name for name in TEXTS[family] if name in tokens] or list(tokens)[:1]
    lengths = {name: len(ids_of(clip, name, prompt)) for name in names}
    if len(names) == 1:
        return [(names[0], length - lengths[names[0]])]
    if sum(lengths.values()) == length:
        starts, at = [], 0
        for name in names:
            starts.append((name, at))
            at += lengths[name]
        return starts
    return [(name, 0) for name in names if lengths[name] == length]


def ids_of(clip: Any, name: str, text: str) -> list[Any]:
    """The token ids of a text with all that stands around it, chunks in a row."""
    return [pair[0] for chunk in clip.tokenize(text)[name] for pair in chunk]


def _groups(clip: Any, name: str, prompt: str, word: str) -> list[list[int]]:
    whole, none = ids_of(clip, name, prompt), ids_of(clip, name, "")
    first, inner = added(whole, none)
    parts = parts_of(word)
    article = ids_of(clip, name, BEFORE.strip())
    within = [added(ids_of(clip, name, BEFORE + part), article)[1] for part in parts]
    ahead = [added(ids_of(clip, name, part), none)[1] for part in parts[:1]]
    try:
        groups = find_groups(inner, within, word)
    except SowError:
        groups = find_groups(inner, [*ahead, *within[1:]], word)
    for part, group in zip(parts[-len(groups) :], groups, strict=True):
        if part in ALSO:
            group += find_tokens(inner, added(ids_of(clip, name, BEFORE + ALSO[part]), article)[1])
    return [[first + n for n in group] for group in groups]


def added(longer: Sequence[Any], shorter: Sequence[Any]) -> tuple[int, list[Any]]:
    """What one text's tokens have that the other's have not, and where it begins: both begin alike, and end alike but
    for the padding that the longer one needs less of."""
    same = zip(longer, shorter, strict=False)
    first = next((n for n, (a, b) in enumerate(same) if a != b), min(len(longer), len(shorter)))
    rest = list(shorter[first:])
    for end in range(first, len(longer) + 1):
        tail = list(longer[end:])
        if tail == rest[: len(tail)]:
            return first, list(longer[first:end])
    return first, list(longer[first:])
