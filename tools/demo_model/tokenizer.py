"""A CLIP tokenizer for the world's own words: 256 bytes, their word-final forms, and as many merges as it takes
for every word of the grammar to be one token. Other words fall apart into bytes, as in CLIP."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path

from . import world
from .checkpoint import write_text

START, END = "<|startoftext|>", "<|endoftext|>"
MAX_LENGTH = 77
EXTRA_WORDS = ("add", "the", "behind", "front", "right", "face", "human", "high", "colorful", "extra", "hands",
               "fingers", "deformed", "image", "without", "one", "two", "scene", "background", "drawing")  # fmt: skip


def byte_alphabet() -> list[str]:
    """The 256 printable stand-ins for bytes that CLIP (after GPT-2) uses, in its order."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in keep] + [chr(256 + i) for i in range(256 - len(keep))]


def grammar_words(captions: int = 3000) -> Counter[str]:
    """Words of many captions of the training split, with their counts."""
    words: Counter[str] = Counter()
    for seed in range(captions):
        words.update(_split(world.describe(seed)))
    for word in EXTRA_WORDS:
        words[word] += 1
    return words


def _split(text: str) -> list[str]:
    return text.replace(",", " , ").replace("-", " - ").split()


def learn_merges(words: Counter[str], merges: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """`merges` continued until every word is one token (byte-pair encoding, Sennrich et al. 2016)."""
    merges = list(merges)
    rank = {m: i for i, m in enumerate(merges)}
    pieces = {w: _apply([*w[:-1], w[-1] + "</w>"], rank) for w in words}
    while True:
        pairs: Counter[tuple[str, str]] = Counter()
        for w, p in pieces.items():
            for pair in zip(p, p[1:], strict=False):
                pairs[pair] += words[w]
        if not pairs:
            return merges
        best = max(pairs, key=lambda x: (pairs[x], x))
        rank[best] = len(merges)
        merges.append(best)
        pieces = {w: _apply(p, {best: 0}) for w, p in pieces.items()}


def _apply(parts: list[str], rank: dict[tuple[str, str], int]) -> list[str]:
    while len(parts) > 1:
        found = [(rank[p], i) for i, p in enumerate(zip(parts, parts[1:], strict=False)) if p in rank]
        if not found:
            break
        i = min(found)[1]
        parts = [*parts[:i], parts[i] + parts[i + 1], *parts[i + 2 :]]
    return parts


def read_merges(folder: Path) -> list[tuple[str, str]]:
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    return [(a, b) for a, b in (line.split(" ") for line in lines if line and not line.startswith("#version"))]


def build(init: Path | None = None):  # noqa: ANN201 - transformers is imported late
    """The tokenizer; with `init` (a tokenizer folder) its merges come first, so its words keep their tokens."""
    from transformers import CLIPTokenizerFast

    merges = learn_merges(grammar_words(), read_merges(init) if init else [])
    symbols = byte_alphabet()
    tokens = [*symbols, *(s + "</w>" for s in symbols)]
    tokens += [t for t in dict.fromkeys(a + b for a, b in merges) if t not in set(tokens)]
    vocab = {t: i for i, t in enumerate([*tokens, START, END])}
    with tempfile.TemporaryDirectory() as folder:  # transformers 4 makes one from files only, 5 from either
        write_words(Path(folder), vocab, [" ".join(m) for m in merges])
        return CLIPTokenizerFast.from_pretrained(folder, model_max_length=MAX_LENGTH)


def save(tokenizer, folder: Path) -> None:  # noqa: ANN001
    """tokenizer.json as transformers writes it, and the vocab.json and merges.txt that other loaders read."""
    tokenizer.save_pretrained(folder)
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    write_words(folder, model["vocab"], [m if isinstance(m, str) else " ".join(m) for m in model["merges"]])


def write_words(folder: Path, vocab: dict[str, int], merges: list[str]) -> None:
    write_text(folder / "vocab.json", json.dumps(vocab, ensure_ascii=False))
    write_text(folder / "merges.txt", "#version: 0.2\n" + "\n".join(merges) + "\n")
