"""The parts of `bench find`. Everything is of held-out seeds; weights were chosen on the validation split."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sow_core.assets import asset_folder
from sow_core.retrieval.checkpoint import load_prior
from sow_core.retrieval.demo_encoder import DemoEncoder
from sow_core.retrieval.encoders import unit
from sow_core.retrieval.guidance import Guidance
from sow_core.retrieval.priors import prior_file
from sow_core.retrieval.sampler import Conditions
from tools.demo_model import figure
from tools.demo_model.choose_guidance import answers, conditions, states_of
from tools.demo_model.families import KINDS
from tools.demo_model.gallery import Gallery, Question, build, recall
from tools.demo_model.progress import bar

FUSION_WEIGHTS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
TEXT_WEIGHTS, IMAGE_WEIGHTS = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5), (1.0, 1.5, 2.0)
STEPS = (1, 2, 5, 10, 25)
WITHOUT_WEIGHTS = (1.5, 2.0, 3.0)
"""Text weights of the prior where only a negative text is given: at 1 it cancels out."""
UPPER, LOWER = ("glasses",), ("mouth", "beard")
"""Attributes whose place is the upper and the lower half of a face."""
SWEEP = 5
"""Sweeps ask every fifth question."""
SHEET_SEED = 5


class Session:
    def __init__(self, families: int, quick: bool, out: Path):
        self.families, self.quick, self.out = families, quick, out
        self.encoder = DemoEncoder(asset_folder("models") / "demo")
        self.prior = load_prior(prior_file("demo"))

    @cached_property
    def gallery(self) -> Gallery:
        return build(self.encoder, "held_out", self.families)

    @cached_property
    def validation(self) -> Gallery:
        return build(self.encoder, "validation", max(self.families // 2, 4))

    @cached_property
    def states(self) -> dict[str, Tensor]:
        texts = {"", *(q.text for q in self.gallery.questions), *(q.removed for q in self.gallery.questions)}
        return states_of(self.encoder, texts)

    def setting(self) -> dict[str, Any]:
        return {
            "gallery": len(self.gallery.members), "questions": len(self.gallery.questions),
            "families_of_each_kind": self.families, "guidance": vars(self.prior.guidance),
            "encoder": self.encoder.identity, "fusion_text_weight": self.fusion_weight,
        }  # fmt: skip

    # --- queries -----------------------------------------------------------------------------------------------

    def texts(self, texts: Iterable[str]) -> Tensor:
        """[Q, 128] unit; each different text is read once."""
        listed = list(texts)
        found = {t: unit(self.encoder.texts([t]))[0] for t in set(listed)}
        return torch.stack([found[t] for t in listed])

    def fusion(self, gallery: Gallery, questions: list[Question], weight: float) -> Tensor:
        images = gallery.vectors[[q.reference for q in questions]]
        return unit(images + weight * self.texts(q.text for q in questions))

    @cached_property
    def fusion_weight(self) -> float:
        """The best text weight of fusion on the validation split."""
        g = self.validation
        right = [float((g.ranks(self.fusion(g, g.questions, w), g.questions) == 1).mean()) for w in FUSION_WEIGHTS]
        return FUSION_WEIGHTS[int(np.argmax(right))]

    def composed(self, questions: list[Question], guidance: Guidance | None = None) -> Tensor:
        made = conditions(self.gallery, questions, self.states)
        return answers(self.prior.network, made, guidance or self.prior.guidance)

    # --- parts -------------------------------------------------------------------------------------------------

    def methods(self) -> dict[str, Any]:
        """Recall of each method: all questions, each kind, and R@1 of each attribute."""
        g, asked = self.gallery, self.gallery.questions
        references = [q.reference for q in asked]
        difference = self.texts(g.members[q.answer].caption() for q in asked) - self.texts(
            g.members[q.reference].caption() for q in asked
        )
        ways: dict[str, Callable[[], Tensor]] = {
            "image only": lambda: g.vectors[references],
            "text only": lambda: self.texts(q.text for q in asked),
            "fusion": lambda: self.fusion(g, asked, self.fusion_weight),
            "compodiff-mini": lambda: self.composed(asked),
            "image + caption difference": lambda: unit(g.vectors[references] + difference),
        }
        return {name: self._scores(g.ranks(way(), asked), asked) for name, way in ways.items()}

    def _scores(self, ranks: np.ndarray, asked: list[Question]) -> dict[str, Any]:
        kinds = np.array([q.kind for q in asked])
        attributes = np.array([q.attribute for q in asked])
        return {
            "all": recall(ranks),
            **{kind: recall(ranks[kinds == kind]) for kind in KINDS},
            "R@1 by attribute": {
                a: round(float((ranks[attributes == a] == 1).mean()), 4) for a in sorted(set(attributes.tolist()))
            },
        }

    @property
    def some(self) -> list[Question]:
        return self.gallery.questions[::SWEEP]

    def steps(self) -> dict[str, Any]:
        made = {}
        for count in bar(STEPS, title="steps"):
            ranks = self.gallery.ranks(self.composed(self.some, replace(self.prior.guidance, steps=count)), self.some)
            made[str(count)] = {"all": recall(ranks), **self._kinds(ranks, self.some)}
        return {"questions": len(self.some), "compodiff-mini": made}

    def _kinds(self, ranks: np.ndarray, asked: list[Question]) -> dict[str, Any]:
        kinds = np.array([q.kind for q in asked])
        return {kind: recall(ranks[kinds == kind]) for kind in KINDS}

    def weights(self) -> dict[str, Any]:
        """R@1 over both weights, and fusion over its own, for comparison."""
        rows = []
        for image in bar(IMAGE_WEIGHTS, title="weights"):
            for text in TEXT_WEIGHTS:
                guidance = replace(self.prior.guidance, image=image, text=text)
                ranks = self.gallery.ranks(self.composed(self.some, guidance), self.some)
                rows.append({"image": image, "text": text, **recall(ranks)})
        fused = [
            {"text": w, **recall(self.gallery.ranks(self.fusion(self.gallery, self.some, w), self.some))}
            for w in (0.0, *FUSION_WEIGHTS)
        ]
        return {"questions": len(self.some), "compodiff-mini": rows, "fusion": fused}

    def without(self) -> dict[str, Any]:
        """Removals asked by a negative text alone, and by the instruction."""
        asked = [q for q in self.gallery.questions if q.removed]
        g = self.gallery
        images = g.vectors[[q.reference for q in asked]]
        negative = {
            f"compodiff-mini, negative text, w_T {w:g}": answers(
                self.prior.network,
                [Conditions(self.states[""], self.states[q.removed], g.raw[q.reference]) for q in asked],
                replace(self.prior.guidance, text=w),
            )
            for w in WITHOUT_WEIGHTS
        }
        ways = {
            "image only": images,
            "fusion, instruction": self.fusion(g, asked, self.fusion_weight),
            "fusion, negative text": unit(images - self.fusion_weight * self.texts(q.removed for q in asked)),
            "compodiff-mini, instruction": self.composed(asked),
            **negative,
        }
        return {"questions": len(asked), **{name: self._both(g.ranks(z, asked), asked) for name, z in ways.items()}}

    def _both(self, ranks: np.ndarray, asked: list[Question]) -> dict[str, Any]:
        return {"all": recall(ranks), **self._kinds(ranks, asked)}

    def mask(self) -> dict[str, Any]:
        """Questions about a part of the face, with that part of the reference hidden and unhidden."""
        g = self.gallery
        asked = [q for q in g.questions if q.attribute in UPPER + LOWER]
        hidden = [half_of_the_face(g, q) for q in asked]
        raw = torch.cat([
            self.encoder.pictures([Image.fromarray(g.members[q.reference].draw())], [h])
            for q, h in zip(asked, hidden, strict=True)
        ])  # fmt: skip
        cells = [self.encoder.cells(h, self.prior.network.config.mask) for h in hidden]
        words = self.texts(q.text for q in asked)
        guidance = self.prior.guidance

        def prior(pictures: Tensor, masks: list[Tensor] | None) -> Tensor:
            rows = [
                Conditions(self.states[q.text], self.states[""], pictures[i], masks[i] if masks else None)
                for i, q in enumerate(asked)
            ]
            return answers(self.prior.network, rows, guidance)

        open_ = g.raw[[q.reference for q in asked]]
        ways = {
            "fusion": unit(unit(open_) + self.fusion_weight * words),
            "fusion, part hidden": unit(unit(raw) + self.fusion_weight * words),
            "compodiff-mini": prior(open_, None),
            "compodiff-mini, part hidden, mask told": prior(raw, cells),
            "compodiff-mini, part hidden, mask not told": prior(raw, None),
        }
        return {"questions": len(asked), **{name: recall(g.ranks(z, asked)) for name, z in ways.items()}}

    def sheet(self) -> str:
        """Eight questions, four of each kind, drawn by lot; the five best answers of the prior."""
        from .sheet import draw

        g = self.gallery
        rng = np.random.default_rng(SHEET_SEED)
        chosen: list[Question] = []
        for kind in KINDS:
            numbers = [n for n, q in enumerate(g.questions) if q.kind == kind]
            chosen += [g.questions[int(n)] for n in rng.choice(numbers, 4, replace=False)]
        scores = self.composed(chosen) @ g.vectors.T
        scores[torch.arange(len(chosen)), torch.tensor([q.reference for q in chosen])] = -2.0
        path = self.out / "find_queries.jpg"
        draw(g, chosen, scores.topk(5).indices.tolist(), path)
        return path.name

    def speed(self) -> dict[str, Any]:
        from .speed import measure

        return measure(20_000 if self.quick else 200_000)


def half_of_the_face(gallery: Gallery, question: Question) -> Image.Image:
    """White where the asked attribute lies."""
    portrait = gallery.members[question.reference].portrait
    assert portrait is not None
    x0, y0, x1, y1 = figure.boxes(portrait)["face"]
    middle = (y0 + y1) / 2
    top, bottom = (y0, middle) if question.attribute in UPPER else (middle, y1)
    made = Image.new("L", (128, 128))
    made.paste(255, tuple(int(round(v)) for v in (x0, top, x1, bottom)))  # type: ignore[arg-type]
    return made
