"""The judges' numbers of a picture: identity, face, what the text asked for, failure."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sow_core.condition import Layout
from tools.demo_model.judges import FILE, Judges

from .cases import Case
from .methods import Method


class Panel:
    """The judges of the demo world, asked about one picture at a time."""

    def __init__(self, judges: Judges, digest: str) -> None:
        self.judges = judges
        self.digest = digest

    @classmethod
    def load(cls, folder: Path) -> Panel:
        """Raises FileNotFoundError where there are no judges."""
        judges = Judges.load(folder)
        return cls(judges, hashlib.sha256((folder / FILE).read_bytes()).hexdigest()[:16])

    def judge(self, image: Tensor, layout: Layout, case: Case, method: Method) -> dict[str, Any]:
        """identity_distance: 1 - cosine of the kept face's place to the given face, 0..2; face_found; text_right,
        edit_right: shares of what was asked outside and inside that the judges see, 0..1."""
        _, face = case.place(method.position)
        found = self.judges.faces(image[None])
        given = self.judges.identity(case.source[None], torch.tensor([case.source_face]))
        kept = self.judges.identity(image[None], torch.tensor([face]))
        told = self.judges.labels(image[None], torch.tensor([face]))[0]
        text = {k: told[k] == v for k, v in case.outside.items()}
        edit = {k: told[k] == v for k, v in case.inside.items()}
        values: dict[str, Any] = {
            "identity_distance": round(1.0 - float((given * kept).sum()), 5),
            "face_found": bool(found.found[0]),
            "text": text,
            "text_right": sum(text.values()) / len(text),
        }
        if edit:
            values |= {"edit": edit, "edit_right": sum(edit.values()) / len(edit)}
        return values

    def strangers(self, cases: list[Case]) -> float:
        """Mean identity distance between the given faces of different cases: what a stranger's face has."""
        faces = torch.cat([self.judges.identity(c.source[None], torch.tensor([c.source_face])) for c in cases])
        distance = 1.0 - faces @ faces.T
        others = ~torch.eye(len(cases), dtype=torch.bool)
        return float(distance[others].mean()) if len(cases) > 1 else 1.0
