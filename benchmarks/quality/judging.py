"""The judges' numbers of a picture: identity, face, what the text asked for, failure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sow_core.method.condition import Layout, kept_mask
from tools.demo_model.judge_nets import decode_boxes, peaks, pool
from tools.demo_model.judges import FACE_THRESHOLD, FILE, Judges

from .cases import Case
from .failure import FailureJudge
from .methods import Method

FACES_APART = 10.0
"""px of a 128-px picture between the centres of two faces; nearer ones are one face seen twice."""


class Panel:
    """The judges of the demo world and the failure net, asked about one picture at a time."""

    def __init__(self, judges: Judges, failure: FailureJudge | None, digest: str) -> None:
        self.judges = judges
        self.failure = failure
        self.digest = digest

    @classmethod
    def load(cls, folder: Path) -> Panel:
        """Raises FileNotFoundError where there are no judges. Without a failure net nothing counts as failed."""
        judges = Judges.load(folder)
        try:
            failure = FailureJudge()
        except FileNotFoundError:
            failure = None
        parts = (folder / FILE).read_bytes() + (failure.digest if failure else "").encode()
        return cls(judges, failure, hashlib.sha256(parts).hexdigest()[:16])

    def judge(self, image: Tensor, layout: Layout, case: Case, method: Method) -> dict[str, Any]:
        """identity_distance: 1 - cosine of the kept face's place to the given face, 0..2; face_found; text_right,
        edit_right: shares of what was asked outside and inside that the judges see, 0..1; odds: of failure, see
        `failure`; second_face."""
        _, face = case.place(method.position)
        boxes = torch.tensor([face])
        given = self.judges.identity(case.source[None], torch.tensor([case.source_face]))
        kept = self.judges.identity(image[None], boxes)
        told = self.judges.labels(image[None], boxes)[0]
        text = {k: told[k] == v for k, v in case.outside.items()}
        edit = {k: told[k] == v for k, v in case.inside.items()}
        values: dict[str, Any] = {
            "identity_distance": round(1.0 - float((given * kept).sum()), 5),
            "face_found": bool(self.judges.faces(image[None]).found[0]),
            "second_face": self.count_faces(image) > 1,
            "text": text,
            "text_right": sum(text.values()) / len(text),
        }
        if edit:
            values |= {"edit": edit, "edit_right": sum(edit.values()) / len(edit)}
        if self.failure is not None:
            values["odds"] = self.failure.judge(image[None], kept_mask(layout)[None], [face])[0]
        return values

    @torch.no_grad()
    def count_faces(self, image: Tensor) -> int:
        """Faces in a picture [3,128,128], at least FACES_APART from each other."""
        out = self.judges.scene(image[None] * 2 - 1)[1][0]
        heat = out[0].sigmoid()
        rows, cols = peaks(heat[None], FACE_THRESHOLD)[0].nonzero(as_tuple=True)
        boxes = decode_boxes(out[1:5, rows, cols].T, rows, cols)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        seen: list[Tensor] = []
        for n in heat[rows, cols].argsort(descending=True).tolist():
            if all(float((centres[n] - other).norm()) > FACES_APART for other in seen):
                seen.append(centres[n])
        return len(seen)

    def strangers(self, cases: Sequence[Case]) -> float:
        """Mean identity distance between the given faces of different cases: what a stranger's face has."""
        faces = torch.cat([self.judges.identity(c.source[None], torch.tensor([c.source_face])) for c in cases])
        distance = 1.0 - faces @ faces.T
        others = ~torch.eye(len(cases), dtype=torch.bool)
        return float(distance[others].mean()) if len(cases) > 1 else 1.0

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """What the scene judge makes of whole pictures, [N, 176]: the space in which `kid` compares."""
        scene = self.judges.scene
        return torch.cat([pool(scene.top(scene.trunk(x * 2 - 1))) for x in images.split(32)])


def kid(a: Tensor, b: Tensor, paired: bool = False) -> float:
    """Kernel distance of two sets of features [N, D], [M, D] (Binkowski et al. 2018): squared MMD with the
    kernel (x.y / D + 1)^3, unbiased, so that small sets can be compared; about 0 for the same distribution.

    paired: a[i] and b[i] show the same text. They are more alike than strangers are, so such pairs are left out of
    the mean across the sets; with them the distance of a good generator is far below 0.
    Here in the scene judge's features instead of Inception's: its numbers compare with nobody else's.
    """
    if len(a) < 2 or len(b) < 2:
        raise ValueError("KID needs at least two pictures on each side")

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x.double() @ y.double().T / x.shape[1] + 1.0) ** 3

    def within(x: Tensor) -> Tensor:
        k = kernel(x, x)
        return (k.sum() - k.diagonal().sum()) / (len(x) * (len(x) - 1))

    across = kernel(a, b)
    if not paired:
        return float(within(a) + within(b) - 2.0 * across.mean())
    if len(a) != len(b):
        raise ValueError("pairs need as many pictures on each side")
    others = (across.sum() - across.diagonal().sum()) / (len(a) * (len(a) - 1))
    return float(within(a) + within(b) - 2.0 * others)
