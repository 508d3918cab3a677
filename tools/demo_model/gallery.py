"""A gallery of held-out families and the questions about it: how a composed search is measured.

In the gallery stand the references and the changes of all families; a question is a reference and an instruction,
its answer the one picture that the instruction makes of it. The other changes of the same reference, which differ
in one thing too, are among the wrong answers; the question's own picture is left out of the ranking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sow_core.retrieval.demo_encoder import DemoEncoder
from sow_core.retrieval.encoders import unit

from . import world
from .families import KINDS, Member, family
from .progress import bar

CHANGES = 3
RANKS = (1, 5, 10)


@dataclass(frozen=True)
class Question:
    """reference, answer: rows of the gallery."""

    kind: str
    reference: int
    answer: int
    text: str
    removed: str
    attribute: str


@dataclass
class Gallery:
    vectors: Tensor
    """[N, 128] unit"""
    raw: Tensor
    """[N, 128] as the encoder makes them"""
    members: list[Member]
    questions: list[Question]

    def ranks(self, queries: Tensor, questions: Sequence[Question]) -> np.ndarray:
        """The place of each answer, 1 the best. queries: [Q, 128] unit vectors."""
        scores = queries @ self.vectors.T
        scores[torch.arange(len(questions)), torch.tensor([q.reference for q in questions])] = -2.0
        right = scores.gather(1, torch.tensor([q.answer for q in questions])[:, None])
        return ((scores > right).sum(1) + 1).numpy()


def build(encoder: DemoEncoder, split: str, families: int) -> Gallery:
    """`families` of each kind. Seeds of a split are used from its start."""
    start = world.SPLITS[split].start
    members: list[Member] = []
    questions: list[Question] = []
    for number, kind in enumerate(KINDS):
        for i in range(families):
            # Far from the seeds of other uses of the split, so that none of its pictures is met twice.
            found = family(start + 50_000 + number * families + i, kind, CHANGES)
            at = len(members)
            members += found
            questions += [Question(kind, at, at + j, m.instruction, m.removed, m.attribute)
                          for j, m in enumerate(found) if j]  # fmt: skip
    raw = []
    for at in bar(range(0, len(members), 32), title=f"gallery {split}"):
        raw.append(encoder.pictures([Image.fromarray(m.draw()) for m in members[at : at + 32]]))
    return Gallery(unit(torch.cat(raw)), torch.cat(raw), members, questions)


def recall(ranks: np.ndarray) -> dict[str, float]:
    """R@1, R@5, R@10."""
    return {f"R@{k}": round(float((ranks <= k).mean()), 4) for k in RANKS}
