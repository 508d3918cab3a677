"""The tokenizers of a model folder, CLIP's and language models', from files that were checked and written anew."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from ..errors import SowError
from ..outside.reading import parse_json, read_json_file, read_text_file
from ..outside.text import one_line
from .components import readable
from .configs import AddedToken, TokenizerConfig, checked_config, json_object, read_config
from .flow_configs import SpecialTokens

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


def load_text_tokenizer(folder: Path, vocabulary: int, template: str | None = None) -> Any:
    """The tokenizer of a language model, from its tokenizer.json; `template`: how a chat is written, if it has chats.

    A template of the folder's own would be a program of someone else's. Raises SowError.
    """
    from transformers import PreTrainedTokenizerFast

    if not (folder / "tokenizer.json").is_file() and (folder / "merges.txt").is_file():
        return _checked(_byte_level(folder), folder, vocabulary, template)
    if not (folder / "tokenizer.json").is_file():
        raise SowError(f"No tokenizer.json in {one_line(folder)}: tokenizers as sentencepiece models or as word lists "
                       "are not read; fetch it from another copy of the model.")  # fmt: skip
    roles: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).exists():
            values = checked_config(_special_tokens(folder / name), folder / name, SpecialTokens)
            roles |= {k: v.content if isinstance(v, AddedToken) else v for k, v in values.items() if v is not None}
    rules = read_json_file(folder / "tokenizer.json", "the tokenizer", most_bytes=2 * MOST_BYTES)
    with tempfile.TemporaryDirectory(prefix="sow-") as copy:
        _write(Path(copy) / "tokenizer.json", rules)
        with readable(one_line(folder)):
            made = PreTrainedTokenizerFast(tokenizer_file=str(Path(copy) / "tokenizer.json"), **roles)
    return _checked(made, folder, vocabulary, template)


def _byte_level(folder: Path) -> Any:
    """Qwen's tokenizer as a list of words and one of merges."""
    import transformers

    cls = getattr(transformers, "Qwen2TokenizerFast", None) or transformers.Qwen2Tokenizer
    with tempfile.TemporaryDirectory(prefix="sow-") as copy:
        copy_tokenizer(folder, Path(copy))
        with readable(one_line(folder)):
            return cls.from_pretrained(copy, local_files_only=True)


def _checked(made: Any, folder: Path, vocabulary: int, template: str | None) -> Any:
    """The tokenizer with our own template, if it fits its encoder. Raises SowError."""
    made.chat_template = template
    if made.pad_token is None or len(made) > vocabulary:
        raise SowError(f"The tokenizer in {one_line(folder)} does not fit its text encoder: it has {len(made)} tokens, "
                       f"expected at most {vocabulary}, one of them to pad with; fetch the model again.")  # fmt: skip
    return made


_UNLIMITED = re.compile(r'("model_max_length"\s*:\s*)\d{19,}')
"""transformers' way to write that a tokenizer has no longest text: 10^30, which few languages can read."""


def _special_tokens(path: Path) -> dict[str, Any]:
    text = read_text_file(path, "the config")
    values = parse_json(_UNLIMITED.sub(r"\1null", text), f"The config {one_line(path)}")
    if not isinstance(values, dict):
        raise SowError(f"Cannot read {one_line(path)}: expected a JSON object.")
    return values


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
