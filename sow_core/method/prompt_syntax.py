"""Syntax in prompts that other programs act upon and diffusers models read as plain words: it is named, not applied."""

from __future__ import annotations

import re
from collections.abc import Mapping

SYNTAX = (
    ("(word:1.2) weights", re.compile(r"\([^()]*\)|\[[^\[\]]*\]")),
    ("embedding:name", re.compile(r"\bembedding\s*:\s*\S", re.IGNORECASE)),
    ("<lora:name:1>", re.compile(r"<\s*(?:lora|lyco|hypernet|lbw)\w*\s*:", re.IGNORECASE)),
    ("BREAK", re.compile(r"\b(?:BREAK|AND|ADDCOMM|ADDBASE|ADDCOL|ADDROW)\b")),
    ("{a|b} or __wildcards__", re.compile(r"\{[^{}|]*\|[^{}]*\}|__[\w/* -]+__|\$\{")),
)
"""What it is called, and how it is told. [word] and ((word)) are weights too, [from:to:when] a schedule."""


def unapplied(text: str) -> list[str]:
    """The names of the syntax in a prompt that is read as plain words."""
    return [name for name, pattern in SYNTAX if pattern.search(text)]


def note(prompts: Mapping[str, str]) -> str | None:
    """One line on all prompts of a run, by what the user calls them; None where there is nothing to say."""
    found = {name: unapplied(text) for name, text in prompts.items()}
    said = [f"{name} has {', '.join(names)}" for name, names in found.items() if names]
    return f"note: {'; '.join(said)}: diffusers models read this as plain words." if said else None
