"""Token replacement, after "Personalize Anything" (Feng et al. 2025, arXiv 2503.12590): the inverted picture's tokens
are written in during the early steps, later ones are free, and the tokens are shuffled locally (patch perturbation).

Its late steps also let the picture attend to the reference's tokens; that is not reproduced here, nor is the random
growing of the mask, for want of anything known around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sow_core.method import engine
from sow_core.method.guidance import Guidance
from sow_core.method.plan import Decode, Denoise, Encode, Invert, Op, Place, Plan, SeedCanvas

PATCH = 2
"""Latent cells along a token's side."""
WINDOW = 3
"""Tokens along the side of the window within which they change places."""


@dataclass(frozen=True)
class PlaceTokens(Place):
    """`Place`, with the condition's tokens shuffled within windows of WINDOW x WINDOW, anew at every level."""


def shuffled(latent: Tensor, inside: Tensor, seed: int) -> Tensor:
    """A latent [1, C, h, w] with those of its tokens that lie wholly in `inside` [h, w] shuffled within windows."""
    rows, columns = inside.shape[0] // PATCH, inside.shape[1] // PATCH
    whole = inside[: rows * PATCH, : columns * PATCH].view(rows, PATCH, columns, PATCH).amin(dim=(1, 3)) > 0.5
    order = torch.arange(rows * columns).view(rows, columns)
    chance = torch.Generator().manual_seed(seed)
    for y in range(0, rows, WINDOW):
        for x in range(0, columns, WINDOW):
            part = (slice(y, y + WINDOW), slice(x, x + WINDOW))
            members = order[part][whole[part]]
            order[part][whole[part]] = members[torch.randperm(len(members), generator=chance)]
    out = latent.clone()
    tokens = out[:, :, : rows * PATCH, : columns * PATCH]
    split = tokens.reshape(1, -1, rows, PATCH, columns, PATCH).permute(2, 4, 0, 1, 3, 5).flatten(0, 1)
    moved = split[order.flatten().to(split.device)].view(rows, columns, *split.shape[1:])
    tokens.copy_(moved.permute(2, 3, 0, 4, 1, 5).reshape(tokens.shape))
    return out


def place_tokens(run: engine._Run, op: PlaceTokens) -> Iterator[engine.Event] | None:
    tokens = shuffled(run._at_level(op.level), run.inside[0, 0].cpu(), op.level)
    run.state.x = torch.where(run.inside > 0.5, tokens, run.state.x)
    return None


engine.STEPS[PlaceTokens] = place_tokens


def token_replacement(base: Plan, above: float, *, shuffle: bool, negative: str = "negative") -> Plan:
    """From pure noise on the grid of `base`; tokens are written in at the levels above that share of the steps.

    base: gives steps and guidance (`peers.replacement`'s plan). Deterministic steps, as published.
    """
    config = replace(base.config, trajectory="invert", invert_on="canvas", inversion_stride=1)
    steps, guide = config.steps, Guidance(config.guidance, negative=negative)
    ops: list[Op] = [Encode(canvas=True, crops=False), Invert(steps, Guidance(1.0, embedded=False), None, 1)]
    ops.append(SeedCanvas("none", steps))
    for k in range(steps, 0, -1):
        if k > above * steps:
            ops.append(PlaceTokens(k, None) if shuffle else Place(k, None))
        ops.append(Denoise(k, 0.0, guide, False, None))
    return Plan(config, (*ops, Decode()))
