"""What a node may show of itself. Nothing is written to disk; the values are kept for the tests."""

from __future__ import annotations

from typing import Any

from ._io import StrictError


class PreviewImage:
    def __init__(self, image: Any, animated: bool = False, cls: type | None = None) -> None:
        if image.ndim != 4 or image.shape[-1] != 3:
            raise StrictError(f"PreviewImage needs [B, H, W, 3], got {tuple(image.shape)}")
        self.image = image

    def as_dict(self) -> dict[str, Any]:
        return {"images": [{"filename": "x.png", "subfolder": "", "type": "temp"}] * len(self.image)}


class PreviewText:
    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise StrictError("PreviewText needs text")
        self.value = value

    def as_dict(self) -> dict[str, Any]:
        return {"text": (self.value,)}
