"""Train the keys of cross-attention on the separation losses, from noise alone: no pictures are needed.

The two losses have a lazy way out, to pay the words less attention altogether; the norm loss, which holds the model's
answer to each thing alone where it was, closes it (weight .5; 0 switches it off, as the paper's main form has it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sow_core.backends.concepts import reading
from sow_core.backends.diffusers import DiffusersBackend
from sow_core.backends.patches import key_weights
from sow_core.method.separation import concept_maps, grid_of, loss


class Recipe(NamedTuple):
    """[paper]: AdamW, 200 steps, lr 8e-6, batch 4, t uniform; norm: weight of the norm loss; depth: see Separation."""

    steps: int = 200
    rate: float = 8e-6
    batch: int = 4
    norm: float = 0.5
    beta: float = 0.5
    depth: int = 2
    seed: int = 0


def tune(
    backend: DiffusersBackend,
    groups: Sequence[Sequence[str]],
    recipe: Recipe,
    progress: Callable[[int, float, float], object] = lambda step, separate, norm: None,
) -> dict[str, Tensor]:
    """Differences of the attn2.to_k weights after training, by their names in the original layout.

    groups: words whose things are to stay apart from each other, a group a step in turn.

    The model is as before afterwards, whatever happens. Raises SowError for words that its tokenizer cannot read.
    """
    unet = backend.parts.unet
    weights = key_weights(unet)
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    flags = [(p, p.requires_grad) for p in unet.parameters()]
    generator = torch.Generator().manual_seed(recipe.seed)
    try:
        unet.requires_grad_(False)
        for weight in weights.values():
            weight.requires_grad_(True)
        _train(backend, list(weights.values()), [list(g) for g in groups], recipe, generator, progress)
        return {name: (weight.detach() - before[name]).clone() for name, weight in weights.items()}
    finally:
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(before[name])
                weight.grad = None
        for p, flag in flags:
            p.requires_grad_(flag)


def _train(
    backend: DiffusersBackend,
    weights: list[torch.nn.Parameter],
    groups: list[list[str]],
    recipe: Recipe,
    generator: torch.Generator,
    progress: Callable[[int, float, float], object],
) -> None:
    unet: Any = backend.parts.unet
    size = unet.config.sample_size
    shape = (recipe.batch, unet.config.in_channels, size, size)
    grid = grid_of((size, size), recipe.depth)
    lessons = [_lesson(backend, group) for group in groups]
    optimizer = torch.optim.AdamW(weights, lr=recipe.rate)
    first = [w.detach().clone() for w in weights]

    def answer(x: Tensor, t: Tensor, text: Tensor) -> Tensor:
        return unet(x, t, encoder_hidden_states=text.expand(len(x), -1, -1)).sample

    for step in range(recipe.steps):
        states, tokens, singles = lessons[step % len(lessons)]
        x = torch.randn(shape, generator=generator)
        t = torch.randint(0, 1000, (recipe.batch,), generator=generator)
        optimizer.zero_grad()
        with reading(unet, grid) as kept:
            answer(x, t, states)
        separate = torch.stack(
            [loss(concept_maps([layer[n] for layer in kept], tokens, grid), recipe.beta) for n in range(recipe.batch)]
        ).mean()
        separate.backward()  # type: ignore[no-untyped-call]
        norm = 0.0
        if recipe.norm:
            text = singles[step // len(lessons) % len(singles)]
            with torch.no_grad(), holding(weights, first):
                target = answer(x, t, text)
            held = recipe.norm * F.mse_loss(answer(x, t, text), target)
            held.backward()  # type: ignore[no-untyped-call]
            norm = float(held.detach())
        optimizer.step()
        progress(step + 1, float(separate.detach()), norm)


def _lesson(backend: DiffusersBackend, group: list[str]) -> tuple[Tensor, list[tuple[int, ...]], list[Tensor]]:
    """A group's prompt, its words' places in it, and the prompts of its things alone."""
    prompt = "a photo of " + " and ".join(f"a {c}" for c in group)
    alone = [f"a photo of a {c}" for c in group]
    backend.set_prompts({"positive": prompt, **{f"alone {n}": text for n, text in enumerate(alone)}})
    singles = [backend.states(f"alone {n}") for n in range(len(alone))]
    return backend.states("positive"), backend.concept_tokens(group), singles


@contextmanager
def holding(weights: Sequence[Tensor], values: Sequence[Tensor]) -> Iterator[None]:
    """The weights at other values inside, without a second model in memory."""
    now = [w.detach().clone() for w in weights]
    for weight, value in zip(weights, values, strict=True):
        weight.copy_(value)
    try:
        yield
    finally:
        for weight, value in zip(weights, now, strict=True):
            weight.copy_(value)
