"""The judges' public face: what is in a picture of the demo world, by small nets trained on other seeds.

    judges = Judges.load("models/demo/judges")
    judges.faces(images)                -> boxes and scores
    judges.attributes(images)           -> {"background": probabilities [N,10], ...}
    judges.identity(images, boxes)      -> embeddings [N,64]; cosine = likeness
    judges.objects(images)              -> the cube world's objects

Images are float tensors [N,3,H,W] in 0..1, any size (they are resized to 128 px); boxes are x0, y0, x1, y1 in
px of the images given.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from . import judge_nets as nets
from .attributes import CHOICES
from .cubes import COLORS, SHAPES

SIZE = 128
FILE = "judges.safetensors"
FACE_THRESHOLD = 0.5
THING_THRESHOLD = 0.5
VALUES: dict[str, tuple[str, ...]] = {
    k: CHOICES[k] if k != "old" else ("no", "yes") for k in (*nets.SCENE_HEADS, *nets.FACE_HEADS)
}
"""The values that the columns of `attributes` stand for."""


@dataclass(frozen=True)
class Faces:
    """The best face of each picture: boxes [N,4], scores [N] in 0..1, found [N] (score >= FACE_THRESHOLD)."""

    boxes: Tensor
    scores: Tensor

    @property
    def found(self) -> Tensor:
        return self.scores >= FACE_THRESHOLD


@dataclass(frozen=True)
class FoundThing:
    """An object of the cube world: box x0, y0, x1, y1 in px of the picture given."""

    shape: str
    color: str
    box: tuple[float, float, float, float]
    score: float

    @property
    def name(self) -> str:
        return f"{self.color} {self.shape}"

    @property
    def center(self) -> tuple[float, float]:
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


class Judges:
    def __init__(self, scene: nets.SceneNet, head: nets.HeadNet, identity: nets.IdentityNet):
        self.scene, self.head, self.face = scene.eval(), head.eval(), identity.eval()

    @staticmethod
    def load(folder: str | Path, device: str = "cpu") -> Judges:
        """From the folder that `train_judges` wrote. Raises FileNotFoundError if there is none."""
        from safetensors.torch import load_file

        path = Path(folder) / FILE
        if not path.exists():
            how = "make them with python -m tools.demo_model.train_judges"
            raise FileNotFoundError(f"no judges in {folder}: expected the file {FILE}; {how}")
        state = {k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()}
        parts = [nets.SceneNet(), nets.HeadNet(), nets.IdentityNet()]
        for name, net in zip(("scene", "head", "identity"), parts, strict=True):
            net.load_state_dict({k.removeprefix(name + "."): v for k, v in state.items() if k.startswith(name + ".")})
            net.to(device)
        return Judges(*parts)  # type: ignore[arg-type]

    @property
    def device(self) -> torch.device:
        return next(self.scene.parameters()).device

    def _prepare(self, images: Tensor) -> tuple[Tensor, float, float]:
        """Pictures at 128 px in -1..1, and what 1 px of theirs is in px of the given ones (x, y)."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images must be [N,3,H,W] in 0..1, got {tuple(images.shape)}")
        h, w = images.shape[2:]
        x = images.to(self.device, torch.float32)
        if (h, w) != (SIZE, SIZE):
            x = F.interpolate(x, (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)
        return x * 2 - 1, w / SIZE, h / SIZE

    @torch.no_grad()
    def faces(self, images: Tensor) -> Faces:
        """The most face-like place of every picture."""
        x, kx, ky = self._prepare(images)
        boxes, scores = self._faces(self.scene(x)[1])
        return Faces(boxes * boxes.new_tensor([kx, ky, kx, ky]), scores)

    def _faces(self, out: Tensor) -> tuple[Tensor, Tensor]:
        n, _, h, w = out.shape
        scores, at = out[:, 0].sigmoid().flatten(1).max(1)
        rows, cols = at // w, at % w
        reg = out[torch.arange(n), 1:5, rows, cols]
        return nets.decode_boxes(reg, rows, cols).clamp(0, SIZE), scores

    @torch.no_grad()
    def attributes(self, images: Tensor, boxes: Tensor | None = None) -> dict[str, Tensor]:
        """Probabilities [N,K] per attribute, columns as in VALUES. Heads are looked for unless face boxes [N,4]
        are given."""
        x, kx, ky = self._prepare(images)
        scene, grid, _ = self.scene(x)
        if boxes is None:
            at = self._faces(grid)[0]
        else:
            at = boxes.to(x) / x.new_tensor([kx, ky, kx, ky])
        head = self.head(nets.crop(x, at, nets.HEAD_GROW, nets.HEAD_CROP))
        return {k: v.softmax(1) for k, v in {**scene, **head}.items()}

    def labels(self, images: Tensor, boxes: Tensor | None = None) -> list[dict[str, str]]:
        """The likeliest value of every attribute, per picture."""
        best = {k: v.argmax(1).tolist() for k, v in self.attributes(images, boxes).items()}
        return [{k: VALUES[k][v[i]] for k, v in best.items()} for i in range(len(images))]

    @torch.no_grad()
    def identity(self, images: Tensor, boxes: Tensor | None = None) -> Tensor:
        """Unit embeddings [N,64] of the faces in `boxes` [N,4] (found by itself without)."""
        x, kx, ky = self._prepare(images)
        at = self._faces(self.scene(x)[1])[0] if boxes is None else boxes.to(x) / x.new_tensor([kx, ky, kx, ky])
        return self.face(nets.crop(x, at, nets.FACE_GROW, nets.FACE_CROP))

    @torch.no_grad()
    def objects(self, images: Tensor, threshold: float = THING_THRESHOLD) -> list[list[FoundThing]]:
        """The objects of each picture, the surest first."""
        x, kx, ky = self._prepare(images)
        out = self.scene(x)[2]
        heat = out[:, 0].sigmoid()
        result: list[list[FoundThing]] = []
        for i, mask in enumerate(nets.peaks(heat, threshold)):
            rows, cols = mask.nonzero(as_tuple=True)
            cells = out[i, :, rows, cols].T
            boxes = nets.decode_boxes(cells[:, 1:5], rows, cols) * cells.new_tensor([kx, ky, kx, ky])
            shapes = cells[:, 5 : 5 + len(SHAPES)].argmax(1).tolist()
            colors = cells[:, 5 + len(SHAPES) :].argmax(1).tolist()
            found = [
                FoundThing(SHAPES[s], COLORS[c], tuple(b), float(p))  # type: ignore[arg-type]
                for s, c, b, p in zip(shapes, colors, boxes.tolist(), heat[i, rows, cols].tolist(), strict=True)
            ]
            result.append(sorted(found, key=lambda t: -t.score))
        return result
