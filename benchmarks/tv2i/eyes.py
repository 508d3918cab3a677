"""Who looks at a picture: MTCNN and FaceNet for photographs, the demo world's judges for drawn faces, CLIP for texts.

Each is had only where its weights lie on this disk; what is missing is said in one line and left out of the tables.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from sow_core.errors import SowError
from sow_core.method.box import Box
from sow_core.method.condition import to_tensor
from sow_core.outside.text import one_line

FOUND = 0.9
"""Probability from which MTCNN's face counts."""


class Eyes(Protocol):
    """Looks for faces and likeness. name: in the report; digest: changes with its weights."""

    name: str
    digest: str

    def look(self, made: Image.Image, given: Image.Image, box: Box) -> dict[str, Any]:
        """faces: how many there are; id: distance of the face to the given one, if both are found. box: its place."""
        ...


class FaceNet:
    """MTCNN as the package facenet-pytorch brings it; with FaceNet's weights (its .pt file) the distance, too:
    Euclidean between the unit embeddings, 0 to 2."""

    name = "MTCNN, FaceNet"

    def __init__(self, weights: Path | None) -> None:
        """Raises SowError where a package or the weights are missing."""
        try:
            from facenet_pytorch import MTCNN, InceptionResnetV1
        except Exception as error:  # torchvision of another torch fails in its own ways
            raise SowError(
                f"faces and ID distance: MTCNN needs facenet-pytorch and torchvision ({_first(error)}); "
                "pip install --no-deps facenet-pytorch, and the torchvision of this torch."
            ) from None
        self.finder = MTCNN(keep_all=True)
        self.net = None
        self.digest = "mtcnn"
        if weights is not None:
            try:
                content = weights.read_bytes()
                net = InceptionResnetV1(pretrained=None, classify=False)
                state = torch.load(weights, map_location="cpu", weights_only=True)
                net.load_state_dict({k: v for k, v in state.items() if not k.startswith("logits")}, strict=False)
            except Exception as error:
                raise SowError(f"Cannot read {weights} as FaceNet's weights ({_first(error)}).") from None
            self.net = net.eval()
            self.digest = hashlib.sha256(content).hexdigest()[:16]

    def look(self, made: Image.Image, given: Image.Image, box: Box) -> dict[str, Any]:
        boxes, odds = self.finder.detect(made)
        faces = 0 if boxes is None else sum(float(p) >= FOUND for p in odds)
        told: dict[str, Any] = {"faces": faces}
        if self.net is not None and faces:
            one, other = self._embedding(made), self._embedding(given)
            if one is not None and other is not None:
                told["id"] = float((one - other).norm())
        return told

    @torch.no_grad()
    def _embedding(self, picture: Image.Image) -> Tensor | None:
        found = self.finder(picture)
        return None if found is None or self.net is None else self.net(found[:1])[0]


class DemoJudges:
    """The demo world's judges, for drawn faces: 1 - cosine of their own embeddings, 0 to 2; compares with no other."""

    name = "the demo world's judges"

    def __init__(self, folder: Path) -> None:
        """Raises SowError where there are none."""
        from benchmarks.quality.judging import Panel
        from tools.demo_model.judges import Judges

        try:
            judges = Judges.load(folder)
        except FileNotFoundError as error:
            raise SowError(f"faces and ID distance: {error}.") from None
        self.panel = Panel(judges, None, "")
        self.digest = f"judges {folder.resolve()}"

    def look(self, made: Image.Image, given: Image.Image, box: Box) -> dict[str, Any]:
        image = to_tensor(made.resize((128, 128), Image.Resampling.LANCZOS))
        scale = 128 / made.width
        place = torch.tensor([[box.x, box.y, box.x + box.width, box.y + box.height]], dtype=torch.float32) * scale
        judges = self.panel.judges
        whole = to_tensor(given.convert("RGB"))[None]
        one, other = judges.identity(image[None], place), judges.identity(whole, judges.faces(whole).boxes)
        return {"faces": self.panel.count_faces(image), "id": 1.0 - float((one * other).sum())}


class ClipText:
    """Cosine of CLIP's embeddings of picture and text, -1 to 1, from a local folder of transformers' layout."""

    name = "CLIP"

    def __init__(self, folder: Path) -> None:
        """Raises SowError where it cannot be loaded."""
        from transformers import CLIPModel, CLIPTokenizer

        try:
            self.model = CLIPModel.from_pretrained(folder, local_files_only=True).eval()
            self.tokens = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:
            raise SowError(f"Cannot read {folder} as a CLIP folder ({_first(error)}).") from None
        config = self.model.config.vision_config
        self.side = int(config.image_size)
        self.digest = f"clip {config.hidden_size} {config.num_hidden_layers} {folder.resolve()}"

    @torch.no_grad()
    def match(self, picture: Image.Image, text: str) -> float:
        image = to_tensor(picture.convert("RGB").resize((self.side, self.side), Image.Resampling.BICUBIC))
        mean, spread = (torch.tensor(v)[:, None, None] for v in (MEAN, SPREAD))
        ids = self.tokens(text, truncation=True, return_tensors="pt")
        made = self.model(input_ids=ids["input_ids"], pixel_values=((image - mean) / spread)[None],
                          attention_mask=ids["attention_mask"])  # fmt: skip
        one, other = (torch.nn.functional.normalize(v[0], dim=0) for v in (made.image_embeds, made.text_embeds))
        return float((one * other).sum())


def _first(error: Exception) -> str:
    return one_line(str(error).split("\n")[0], 80)


MEAN, SPREAD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""What CLIP's pictures are normalised by."""
