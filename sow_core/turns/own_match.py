"""The model judges its own candidates: does what it painted look more like what was asked than like what was not?

A diffusion model is a zero-shot classifier (Li et al. 2023, arXiv 2303.16203): of several prompts, the one under which
it predicts the noise in a noised picture best is the one that the picture shows. The prompts compared are the one
after the turn, the one before it (the new thing is not there), and the first with the new thing's words exchanged for
those of its neighbours, which is how a model mixes things up. No other model is needed, so any checkpoint can do it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..method.schedule import add_noise
from . import captions

if TYPE_CHECKING:
    from ..backends.base import ModelBackend
    from ..method.backend import Backend
    from ..method.box import Box
    from .painting import Canvas
    from .resolve import Turn

STEPS = 10
LEVELS = (4, 5)
"""Of STEPS: noise under which a thing's colour and shape are still told apart. On validation turns of the demo model
they part right pictures from wrong ones better than others do (area under the ROC curve .96)."""
DRAWS = 2
FLOOR = 0.3
"""Added to the error that a margin is compared with (that of plain noise is 1): on an empty floor all errors are tiny,
and so is what their ratio says."""
ENOUGH = 0.0
"""Score from which a picture is believed where the model's folder says nothing: no other prompt fits better."""
MOST = 6
"""Prompts that the asked one is compared with."""


class Errors(Protocol):
    """How badly a model predicts the noise in pictures under each of several prompts."""

    def __call__(self, pictures: Tensor, free: Tensor, prompts: Sequence[str]) -> Tensor:
        """pictures [N, 3, H, W] in 0..1, free [H, W]: the pixels that count -> [prompts, N], see `noise_errors`."""


class OwnMatch:
    """Chooses among candidates of one turn on its canvas, see `match.Match`."""

    name = "own"

    def __init__(self, errors: Errors, canvas: Canvas, enough: float | None = None) -> None:
        """enough: score from which a picture is believed, as the model's folder has it (`Advice.believed`)."""
        self.errors, self.canvas = errors, canvas
        self.enough: float | None = ENOUGH if enough is None else enough

    @classmethod
    def of(cls, backend: ModelBackend, canvas: Canvas) -> OwnMatch:
        """By a backend that brings its own VAE and encodes prompts; it is left with other prompts."""
        return cls(partial(backend_errors, backend), canvas, backend.parts.recommended.believed)

    def scores(self, before: Tensor, turn: Turn, after: Tensor) -> Tensor:
        """(smallest error of the other prompts - error of the asked one) / (the former + FLOOR), [N], below 1.

        Where there are no others: 1 - error.
        """
        canvas = self.canvas
        others = rivals(canvas.prompt, canvas.told, turn)
        # As the model was shown the picture: without the things that it cannot have.
        errors = self.errors(canvas.as_shown(after), canvas.open, (canvas.prompt, *others))
        if not others:
            return 1.0 - errors[0]
        nearest = errors[1:].amin(0)
        return (nearest - errors[0]) / (nearest + FLOOR)


def backend_errors(backend: ModelBackend, pictures: Tensor, free: Tensor, prompts: Sequence[str]) -> Tensor:
    """`Errors` of a backend with a VAE."""
    rows = row_names(prompts)
    backend.set_prompts(rows)
    z = torch.cat([backend.encode(picture[None]) for picture in pictures])
    return noise_errors(backend, z, free, list(rows))


def row_names(prompts: Sequence[str]) -> dict[str, str]:
    """Prompts as a backend's rows."""
    return {f"rival {n}": text for n, text in enumerate(prompts)}


def calls_of(rows: Sequence[str]) -> int:
    """Model calls of `noise_errors`."""
    return len(rows) * len(LEVELS) * DRAWS


def noise_errors(
    backend: Backend, z: Tensor, free: Tensor, rows: Sequence[str], asked: Callable[[], object] | None = None
) -> Tensor:
    """Mean squared errors [rows, N] of the noise predicted in latents z [N, C, h, w], over the cells that are free.

    free [H, W]: of the picture's pixels. Every picture and row meets the same noise. asked: called after every call.
    """
    weight = F.adaptive_avg_pool2d(free[None, None], (z.shape[-2], z.shape[-1]))[0, 0].to(z)
    schedule = backend.schedule(STEPS)
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(len(rows), len(z))
    with backend.session():
        for level in LEVELS:
            for _ in range(DRAWS):
                noise = torch.randn(1, *z.shape[1:], generator=generator).to(z).expand_as(z)
                noised = add_noise(z, noise, schedule, level)
                for n, row in enumerate(rows):  # one by one: no more memory than painting takes
                    eps = backend.predict(noised, schedule, level, (row,))[0]
                    total[n] += (((eps - noise) ** 2).mean(1) * weight).sum((-1, -2)).cpu()
                    if asked is not None:
                        asked()
    return total / float(weight.sum()) / (len(LEVELS) * DRAWS)


def rivals(prompt: str, told: str, turn: Turn) -> tuple[str, ...]:
    """Prompts that the picture should look less like: the one before the turn, and mixtures with the other things.

    told: the prompt before, or empty: then the new thing is taken out of `prompt`.
    """
    name = turn.fresh
    found = [told or captions.without_thing(prompt, name)] if told or name else []
    if name and name in prompt:
        for other in _nearest_first(turn):
            if other in prompt:
                found += [prompt.replace(name, mixed) for mixed in mixtures(name, other)]
    return tuple(text for text in dict.fromkeys(found) if text and text != prompt)[:MOST]


def _nearest_first(turn: Turn) -> list[str]:
    """The other things' names, the fresh thing's neighbours before those that are far off or nobody knows where."""
    new = turn.fresh_thing

    def far(box: Box | None) -> float:
        if box is None or new is None or new.box is None:
            return math.inf
        return math.dist(box.center, new.box.center)

    return [t.name for t in sorted(turn.things, key=lambda t: far(t.box)) if t.name != turn.fresh]


def mixtures(name: str, other: str) -> list[str]:
    """What a thing turns into beside another: "red cube", "blue ball" -> "blue ball", "blue cube", "red ball"."""
    *qualities, kind = name.split()
    *others, different = other.split()
    return [" ".join(words) for words in ((*others, different), (*others, kind), (*qualities, different))]
