"""Flow transformer families as data: what differs between them where the method touches them.

A family is one architecture. Whether a file of it is distilled (Turbo, schnell, Klein) is not in its shape everywhere:
`guidance` is what it was published for, and cfg stays the user's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

First = Literal["text", "image"]
"""Which tokens stand first in a joint attention."""


@dataclass(frozen=True)
class Family:
    """One architecture.

    name: as error lines and tables call it. cell: px per latent cell; patch: cells per token and side.
    first, diffusers_first: which tokens stand first in the joint attention, in ComfyUI and in diffusers.
    pad: image and text tokens are each padded to a multiple of it; text_least: the text is padded to this many.
    latent_dims: axes of a latent behind its channels; 3: with one frame, [B, C, 1, h, w].
    guidance: "cfg": of two rows; "embedded": a number that the net is told; "none": distilled, a single row.
    scale: what it is usually run at, cfg or the embedded number. size: side in px that it was trained at.
    told: what diffusers' net is told at noise time t; sign: 1 if it answers eps - z0 there, -1 if z0 - eps. (ComfyUI
      hides both behind its own sampling object.)
    """

    name: str
    cell: int = 8
    patch: int = 2
    first: First = "text"
    diffusers_first: First = "text"
    pad: int = 1
    text_least: int = 0
    latent_dims: int = 2
    guidance: Literal["cfg", "embedded", "none"] = "cfg"
    scale: float = 4.0
    told: Literal["1000t", "t", "1-t"] = "t"
    sign: Literal[1, -1] = 1
    size: int = 1024

    @property
    def snap(self) -> int:
        """px per token: the grid that canvas and boxes lie on."""
        return self.cell * self.patch

    @property
    def one_row(self) -> bool:
        """Whether it is meant for a single row (cfg 1)."""
        return self.guidance != "cfg"


SD3 = Family("Stable Diffusion 3", diffusers_first="image", scale=4.5, told="1000t")
FLUX = Family("Flux.1 dev", guidance="embedded", scale=3.5)
FLUX_SCHNELL = Family("Flux.1 schnell", guidance="none", scale=1.0)
CHROMA = Family("Chroma")
LUMINA2 = Family("Lumina 2", told="1-t", sign=-1)
Z_IMAGE = Family("Z-Image", diffusers_first="image", pad=32, told="1-t", sign=-1)
QWEN_IMAGE = Family("Qwen-Image", latent_dims=3, size=1328)
HIDREAM = Family("HiDream-I1", first="image", scale=5.0, told="1000t", sign=-1)
FLUX2 = Family("Flux.2 dev", cell=16, patch=1, text_least=512, guidance="embedded")
FLUX2_KLEIN = Family("Flux.2 Klein", cell=16, patch=1, text_least=512, guidance="none", scale=1.0)

FAMILIES = (SD3, FLUX, FLUX_SCHNELL, CHROMA, LUMINA2, Z_IMAGE, QWEN_IMAGE, HIDREAM, FLUX2, FLUX2_KLEIN)
"""Every family that runs here."""
