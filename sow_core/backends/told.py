"""Where the characters of a prompt stand among the tokens of a flow transformer's text, by kind of folder.

A family may write more around a prompt, drop tokens from the front, and set several encoders' texts in a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .components import FlowComponents

HOLE = "{}"
"""Stands for the prompt in a template."""


class Told(NamedTuple):
    """A prompt as one text encoder reads it, between what its family writes around it.

    start: place of the tokenizer's first token in the whole text, below 0 where tokens are dropped from the front;
    end: the first place behind this encoder's, or that of the end mark of a text that is cut off.
    """

    tokenizer: Any
    before: str
    prompt: str
    after: str
    start: int
    end: int

    def places(self, first: int, last: int) -> list[int]:
        """Of the tokens that hold any of the prompt's characters first .. last - 1; none if they are cut off."""
        whole = self.before + self.prompt + self.after
        first, last = first + len(self.before), last + len(self.before)
        most = self.end + 1 - self.start
        read = self.tokenizer(whole, return_offsets_mapping=True, truncation=True, max_length=most)
        offsets = read.offset_mapping
        held = [self.start + n for n, (a, b) in enumerate(offsets) if a < last and b > first]
        return [place for place in held if max(self.start, 0) <= place < self.end]


def _plain(tokenizer: Any, prompt: str, start: int, count: int) -> Told:
    """count: tokens of the encoder's text; the last of a full one is its end mark."""
    return Told(tokenizer, "", prompt, "", start, start + count - 1)


def _within(tokenizer: Any, template: str, prompt: str, count: int, dropped: int = 0) -> Told:
    before, after = template.split(HOLE)
    return Told(tokenizer, before, prompt, after, -dropped, count)


def _sd3(parts: FlowComponents, prompt: str) -> tuple[Told, ...]:
    """Two CLIPs' states beside each other, then T5's; without T5 nothing stands in its places."""
    clip = _plain(parts.encoders[0][0], prompt, 0, 77)
    return (clip, *(_plain(tokenizer, prompt, 77, 256) for tokenizer, _ in parts.encoders[2:]))


def _chat(parts: FlowComponents, prompt: str, thinking: bool) -> tuple[Told, ...]:
    tokenizer = parts.encoders[0][0]
    template = tokenizer.apply_chat_template(
        [{"role": "user", "content": HOLE}], tokenize=False, add_generation_prompt=True, enable_thinking=thinking
    )
    return (_within(tokenizer, template, prompt, 512),)


def _qwen(parts: FlowComponents, prompt: str) -> tuple[Told, ...]:
    pipe = parts.pipeline
    dropped = pipe.prompt_template_encode_start_idx
    return (_within(parts.encoders[0][0], pipe.prompt_template_encode, prompt, 1024, dropped),)


def _lumina2(parts: FlowComponents, prompt: str) -> tuple[Told, ...]:
    return (_within(parts.encoders[0][0], f"{parts.pipeline.system_prompt} <Prompt Start> {HOLE}", prompt, 256),)


TOLD: dict[str, Callable[[FlowComponents, str], tuple[Told, ...]]] = {
    "demo_flow": lambda parts, prompt: (_plain(parts.encoders[0][0], prompt, 0, 77),),
    "sd3": _sd3,
    "flux": lambda parts, prompt: (_plain(parts.encoders[1][0], prompt, 0, 512),),
    "chroma": lambda parts, prompt: (_plain(parts.encoders[0][0], prompt, 0, 512),),
    "lumina2": _lumina2,
    "z_image": lambda parts, prompt: _chat(parts, prompt, True),
    "qwen": _qwen,
    "klein": lambda parts, prompt: _chat(parts, prompt, False),
}
"""The texts of a prompt, see `flows.FLOWS`."""
