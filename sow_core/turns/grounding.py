"""Where a word is in a picture: the model's own attention, without training (cf. Hertz et al. 2022).

The picture is noised to a few levels, the model is asked once at each with the picture's prompt, and the attention
of every place to the word's tokens is added up: the cross-attention of a UNet, and in the joint attention of a flow
transformer that of the image's queries to the text's keys. Works on pictures that did not come from here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import SowError
from ..method.box import CELL, Box
from ..method.schedule import add_noise
from ..method.separation import find_tokens

if TYPE_CHECKING:
    from ..backends.base import ModelBackend
    from ..backends.diffusers import DiffusersBackend
    from ..backends.transformer import TransformerBackend
    from ..method.schedule import Schedule

STEPS = 10
LEVELS = (2, 4)
"""Of STEPS: noise at which objects are still seen and words already asked for."""
JOINT_LEVELS = (2,)
"""The same of a flow transformer: more levels find nothing better."""
ALSO = {"face": "skin"}
"""A transformer's tokens know their caption: attention to "face" goes to all that is told of it, so the word that is
drawn where it is helps out if the prompt has it."""
DRAWS = 2
LARGEST_GRID = 32
"""Sides of a UNet's attention layers that are read, in cells: finer ones follow textures, not things."""
SHARE = 0.55
"""Of the highest value: where a thing ends."""
SMALLEST, LARGEST = 0.004, 0.8
"""Share of the picture that a thing can cover: else the attention has found nothing."""


def word_map(backend: ModelBackend, picture: Tensor, prompt: str, word: str, seed: int = 0) -> Tensor:
    """[h, w] in 0..1 on latent cells: how much each cell of picture [3, H, W] attends to `word` of the prompt.

    The maps of several words are multiplied. Raises SowError if the prompt does not hold the word, or the model's
    attention cannot be read.
    """
    backend.set_prompts({"positive": prompt})
    unet = hasattr(backend.parts, "unet")
    looking: Any = _unet_looking if unet else _joint_looking
    groups, look = looking(backend, prompt, word)
    generator = torch.Generator().manual_seed(seed)
    z = backend.encode(picture[None])
    schedule = backend.schedule(STEPS)
    maps: list[Tensor] = []
    with backend.session():
        for level in LEVELS if unet else JOINT_LEVELS:
            noise = torch.randn(DRAWS, *z.shape[1:], generator=generator).to(z)
            maps += look(add_noise(z.expand(DRAWS, -1, -1, -1), noise, schedule, level), schedule, level)
    if not maps:
        raise no_attention(word)
    return joint_map(maps, groups, z.shape[-2], z.shape[-1])


Groups = list[list[int]]
Look = Callable[[Tensor, "Schedule", int], list[Tensor]]
"""Attention [T, tokens] of the layers, for states [N, C, h, w] at a level."""


def _unet_looking(backend: DiffusersBackend, prompt: str, word: str) -> tuple[Groups, Look]:
    def look(x: Tensor, schedule: Schedule, level: int) -> list[Tensor]:
        with _captured(backend.parts.unet) as found:
            backend.predict(x, schedule, level, ("positive",))
        return found

    return token_groups(backend.parts.encoders[0][0], prompt, word), look


def _joint_looking(backend: TransformerBackend, prompt: str, word: str) -> tuple[Groups, Look]:
    """Of the text's tokens only the words' are kept: of a large model all would be too many."""
    found = [[p for span in spans for p in backend.places(prompt, *span)] for spans in word_spans(prompt, word)]
    words = [places for places in found if places]  # a long prompt is cut off
    if not words:
        raise not_named(word)

    def look(x: Tensor, schedule: Schedule, level: int) -> list[Tensor]:
        return backend.look(x, schedule, level, words)

    return [[n] for n in range(len(words))], look


def joint_map(maps: Sequence[Tensor], groups: Sequence[Sequence[int]], height: int, width: int) -> Tensor:
    """[h, w] in 0..1 from the attention [T, tokens] of every layer and call; groups: each word's tokens."""
    total = torch.zeros(len(groups), height, width)
    for attention in maps:
        total += _on_cells(attention, groups, height, width)
    joint = total.prod(0) ** (1 / len(groups))
    return joint / joint.max().clamp(min=1e-12)


def locate(backend: ModelBackend, picture: Tensor, prompt: str, word: str) -> Box:
    """The box of a word in a picture [3, H, W]. Raises SowError."""
    return box_of(word_map(backend, picture, prompt, word), word, backend.parts.cell)


def box_of(seen: Tensor, word: str, cell: int = CELL) -> Box:
    """The box, px, around the largest connected part of a word's map [h, w] on cells of `cell` px.

    Raises SowError if it shows no thing.
    """
    found = largest_part(seen >= SHARE)
    share = float(found.float().mean())
    if not SMALLEST <= share <= LARGEST:
        raise SowError(
            f"The model's attention does not show where the {word} is; give --thing '{word}=X,Y,W,H' or --region."
        )
    ys, xs = found.nonzero(as_tuple=True)
    x, y = int(xs.min()) * cell, int(ys.min()) * cell
    return Box(x, y, (int(xs.max()) + 1) * cell - x, (int(ys.max()) + 1) * cell - y)


def no_attention(word: str) -> SowError:
    return SowError(
        "This model's attention to words cannot be read, so it does not show where one is drawn; "
        f"give --thing '{word}=X,Y,W,H' or --region X,Y,W,H."
    )


def not_named(word: str) -> SowError:
    return SowError(
        f"The picture's prompt does not name the {word}; give --thing '{word}=X,Y,W,H' or --region X,Y,W,H."
    )


def token_groups(tokenizer: Any, prompt: str, word: str) -> list[list[int]]:
    """For each part of `word` its positions among the prompt's tokens (the start mark is 0). Raises SowError."""
    ids = tokenizer(prompt, truncation=True).input_ids
    return find_groups(ids, [tokenizer(part).input_ids[1:-1] for part in parts_of(word)], word)


def parts_of(word: str) -> list[str]:
    return re.findall(r"[\w'-]+", word.lower())


def find_groups(ids: Sequence[int], pieces: Sequence[Sequence[int]], word: str) -> list[list[int]]:
    """The same of token ids: `ids` of the prompt, `pieces` of each part of the word, without marks."""
    if found := find_tokens(ids, [i for piece in pieces for i in piece]):  # the words side by side, if they are
        places = iter(found)
        return [list(islice(places, len(piece))) for piece in pieces]
    if pieces and (found := find_tokens(ids, pieces[-1])):
        return [list(found)]
    raise not_named(word)


def word_spans(prompt: str, word: str) -> list[list[tuple[int, int]]]:
    """The same of characters: for each part of `word` where it stands in the prompt, first and behind the last.

    Side by side if they are, else the last alone; with a part of ALSO its helper too. Empty: the prompt has none.
    """
    parts = parts_of(word)
    for wanted in (parts, parts[-1:]):
        pattern = r"\W+".join(rf"\b({re.escape(part)})\b" for part in wanted)
        found = re.search(pattern, prompt, re.IGNORECASE)
        if wanted and found:
            return [[found.span(n + 1), *_helper(prompt, part)] for n, part in enumerate(wanted)]
    return []


def _helper(prompt: str, part: str) -> list[tuple[int, int]]:
    found = re.search(rf"\b{ALSO[part]}\b", prompt, re.IGNORECASE) if part in ALSO else None
    return [found.span()] if found else []


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
            if q.shape[1] > LARGEST_GRID**2:
                return
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
