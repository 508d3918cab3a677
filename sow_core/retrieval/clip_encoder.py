"""A CLIP model of transformers, from a local folder, as an `Encoder`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..backends.clip import load_clip, load_clip_text
from ..backends.configs import json_object
from ..errors import SowError
from ..method.condition import to_tensor
from .identity import weights_identity

MEAN, SPREAD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""CLIP's own, where the folder has no preprocessor_config.json."""


class ClipEncoder:
    """The folder holds config.json (model_type clip), safetensors weights, and a tokenizer."""

    def __init__(self, folder: Path, device: str = "cpu"):
        """Raises SowError if the folder is no CLIP model or its files are damaged."""
        weights = model_files(folder, "clip")
        self.name, self.identity = folder.name, weights_identity("clip", [folder / "config.json", *weights])
        self.model, self.tokenizer = load_clip(folder)
        self.device = torch.device(device)
        self.model.to(self.device)
        config: Any = self.model.config
        self.width, self.side = int(config.projection_dim), int(config.vision_config.image_size)
        self.mean, self.spread = _statistics(folder)

    @torch.no_grad()
    def pictures(self, pictures: Sequence[Image.Image], hidden: Sequence[Image.Image | None] = ()) -> Tensor:
        rows = []
        for index, picture in enumerate(pictures):
            x = (to_tensor(self._frame(picture.convert("RGB"), Image.Resampling.BICUBIC)) - self.mean) / self.spread
            mask = hidden[index] if index < len(hidden) else None
            # As published: what is hidden is zero after normalisation, the mean colour.
            rows.append(x if mask is None else x * (1 - self.cells(mask, self.side)))
        seen = self.model.vision_model(pixel_values=torch.stack(rows).to(self.device)).pooler_output
        return self.model.visual_projection(seen).cpu()

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        read = self.model.text_model(**_tokens(self.tokenizer, texts, self.device)).pooler_output
        return self.model.text_projection(read).cpu()

    @torch.no_grad()
    def states(self, text: str) -> Tensor:
        return self.model.text_model(**_tokens(self.tokenizer, [text], self.device)).last_hidden_state[0].cpu()

    def cells(self, hidden: Image.Image, size: int) -> Tensor:
        mask = (to_tensor(self._frame(hidden.convert("L"), Image.Resampling.BICUBIC)) > 0.5).float()
        shrunk = Image.fromarray((mask.numpy() * 255).astype("uint8")).resize((size, size), Image.Resampling.BILINEAR)
        return (to_tensor(shrunk) > 0.5).float()

    def _frame(self, picture: Image.Image, filter: Image.Resampling) -> Image.Image:
        """The shorter side at the model's size, the middle of the longer one."""
        scale = self.side / min(picture.size)
        width, height = (max(round(n * scale), self.side) for n in picture.size)
        left, top = (width - self.side) // 2, (height - self.side) // 2
        return picture.resize((width, height), filter).crop((left, top, left + self.side, top + self.side))


class ClipStates:
    """The states of a text from another text encoder than the index's: the published prior reads OpenCLIP bigG's."""

    def __init__(self, folder: Path, device: str = "cpu"):
        """folder: a CLIP text model of transformers. Raises SowError."""
        model_files(folder, "clip", "clip_text_model")
        self.model, self.tokenizer = load_clip_text(folder)
        self.device = torch.device(device)
        self.model.to(self.device)

    @torch.no_grad()
    def states(self, text: str) -> Tensor:
        return self.model(**_tokens(self.tokenizer, [text], self.device)).last_hidden_state[0].float().cpu()


def model_files(folder: Path, *kinds: str) -> list[Path]:
    """The weights of a model folder. Raises SowError if it is none of these kinds, or has no safetensors."""
    if not folder.is_dir():
        raise SowError(f"There is no encoder {folder}: expected demo, or a folder with a CLIP model of transformers.")
    kind = json_object(folder / "config.json").get("model_type")
    if kind not in kinds:
        raise SowError(f"{folder} holds a model of type {str(kind)[:40]!r}; expected {' or '.join(kinds)}.")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise SowError(f"{folder} has no .safetensors weights; fetch those instead of a pickle.")
    return weights


def _tokens(tokenizer: Any, texts: Sequence[str], device: torch.device) -> Any:
    length = min(tokenizer.model_max_length, 77)
    return tokenizer(list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt").to(
        device
    )


def _statistics(folder: Path) -> tuple[Tensor, Tensor]:
    """Mean and spread [3, 1, 1] of the pixels."""
    path = folder / "preprocessor_config.json"
    made = json_object(path) if path.is_file() else {}
    found = []
    for key, known in (("image_mean", MEAN), ("image_std", SPREAD)):
        values = made.get(key, known)
        fits = isinstance(values, (list, tuple)) and len(values) == 3
        if not fits or not all(isinstance(v, (int, float)) and 0 < v < 10 for v in values):
            raise SowError(f"Bad {key} in {path}: expected three numbers above 0.")
        found.append(torch.tensor([float(v) for v in values])[:, None, None])
    return found[0], found[1]
