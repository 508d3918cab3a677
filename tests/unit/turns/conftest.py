"""A model of the protocol whose denoiser is known, so that a history costs milliseconds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from unit.turns.known import KnownBackend


@pytest.fixture
def model() -> Any:
    return SimpleNamespace(
        backend=KnownBackend(), asked={"model": "demo", "model_config": None}, size=(128, 128)
    )


@pytest.fixture
def image(tmp_path) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8))
