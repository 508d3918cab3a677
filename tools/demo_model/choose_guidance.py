"""Which guidance the miniature prior recommends: the best R@1 on the split "validation", by a small grid."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from sow_core.retrieval.demo_encoder import DemoEncoder
from sow_core.retrieval.encoders import unit
from sow_core.retrieval.guidance import Guidance
from sow_core.retrieval.prior import PriorNet
from sow_core.retrieval.sampler import Conditions, sample, with_source

from .gallery import Gallery, Question, build
from .progress import bar

TEXT, IMAGE, STEPS = (1.0, 1.5, 2.0), (1.0, 1.5), (2, 5)
BATCH = 64


def answers(
    network: PriorNet, conditions: list[Conditions], guidance: Guidance, seed: int = 0, batch: int = BATCH
) -> Tensor:
    """The prior's queries [Q, width], unit vectors; question i has the seed `seed` + i."""
    made = []
    for at in range(0, len(conditions), batch):
        part = conditions[at : at + batch]
        z = sample(network, part, guidance, [seed + at + i for i in range(len(part))]).cpu()
        made += [with_source(row, c, guidance.source) for row, c in zip(z, part, strict=True)]
    return unit(torch.stack(made))


def conditions(gallery: Gallery, questions: list[Question], states: dict[str, Tensor]) -> list[Conditions]:
    return [Conditions(states[q.text], states[""], gallery.raw[q.reference]) for q in questions]


def states_of(encoder: DemoEncoder, texts: set[str]) -> dict[str, Tensor]:
    return {t: encoder.states(t) for t in sorted(texts)}


def choose(network: PriorNet, encoder: DemoEncoder, families: int) -> Guidance:
    """The grid's best, ties to the cheaper."""
    gallery = build(encoder, "validation", families)
    asked = conditions(gallery, gallery.questions, states_of(encoder, {"", *(q.text for q in gallery.questions)}))
    best, score = Guidance(), -1.0
    for steps, image, text in bar(list(itertools.product(STEPS, IMAGE, TEXT)), title="guidance"):
        guidance = Guidance(image, text, steps)
        right = float((gallery.ranks(answers(network, asked, guidance), gallery.questions) == 1).mean())
        if right > score + 1e-9:
            best, score = guidance, right
    print(f"validation, {len(gallery.members)} pictures: R@1 {score:.4f} with {best}")
    return best
