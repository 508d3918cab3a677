"""A folder of six colours, and the encoder that tells them apart."""

from __future__ import annotations

import pytest
from unit.retrieval.colours import ColourEncoder, paint


@pytest.fixture
def encoder():
    return ColourEncoder()


@pytest.fixture
def folder(tmp_path):
    """Six colours, one of them in a subfolder."""
    root = tmp_path / "pictures"
    for name, rgb in {"red": (250, 10, 10), "green": (10, 250, 10), "blue": (10, 10, 250), "yellow": (240, 240, 20),
                      "night": (20, 20, 60), "deep/purple": (160, 20, 200)}.items():  # fmt: skip
        paint(root / f"{name}.png", rgb)
    return root
