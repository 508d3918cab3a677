"""The example faces on their canvases, for the behaviour tests of the embedded models."""

from __future__ import annotations

from pathlib import Path

from sow_core.method.box import Box
from sow_core.method.condition import Condition, Layout, make_layout, to_tensor
from sow_core.pictures.reading import load_mask, load_picture

EXAMPLES = Path(__file__).resolve().parents[1] / "pictures"
FACES = ("tom", "rose")
SEEDS = [1, 2]
PROMPT = "a photo of a smiling person wearing a red t-shirt in snowy mountains"
OTHER = "a photo of a smiling person wearing a red t-shirt in a city at night"


def face(name: str, box: Box | None = None) -> Condition:
    picture, _ = load_picture(EXAMPLES / f"{name}.png")
    mask = load_mask(EXAMPLES / f"{name}_mask.png")
    below = Box(8, 64, 112, 64)
    return Condition(to_tensor(picture), to_tensor(mask), box or Box(32, 8, 64, 64), (below,))


def scene(*faces: Condition) -> Layout:
    return make_layout(faces or (face("tom"),), 128, 128)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)
