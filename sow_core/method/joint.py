"""Where the image stands among the tokens of a transformer's attention call, found by lengths, as no host says so; and
what it pays there to words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .families import Family, First


@dataclass(frozen=True)
class Span:
    """Image tokens at start .. start + count of an attention call, row by row of the token grid; padding behind them
    up to start + padded. Whatever else there is, is text."""

    start: int
    count: int
    padded: int


def token_rows(cells: tuple[int, int], family: Family) -> tuple[int, int]:
    """The token grid (rows, columns) of a canvas of (height, width) latent cells."""
    return math.ceil(cells[0] / family.patch), math.ceil(cells[1] / family.patch)


def find_span(
    tokens: int, cells: tuple[int, int], family: Family, text: int | None, first: First | None = None
) -> Span | None:
    """The image among `tokens` of an attention call; None where the call is no image's, or cannot be told from one.

    cells: (height, width) of the canvas. text: tokens of the prompt before the family pads them; None: any number, as
    where a block's own states are added to the prompt's (HiDream). first: what stands first in the joint attention,
    by default as in ComfyUI. Image-only calls (SD3.5's second attention, image refiners) have the image alone;
    text refiners, and calls with more tokens than image and prompt (reference pictures), are not ours.
    """
    rows, columns = token_rows(cells, family)
    count = rows * columns
    padded = _up(count, family.pad)
    words = None if text is None else _up(max(text, family.text_least), family.pad)
    if tokens == padded:
        return None if words == padded else Span(0, count, padded)  # a text refiner has as many
    if tokens < padded or (words is not None and tokens != padded + words):
        return None
    return Span(0 if (first or family.first) == "image" else tokens - padded, count, padded)


def words_attention(
    query: Tensor, key: Tensor, span: Span, words: Sequence[Sequence[int]], scale: float | None = None
) -> Tensor:
    """[T, words] on the CPU: attention of the image's T tokens to each word's, mean over them, heads and images.

    query, key: [N, heads, tokens, d], keys perhaps of fewer heads; words: places among the text's tokens. Shares of
    all that a token attends to, image and text. Head by head: no more memory than one of them takes.
    """
    text = 0 if span.start else span.padded
    image = query[:, :, span.start : span.start + span.count].detach()
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    shared = query.shape[1] // key.shape[1]
    found = torch.zeros(span.count, len(words))
    for head in range(query.shape[1]):
        logits = image[:, head].float() @ key[:, head // shared].detach().float().transpose(-1, -2) * factor
        paid = logits.softmax(-1).mean(0)
        found += torch.stack([paid[:, [text + place for place in word]].mean(1) for word in words], 1).cpu()
    return found / query.shape[1]


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
