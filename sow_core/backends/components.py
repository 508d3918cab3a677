"""The parts of a loaded model, and how a library's complaint about a file becomes one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..errors import SowError
from ..memory import is_out_of_memory
from ..method.advice import Advice
from ..method.box import CELL
from ..method.families import Family
from ..outside.text import one_line


@dataclass
class Components:
    """The parts of one model; `encoders` are (tokenizer, text encoder) pairs: one, or SDXL's two."""

    name: str
    unet: Any
    vae: Any
    encoders: list[tuple[Any, Any]]
    scheduler_config: dict[str, Any]
    zero_empty: bool = False
    """SDXL's force_zeros_for_empty_prompt."""
    recommended: Advice = field(default_factory=Advice)
    """What the folder's sow.json recommends, for models that are not SD's size."""

    @property
    def sdxl(self) -> bool:
        return len(self.encoders) == 2

    @property
    def net(self) -> Any:
        """What denoises."""
        return self.unet

    @property
    def modules(self) -> list[Any]:
        """Everything that has weights: the net, the VAE, the text encoders."""
        return [self.unet, self.vae, *(encoder for _, encoder in self.encoders)]

    @property
    def cell(self) -> int:
        """px per latent cell."""
        return CELL

    @property
    def snap(self) -> int:
        """px of the grid that canvas and boxes lie on."""
        return CELL


@dataclass
class FlowComponents:
    """The parts of one flow transformer. kind: its row of `flows.FLOWS`; encoders: (tokenizer, text encoder) pairs."""

    name: str
    kind: str
    family: Family
    transformer: Any
    vae: Any
    encoders: list[tuple[Any, Any]]
    recommended: Advice = field(default_factory=Advice)
    """What the folder's sow.json recommends."""
    pipeline: Any = None
    """diffusers' own pipeline of these parts, for the way it encodes prompts."""

    @property
    def device(self) -> Any:
        return self.transformer.device

    @property
    def net(self) -> Any:
        """What denoises."""
        return self.transformer

    @property
    def modules(self) -> list[Any]:
        """Everything that has weights: the net, the VAE, the text encoders."""
        return [self.transformer, self.vae, *(encoder for _, encoder in self.encoders)]

    @property
    def cell(self) -> int:
        """px per latent cell."""
        return self.family.cell

    @property
    def snap(self) -> int:
        """px per token: the grid that canvas and boxes lie on."""
        return self.family.snap


Parts = Components | FlowComponents


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn whatever libraries raise for damaged or missing files into one line."""
    try:
        yield
    except SowError:
        raise
    except Exception as error:  # not documented: tokenizers raises a bare Exception, torch an AssertionError, ...
        if is_out_of_memory(error):
            raise
        raise SowError(f"Cannot load {name}: {one_line(error) or type(error).__name__}") from error
