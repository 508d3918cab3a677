"""Where the priors lie."""

from __future__ import annotations

from pathlib import Path

from ..assets import asset_folder
from .identity import DEMO

FILE = "prior.safetensors"


def prior_file(name: str | Path) -> Path:
    """The file of `demo`, the embedded miniature, or the file named."""
    return asset_folder("models") / DEMO / "retrieval" / FILE if str(name) == DEMO else Path(name)
