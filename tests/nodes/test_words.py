"""Words in the text of a flow transformer of the host's, by the tokens of tokenizers of each shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .pack import part

F, SowError = part("sow_core.method.families"), part("sow_core.errors").SowError
PROMPT = "a red cube beside a woman with a round face and pale skin"
IDS: dict[str, int] = {}


def ids(words: list[str]) -> list[int]:
    return [IDS.setdefault(word, 100 + len(IDS)) for word in words]


def clip_like(text: str) -> list[list[int]]:
    """Chunks of 12 between marks, padded with the end mark."""
    words = ids(text.split())
    chunks = [words[n : n + 10] for n in range(0, max(len(words), 1), 10)]
    return [[1, *chunk, *[2] * (11 - len(chunk))] for chunk in chunks]


def t5_like(text: str) -> list[list[int]]:
    """Words in two pieces each, an end mark, padded to 40."""
    pieces = [i for word in text.split() for i in ids([f"_{word}", word[-1]])]
    return [[*pieces, 2, *[0] * (39 - len(pieces))]]


def chat_like(text: str) -> list[list[int]]:
    """A word behind a space is another than at the front; a template around, which names a cube too."""
    words = text.split(" ") if text else []
    return [[7, 8, *ids([" cube"]), 9, *ids([w if n == 0 else f" {w}" for n, w in enumerate(words)]), 10, 11]]


class Clip:
    """What the host's CLIP has of tokens."""

    def __init__(self, **tokenizers: Callable[[str], list[list[int]]]) -> None:
        self.tokenizers = tokenizers

    def tokenize(self, text: str) -> dict[str, Any]:
        return {name: [[(i, 1.0) for i in chunk] for chunk in cut(text)] for name, cut in self.tokenizers.items()}


@pytest.fixture(scope="module")
def places() -> Callable[..., list[list[int]]]:
    return part("nodes.native.words").word_places


def at(word: str) -> int:
    return PROMPT.split().index(word)


def test_sd3_has_clips_tokens_and_then_t5s(places) -> None:
    clip = Clip(g=clip_like, l=clip_like, t5xxl=t5_like)
    # the second chunk of the CLIPs has marks of its own: "face" ends the first, "skin" stands in the second
    expected = [1 + at("red"), 24 + 2 * at("red"), 25 + 2 * at("red")]
    assert places(clip, F.SD3, PROMPT, "red cube", 24 + 40)[0] == expected
    face, skin = at("face"), at("skin")
    assert places(clip, F.SD3, PROMPT, "face", 24 + 40) == [
        [1 + face, 3 + skin, 24 + 2 * face, 25 + 2 * face, 24 + 2 * skin, 25 + 2 * skin]
    ]


def test_encoders_that_are_not_loaded_leave_no_tokens(places) -> None:
    clip = Clip(g=clip_like, l=clip_like, t5xxl=t5_like)
    assert places(clip, F.SD3, PROMPT, "cube", 24) == [[1 + at("cube")]]
    assert places(clip, F.SD3, PROMPT, "cube", 40) == [[2 * at("cube"), 2 * at("cube") + 1]]


def test_flux_reads_t5_alone(places) -> None:
    clip = Clip(l=clip_like, t5xxl=t5_like)
    assert places(clip, F.FLUX, PROMPT, "woman", 40) == [[2 * at("woman"), 2 * at("woman") + 1]]


def test_a_template_is_no_part_of_the_prompt_and_may_be_dropped(places) -> None:
    clip = Clip(qwen3_4b=chat_like)
    length = len(chat_like(PROMPT)[0])
    assert places(clip, F.Z_IMAGE, PROMPT, "red cube", length) == [[4 + at("red")], [4 + at("cube")]]
    assert places(clip, F.QWEN_IMAGE, PROMPT, "cube", length - 4) == [[at("cube")]]
    assert places(clip, F.Z_IMAGE, "cube on a floor", "cube", length) == [[length - len(chat_like("a b c d")[0]) + 4]]


def test_what_cannot_be_followed_is_one_line(places) -> None:
    clip = Clip(l=clip_like, t5xxl=t5_like)
    with pytest.raises(SowError, match="does not name the umbrella"):
        places(clip, F.FLUX, PROMPT, "umbrella", 40)
    for family in (F.HIDREAM, F.FLUX2):
        with pytest.raises(SowError, match="cannot be read.*--thing 'cube=X,Y,W,H'"):
            places(clip, family, PROMPT, "cube", 40)
