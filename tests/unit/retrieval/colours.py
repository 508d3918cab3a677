"""An encoder that needs no weights: colours are directions, and so are their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

WORDS = ("red", "green", "blue", "dark")


class ColourEncoder:
    """Mean colour and darkness of a picture; a text is the sum of the colours that it names."""

    name, identity, width = "colours", "colours:1", 4

    def __init__(self, identity="colours:1", fails_after=None):
        self.identity, self.fails_after, self.seen = identity, fails_after, 0

    def pictures(self, pictures, hidden=()):
        rows = []
        for index, picture in enumerate(pictures):
            if self.fails_after is not None and self.seen >= self.fails_after:
                raise KeyboardInterrupt
            self.seen += 1
            x = np.asarray(picture.convert("RGB"), np.float32) / 255
            mask = hidden[index] if index < len(hidden) else None
            keep = np.ones(x.shape[:2]) if mask is None else np.asarray(mask.convert("L")) < 128
            mean = x[keep.astype(bool)].mean(0)
            rows.append([*mean, 1.2 - mean.max()])
        return torch.tensor(np.array(rows), dtype=torch.float32) * 3

    def texts(self, texts):
        return torch.tensor([[float(word in text) for word in WORDS] for text in texts])

    def states(self, text):
        return self.texts([text or "dark"]).repeat(5, 1)

    def cells(self, hidden, size):
        return torch.from_numpy((np.asarray(hidden.convert("L").resize((size, size))) >= 128).astype(np.float32))


def paint(path: Path, rgb: tuple[int, int, int], size=(24, 16)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, rgb).save(path)
    return path
