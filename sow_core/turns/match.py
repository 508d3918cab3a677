"""How well a picture answers an instruction: for choosing among candidates.

Three forms behind one protocol: the model itself (`own_match`), a CLIP folder, for real checkpoints, and a small
learned net for the demo world.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import SowError

if TYPE_CHECKING:
    from .resolve import Turn

DIRECTION = 0.5
"""Weight of the agreement of the two directions in the zero-shot score. Outside the region nothing changes."""


class Match(Protocol):
    """Higher is better; scores are only compared among candidates of one turn."""

    name: str
    enough: float | None
    """Score from which a picture shows what was asked; None: only comparisons say something."""

    def scores(self, before: Tensor, turn: Turn, after: Tensor) -> Tensor:
        """before [3, H, W], after [N, 3, H, W], all in 0..1 -> [N]."""


class GuidingMatch(Match, Protocol):
    """A match whose gradient can guide the painting, see `steering`. The model itself (`own_match`) is none: it guides
    the painting already, by its prompt."""

    def likeness(self, before: Tensor, turn: Turn) -> Callable[[Tensor], Tensor]:
        """`scores` as a function of `after` alone, through which gradients flow."""


class ClipMatch:
    """Zero-shot: cos(E(after), E(prompt)) + a cos(E(after) - E(before), E(prompt) - E(prompt before))."""

    enough: float | None = None

    def __init__(self, folder: str | Path) -> None:
        """A CLIP model's folder (transformers: config, weights, tokenizer, preprocessor). Raises SowError."""
        self.name = str(folder)
        path = Path(folder)
        if not (path / "config.json").is_file():
            raise SowError(
                f"No CLIP model in {folder}: expected a folder with config.json, weights and tokenizer."
            )
        from ..backends.clip import load_clip

        self.model, self.tokenizer = load_clip(path)
        self.size = int(self.model.config.vision_config.image_size)

    def pictures(self, images: Tensor) -> Tensor:
        """Unit vectors of pictures [N, 3, H, W] in 0..1; gradients flow through."""
        small = F.interpolate(images.float(), (self.size, self.size), mode="bicubic", antialias=True).clamp(
            0, 1
        )
        mean, std = (torch.tensor(v)[None, :, None, None] for v in (MEAN, STD))
        hidden = self.model.vision_model(pixel_values=(small - mean) / std).pooler_output
        return F.normalize(self.model.visual_projection(hidden), dim=-1)

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors of texts."""
        longest = int(self.model.config.text_config.max_position_embeddings)
        tokens = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt"
        )
        hidden = self.model.text_model(**tokens).pooler_output
        return F.normalize(self.model.text_projection(hidden), dim=-1)

    @torch.no_grad()
    def scores(self, before: Tensor, turn: Turn, after: Tensor) -> Tensor:
        return self.likeness(before, turn)(after)

    def likeness(self, before: Tensor, turn: Turn) -> Callable[[Tensor], Tensor]:
        new, old = self.texts([turn.prompt, turn.told or turn.prompt])
        with torch.no_grad():
            start = self.pictures(before[None])[0]

        def value(after: Tensor) -> Tensor:
            shown = self.pictures(after)
            if turn.told in ("", turn.prompt):
                return shown @ new
            return shown @ new + DIRECTION * F.cosine_similarity(shown - start, (new - old)[None], dim=-1)

        return value


MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of CLIP's training pictures, per colour."""


def open_match(name: str | None) -> GuidingMatch | None:
    """By --match: "demo" or a CLIP folder; None for nothing and "own": the model itself chooses. Raises SowError."""
    if name in (None, "own"):
        return None
    if name == "demo":
        from .match_net import DemoMatch

        return DemoMatch.load()
    return ClipMatch(str(name))
