"""The demo world's encoders as an `Encoder`: models/demo/retrieval, words by the demo model's tokenizer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..errors import SowError
from ..method.condition import to_tensor
from .demo_nets import SIDE, TOKENS, WIDTH, PictureNet, TextNet
from .identity import DEMO, weights_identity

FILE = "encoders.safetensors"
SCALE = math.sqrt(WIDTH)
"""Length of its embeddings: about 1 per number, as diffusion likes it."""


class DemoEncoder:
    name = DEMO
    width = WIDTH

    def __init__(self, model: Path, device: str = "cpu", file: Path | None = None):
        """model: the demo model's folder. Raises SowError if its files are missing or damaged."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file
        from transformers import CLIPTokenizer

        path = file or model / "retrieval" / FILE
        self.identity = weights_identity(DEMO, [path])
        try:
            state = {k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()}
            self.tokenizer = CLIPTokenizer.from_pretrained(model / "tokenizer")
            self.picture, self.text = PictureNet(), TextNet(len(self.tokenizer))
            for name, net in (("picture", self.picture), ("text", self.text)):
                part = {k.removeprefix(name + "."): v for k, v in state.items() if k.startswith(name + ".")}
                net.load_state_dict(part)
        except (OSError, SafetensorError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:120]
            raise SowError(f"Cannot load the demo encoders from {path} ({reason}); restore the folder.") from error
        self.device = torch.device(device)
        for net in (self.picture, self.text):
            net.to(self.device).eval().requires_grad_(False)

    @torch.no_grad()
    def pictures(self, pictures: Sequence[Image.Image], hidden: Sequence[Image.Image | None] = ()) -> Tensor:
        rows = []
        for index, picture in enumerate(pictures):
            x = to_tensor(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)) * 2 - 1
            mask = hidden[index] if index < len(hidden) else None
            rows.append(x if mask is None else torch.where(self.cells(mask, SIDE) > 0, -torch.ones(()), x))
        return F.normalize(self.picture(torch.stack(rows).to(self.device)), dim=-1).cpu() * SCALE

    def texts(self, texts: Sequence[str]) -> Tensor:
        return F.normalize(self._text(texts)[0], dim=-1).cpu() * SCALE

    def states(self, text: str) -> Tensor:
        """[48, 128], zeros after the text's end."""
        states = self._text([text])[1][0].cpu()
        return F.pad(states, (0, 0, 0, TOKENS - len(states)))

    @torch.no_grad()
    def _text(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        made = self.tokenizer(list(texts), padding=True, truncation=True, max_length=TOKENS, return_tensors="pt")
        lengths = made["attention_mask"].sum(1)
        return self.text(made["input_ids"].to(self.device), lengths.to(self.device))

    def cells(self, hidden: Image.Image, size: int) -> Tensor:
        return (to_tensor(hidden.convert("L").resize((size, size), Image.Resampling.BOX)) >= 0.5).float()
