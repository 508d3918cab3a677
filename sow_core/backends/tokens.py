"""CLIP's tokenizer of a model folder, from files that were checked and written anew."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from ..errors import SowError
from ..outside.reading import read_json_file, read_text_file
from ..outside.text import one_line
from .components import readable
from .configs import AddedToken, TokenizerConfig, json_object, read_config

MOST_BYTES = 32 * 2**20
"""Of a vocabulary; CLIP's, with its rules, has 2 MB."""


def load_tokenizer(folder: Path, vocabulary: int) -> Any:
    """The tokenizer in `folder`, for an encoder that knows `vocabulary` tokens. Raises SowError."""
    from transformers import CLIPTokenizerFast  # type: ignore[attr-defined]  # 5 has it by another way

    with tempfile.TemporaryDirectory(prefix="sow-") as copy:
        copy_tokenizer(folder, Path(copy))
        with readable(one_line(folder)):
            made = CLIPTokenizerFast.from_pretrained(copy, local_files_only=True)
            highest = max(made.get_vocab().values())
    if highest >= vocabulary:
        raise SowError(f"The tokenizer in {one_line(folder)} has the token {highest}, but vocab_size in the text "
                       f"encoder's config.json is {vocabulary}; fetch the model again.")  # fmt: skip
    return made


def copy_tokenizer(folder: Path, copy: Path) -> None:
    """Write what of a tokenizer's folder is data, checked, into another: vocabulary, merges, rules and tokens."""
    if not any((folder / name).is_file() for name in ("tokenizer_config.json", "vocab.json")):
        raise SowError(f"No tokenizer in {one_line(folder)}; fetch the model again.")
    for name, mark in (("tokenizer_config.json", {"__type": "AddedToken"}), ("special_tokens_map.json", {})):
        if (folder / name).exists():
            values = read_config(folder / name, TokenizerConfig)
            added = {n: vars(token) for n, token in values.pop("added_tokens_decoder", {}).items()}
            tokens = {k: {**mark, **vars(v)} if isinstance(v, AddedToken) else v for k, v in values.items()}
            _write(copy / name, tokens | ({"added_tokens_decoder": added} if added else {}))
    for name in ("vocab.json", "added_tokens.json"):
        if (folder / name).exists():
            numbers = json_object(folder / name, MOST_BYTES)
            bad = [n for n in numbers.values() if type(n) is not int or not 0 <= n < 10**6]
            if bad or (name == "vocab.json" and not numbers):
                raise SowError(f"Bad {one_line(folder / name)}: expected tokens, each with a number from 0 to 999999.")
            _write(copy / name, numbers)
    if (folder / "merges.txt").exists():
        merges = read_text_file(folder / "merges.txt", "the merges", most_bytes=MOST_BYTES)
        (copy / "merges.txt").write_text(merges, encoding="utf-8", newline="\n")
    if (folder / "tokenizer.json").exists():
        rules = read_json_file(folder / "tokenizer.json", "the tokenizer", most_bytes=MOST_BYTES)
        _write(copy / "tokenizer.json", rules)


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
