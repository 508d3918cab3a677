"""The model judges its own candidates: does what it painted look more like what was asked than like what was not?

A diffusion model is a zero-shot classifier (Li et al. 2023, arXiv 2303.16203): of several prompts, the one under which
it predicts the noise in a noised picture best is the one that the picture shows. The prompts compared are the one
after the turn, the one before it (the new thing is not there), and the first with the new thing's words exchanged for
those of its neighbours, which is how a model mixes things up. No other model is needed, so any checkpoint can do it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..method.schedule import add_noise
from . import captions

if TYPE_CHECKING:
    from ..backends.base import ModelBackend
    from .painting import Canvas
    from .resolve import Turn

STEPS = 10
LEVELS = (3, 5)
"""Of STEPS: noise under which a thing's colour and shape are still told apart."""
DRAWS = 2
PLAIN = 0.3
"""Weight of the error under the asked prompt itself: a smear is none of the others either."""
MOST = 9
"""Prompts that the asked one is compared with."""


class OwnMatch:
    """Chooses among candidates of one turn on its canvas, see `match.Match`."""

    name = "own"

    def __init__(self, backend: ModelBackend, canvas: Canvas) -> None:
        self.backend, self.canvas = backend, canvas

    def scores(self, before: Tensor, told: str, turn: Turn, after: Tensor) -> Tensor:
        """min over the other prompts of (error - error of the asked one), less PLAIN times the latter: [N].

        Errors are the mean squared ones of the predicted noise over the cells that may change. Leaves the backend
        with other prompts.
        """
        others = rivals(self.canvas.prompt, told if self.canvas.prompt == turn.prompt else "", turn)
        errors = self._errors(after, (self.canvas.prompt, *others))
        asked = errors[0]
        margin = (errors[1:].amin(0) - asked) if others else torch.zeros_like(asked)
        return margin - PLAIN * asked

    def _errors(self, after: Tensor, prompts: Sequence[str]) -> Tensor:
        """[prompts, N]; every candidate and prompt meets the same noise."""
        backend, canvas = self.backend, self.canvas
        # As the model was shown the picture: without the things that it cannot have.
        shown = torch.where(canvas.free > 0, after, canvas.shown.to(after))
        backend.set_prompts({f"rival {n}": text for n, text in enumerate(prompts)})
        rows = tuple(f"rival {n}" for n in range(len(prompts)))
        z = torch.cat([backend.encode(picture[None]) for picture in shown])
        weight = F.adaptive_avg_pool2d(canvas.free[None, None], (z.shape[-2], z.shape[-1]))[0, 0].to(z)
        schedule = backend.schedule(STEPS)
        generator = torch.Generator().manual_seed(0)
        total = torch.zeros(len(prompts), len(z))
        with backend.session():
            for level in LEVELS:
                for _ in range(DRAWS):
                    noise = torch.randn(1, *z.shape[1:], generator=generator).to(z).expand_as(z)
                    noised = add_noise(z, noise, schedule, level)
                    for n, row in enumerate(rows):  # one by one: no more memory than painting takes
                        eps = backend.predict(noised, schedule, level, (row,))[0]
                        total[n] += (((eps - noise) ** 2).mean(1) * weight).sum((-1, -2)).cpu()
        return total / float(weight.sum()) / (len(LEVELS) * DRAWS)


def rivals(prompt: str, told: str, turn: Turn) -> tuple[str, ...]:
    """Prompts that the picture should look less like: the one before the turn, and mixtures with the other things.

    told: the prompt before, or empty: then the new thing is taken out of `prompt`.
    """
    name = turn.fresh
    found = [told or captions.without_thing(prompt, name)] if told or name else []
    if name and name in prompt:
        for other in (t.name for t in turn.things if t.name != name and t.name in prompt):
            found += [prompt.replace(name, mixed) for mixed in mixtures(name, other)]
    return tuple(text for text in dict.fromkeys(found) if text and text != prompt)[:MOST]


def mixtures(name: str, other: str) -> list[str]:
    """What a thing turns into beside another: "red cube", "blue ball" -> "blue ball", "blue cube", "red ball"."""
    *qualities, kind = name.split()
    *others, different = other.split()
    return [" ".join(words) for words in ((*others, different), (*others, kind), (*qualities, different))]
