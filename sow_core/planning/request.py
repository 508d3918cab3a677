"""What a planner is asked: the scene, the conditions as pictures, the canvas, and which of the paper's parts to do."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import SowError
from ..method.box import Box, check_inside
from .schema import Frame
from .text import TokenCounter

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from ..pictures.reading import Source

MOST_CONDITIONS = 8
GRAY = 128
"""Of the surroundings of a condition, as the engine paints them."""

SENT_SIDE = 512
"""Longest side in px of a picture that leaves this machine."""

READ_SIDE = 1024
"""Longest side in px of a picture as a planner looks at it: outlines and proportions need no more."""

KINDS = ("auto", "face", "figure", "object", "part")


@dataclass(frozen=True, eq=False)
class ConditionPicture:
    """A visual condition.

    image: uint8 [h, w, 3]. mask: float32 [h, w] in 0..1, 1 = keep, or None if unknown.
    name: what the user calls it ("cat"), to find it in the scene. description: what the user says about it.
    box: where the user put it, or None to have it planned. kind: one of KINDS.
    """

    image: np.ndarray[Any, Any]
    mask: np.ndarray[Any, Any] | None = None
    name: str = ""
    description: str = ""
    box: Box | None = None
    kind: str = "auto"

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or 0 in self.image.shape:
            raise SowError(f"Bad condition picture: expected an RGB picture, got shape {self.image.shape}.")
        if self.mask is not None and self.mask.shape != self.image.shape[:2]:
            size, got = self.image.shape[1::-1], self.mask.shape[::-1]
            raise SowError(f"Bad mask size: expected {size[0]}x{size[1]} as the picture has, got {got}.")
        if self.mask is not None and not (self.mask >= 0.5).any():
            from ..pictures.reading import nothing_kept

            raise nothing_kept("mask", float(self.mask.max()))
        if self.kind not in KINDS:
            raise SowError(f"Bad kind {self.kind!r} of a condition: expected one of {', '.join(KINDS)}.")

    @property
    def aspect(self) -> float:
        """Width / height."""
        return self.image.shape[1] / self.image.shape[0]

    @classmethod
    def open(cls, path: Source, mask: Source | None = None, **others: Any) -> ConditionPicture:
        """From files or PIL pictures, `READ_SIDE` px large at most. Without a mask, the picture's transparency is it.

        Raises SowError.
        """
        import numpy as np

        from ..pictures.reading import load_kept
        from ..pictures.resizing import resize_kept

        loaded = load_kept(path, mask)
        width, height = loaded.picture.size
        scale = READ_SIDE / max(width, height)
        weights = loaded.weights()
        if scale >= 1:
            kept = None if weights is None else weights.astype(np.float32) / 255
            return cls(np.asarray(loaded.picture), kept, **others)
        size = max(round(height * scale), 1), max(round(width * scale), 1)
        planes, kept = resize_kept(loaded.planes(), weights, size)
        return cls((np.stack(planes, -1) * 255).round().astype(np.uint8), kept, **others)

    def shareable(self) -> Image.Image:
        """What may leave this machine: at most 512 px, flat grey outside of the mask, no metadata."""
        import numpy as np
        from PIL import Image

        pixels = self.image
        if self.mask is not None:
            keep = self.mask[..., None].clip(0, 1)
            pixels = (pixels * keep + GRAY * (1 - keep)).round().astype(np.uint8)
        picture = Image.fromarray(pixels)
        picture.thumbnail((SENT_SIDE, SENT_SIDE), Image.Resampling.LANCZOS)
        return picture

    def encoded(self) -> bytes:
        """`shareable` as JPEG bytes."""
        buffer = io.BytesIO()
        self.shareable().save(buffer, "JPEG", quality=90)
        return buffer.getvalue()


@dataclass(frozen=True, eq=False)
class PlanRequest:
    """One layout to plan. The three switches are the paper's parts: prompt intensification,
    adaptive position, contextual refinement; a switched-off part is left out, as in the paper's ablations.

    count_tokens: the picture model's own tokenizer, None for an estimate.
    """

    prompt: str
    conditions: tuple[ConditionPicture, ...]
    frame: Frame = field(default_factory=Frame)
    negative: str = ""
    use_prompt: bool = True
    use_position: bool = True
    use_context: bool = True
    count_tokens: TokenCounter | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.conditions) <= MOST_CONDITIONS:
            raise SowError(
                f"Expected 1 to {MOST_CONDITIONS} conditions to plan for, got {len(self.conditions)}."
            )
        check_inside(self.frame.width, self.frame.height, [condition.box for condition in self.conditions])

    @property
    def parts(self) -> str:
        """The switched-on parts, for reports: "prompt+position+context"."""
        switches = {"prompt": self.use_prompt, "position": self.use_position, "context": self.use_context}
        return "+".join(name for name, on in switches.items() if on) or "none"
