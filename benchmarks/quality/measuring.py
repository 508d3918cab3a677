"""From a picture on disk to its numbers: judge-free ones always, the judges' where there are judges."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from sow_core.method.condition import Layout, kept_mask, to_tensor
from sow_core.pictures.reading import load_picture

from . import metrics
from .cases import Case
from .classifier import TextClassifier
from .judging import Panel
from .methods import Method
from .store import Store

VERSION = "3"
"""Of the measures: raise it when one of them changes."""
TRACED = ("cycles", "cpu_seconds", "indicator_first", "indicator_last", "gate")
"""What a picture's own record knows."""


class Measures:
    """The numbers of a run's pictures in OUT/measures.jsonl."""

    def __init__(self, folder: Path, classifier: TextClassifier | None, panel: Panel | None) -> None:
        self.store = Store(folder / "measures.jsonl")
        self.classifier = classifier
        self.panel = panel

    def make(self, method: Method, case: Case, layout: Layout, picture: Path, made: dict[str, Any]) -> dict[str, Any]:
        """The record of one picture; `made` is the record of its making."""
        tools = (VERSION, "text" if self.classifier else "", self.panel.digest if self.panel else "")
        fingerprint = hashlib.sha256(" ".join((made["fingerprint"], *tools)).encode()).hexdigest()[:16]
        key = f"{method.name}/{case.id}"
        found = self.store.get(key, fingerprint)
        if found is not None:
            return found
        image = to_tensor(load_picture(picture)[0])
        values: dict[str, Any] = {k: made[k] for k in ("method", "case", "setting", "hard", "calls", "rows")}
        values |= {k: made[k] for k in TRACED if k in made}
        values |= {k: round(v, 5) for k, v in metrics.region(image, layout).items()}
        if self.classifier is not None:
            values |= self._text(self.classifier, image, layout, case)
        if self.panel is not None:
            values |= self.panel.judge(image, layout, case, method)
        return self.store.put(key, fingerprint, values)

    @staticmethod
    def _text(classifier: TextClassifier, image: torch.Tensor, layout: Layout, case: Case) -> dict[str, Any]:
        """What the model itself reads in the part that was not given."""
        outside = 1.0 - kept_mask(layout)
        place = classifier.place(image, outside, case.prompt)
        values: dict[str, Any] = {"model_place": place, "model_place_right": place == case.outside["background"]}
        if "style" in case.outside:
            style = classifier.style(image, outside, case.prompt)
            values |= {"model_style": style, "model_style_right": style == case.outside["style"]}
        return values
