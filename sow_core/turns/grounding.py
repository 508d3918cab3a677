"""Where a word is in a picture: the model's own cross-attention, without training (cf. Hertz et al. 2022).

The picture is noised to a few levels, the model is asked once at each with the picture's prompt, and the attention
of every place to the word's tokens is added up. Works on pictures that did not come from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import SowError
from ..method.box import CELL, Box
from ..method.schedule import add_noise

if TYPE_CHECKING:
    from ..backends.base import ModelBackend

STEPS = 10
LEVELS = (2, 4)
"""Of STEPS: noise at which objects are still seen and words already asked for."""
DRAWS = 2
LARGEST_GRID = 32
"""Sides of the attention layers that are read, in cells: finer ones follow textures, not things."""
SHARE = 0.55
"""Of the highest value: where a thing ends."""
SMALLEST, LARGEST = 0.004, 0.8
"""Share of the picture that a thing can cover: else the attention has found nothing."""


def word_map(backend: ModelBackend, picture: Tensor, prompt: str, word: str, seed: int = 0) -> Tensor:
    """[h, w] in 0..1 on latent cells: how much each cell of picture [3, H, W] attends to `word` of the prompt.

    The maps of the words' tokens are multiplied, each less what the other words draw there. Raises SowError if the
    prompt does not hold the word.
    """
    if not hasattr(backend.parts, "unet"):
        raise no_attention(word)
    groups = token_groups(backend.parts.encoders[0][0], prompt, word)
    backend.set_prompts({"positive": prompt})
    generator = torch.Generator().manual_seed(seed)
    z = backend.encode(picture[None])
    schedule = backend.schedule(STEPS)
    maps = []
    with backend.session(), _captured(backend.parts.unet) as found:
        for level in LEVELS:
            noise = torch.randn(DRAWS, *z.shape[1:], generator=generator).to(z)
            backend.predict(
                add_noise(z.expand(DRAWS, -1, -1, -1), noise, schedule, level), schedule, level, ("positive",)
            )
            maps += list(found)
            found.clear()
    return joint_map(maps, groups, z.shape[-2], z.shape[-1])


def joint_map(maps: Sequence[Tensor], groups: Sequence[Sequence[int]], height: int, width: int) -> Tensor:
    """[h, w] in 0..1 from the attention [T, tokens] of every layer and call; groups: each word's tokens."""
    total = torch.zeros(len(groups), height, width)
    for attention in maps:
        total += _on_cells(attention, groups, height, width)
    joint = total.prod(0) ** (1 / len(groups))
    return joint / joint.max().clamp(min=1e-12)


def locate(backend: ModelBackend, picture: Tensor, prompt: str, word: str) -> Box:
    """The box of a word in a picture [3, H, W]. Raises SowError."""
    return box_of(word_map(backend, picture, prompt, word), word)


def box_of(seen: Tensor, word: str) -> Box:
    """The box, px, around the largest connected part of a word's map [h, w]. Raises SowError if it shows no thing."""
    found = largest_part(seen >= SHARE)
    share = float(found.float().mean())
    if not SMALLEST <= share <= LARGEST:
        raise SowError(
            f"The model's attention does not show where the {word} is; give --thing '{word}=X,Y,W,H' or --region."
        )
    ys, xs = found.nonzero(as_tuple=True)
    x, y = int(xs.min()) * CELL, int(ys.min()) * CELL
    return Box(x, y, (int(xs.max()) + 1) * CELL - x, (int(ys.max()) + 1) * CELL - y)


def no_attention(word: str) -> SowError:
    return SowError(
        "This model has no cross-attention that shows where a word is drawn; "
        f"give --thing '{word}=X,Y,W,H' or --region X,Y,W,H."
    )


def token_groups(tokenizer: Any, prompt: str, word: str) -> list[list[int]]:
    """For each part of `word` its positions among the prompt's tokens (the start mark is 0). Raises SowError."""
    ids = tokenizer(prompt, truncation=True).input_ids
    return find_groups(ids, [tokenizer(part).input_ids[1:-1] for part in parts_of(word)], word)


def parts_of(word: str) -> list[str]:
    return re.findall(r"[\w'-]+", word.lower())


def find_groups(ids: Sequence[int], pieces: Sequence[Sequence[int]], word: str) -> list[list[int]]:
    """The same of token ids: `ids` of the prompt, `pieces` of each part of the word, without marks."""
    whole = [i for piece in pieces for i in piece]
    for at in range(len(ids) - len(whole) + 1):  # the words side by side, if they are
        if whole and list(ids[at : at + len(whole)]) == whole:
            groups = []
            for piece in pieces:
                groups.append(list(range(at, at + len(piece))))
                at += len(piece)
            return groups
    last = list(pieces[-1]) if pieces else []
    for at in range(len(ids) - len(last) + 1):
        if last and list(ids[at : at + len(last)]) == last:
            return [list(range(at, at + len(last)))]
    raise SowError(
        f"The picture's prompt does not name the {word}; give --thing '{word}=X,Y,W,H' or --region X,Y,W,H."
    )


def largest_part(mask: Tensor) -> Tensor:
    """The largest 4-connected part of a mask [h, w], as a mask (all False if it is empty)."""
    left = mask.clone().bool()
    best = torch.zeros_like(left)
    while bool(left.any()):
        ys, xs = left.nonzero(as_tuple=True)
        part = torch.zeros_like(left)
        part[ys[0], xs[0]] = True
        while True:
            near = F.max_pool2d(part[None, None].float(), (3, 1), 1, (1, 0)) + F.max_pool2d(
                part[None, None].float(), (1, 3), 1, (0, 1)
            )
            grown = (near[0, 0] > 0) & left
            if bool((grown == part).all()):
                break
            part = grown
        if int(part.sum()) > int(best.sum()):
            best = part
        left &= ~part
    return best


def _on_cells(attention: Tensor, groups: Sequence[Sequence[int]], height: int, width: int) -> Tensor:
    """Attention [T, tokens] of one layer -> [groups, height, width], each normalized to a peak of 1."""
    from ..method.regions import token_grid

    rows, columns = token_grid(len(attention), height, width)
    if max(rows, columns) > LARGEST_GRID:
        return torch.zeros(len(groups), height, width)
    maps = torch.stack([attention[:, list(g)].mean(1) for g in groups]).view(len(groups), 1, rows, columns)
    maps = F.interpolate(maps, (height, width), mode="bilinear", align_corners=False)[:, 0]
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp(min=1e-12)


@contextmanager
def _captured(unet: Any) -> Iterator[list[Tensor]]:
    """Attention [T, tokens] of every cross-attention layer, mean over heads and images, while the model runs.

    Read off the projections by hooks, so that no attention processor is touched; the hooks are gone afterwards.
    """
    found: list[Tensor] = []
    queries: dict[int, Tensor] = {}

    def query(key: int) -> Any:
        return lambda module, given, out: queries.__setitem__(key, out.detach().float())

    def key_of(attn: Any) -> Any:
        def hook(module: Any, given: Any, out: Tensor) -> None:
            q, k, heads = queries.pop(id(attn)), out.detach().float(), attn.heads
            q, k = (x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2) for x in (q, k))
            logits = q @ k.transpose(-1, -2) * attn.scale
            found.append(logits.softmax(-1).mean((0, 1)).cpu())

        return hook

    with ExitStack() as hooks:
        for name, module in unet.named_modules():
            if name.endswith("attn2") and hasattr(module, "to_k"):
                hooks.callback(module.to_q.register_forward_hook(query(id(module))).remove)
                hooks.callback(module.to_k.register_forward_hook(key_of(module)).remove)
        yield found
