"""What turns pictures and words into one space: the protocol, and the choice between the demo world's and CLIP's.

Embeddings are raw, as long as their model makes them (the prior works on those); the index keeps unit vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor

from ..assets import asset_folder
from ..errors import SowError
from .identity import DEMO


class Encoder(Protocol):
    """Pictures and texts in one space of `width` numbers."""

    name: str
    """What the user calls it: "demo", or a folder's name."""
    identity: str
    """Changes with the weights: an index of other weights cannot be searched."""
    width: int

    def pictures(self, pictures: Sequence[Image.Image], hidden: Sequence[Image.Image | None] = ()) -> Tensor:
        """RGB pictures -> [N, width]. hidden: gray masks of the pictures' sizes, white = not to be seen."""
        ...

    def texts(self, texts: Sequence[str]) -> Tensor:
        """[N, width]"""
        ...

    def states(self, text: str) -> Tensor:
        """What a prior reads of a text: [T, C], the padding as well."""
        ...

    def cells(self, hidden: Image.Image, size: int) -> Tensor:
        """A mask as the encoder's own frame shows it, [size, size] of 0 and 1 = not to be seen."""
        ...


def load_encoder(name: str, device: str = "cpu") -> Encoder:
    """`demo`, or a folder with a CLIP model of transformers. Nothing is downloaded. Raises SowError."""
    if name == DEMO:
        from .demo_encoder import DemoEncoder

        return DemoEncoder(asset_folder("models") / DEMO, device)
    from .clip_encoder import ClipEncoder

    return ClipEncoder(Path(name), device)


def unit(vectors: Tensor) -> Tensor:
    """Unit vectors [N, D], float32. Raises SowError where there is no direction."""
    vectors = vectors.detach().float().cpu()
    lengths = vectors.norm(dim=-1, keepdim=True)
    if not bool(torch.isfinite(lengths).all() and (lengths > 1e-6).all()):
        raise SowError("The encoder gave an embedding without a direction (0, NaN or infinite): bad weights.")
    return vectors / lengths
