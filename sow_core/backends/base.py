"""What every diffusers backend has, whatever net it runs: prompts, each encoded once a run, and the VAE."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import SowError
from ..method.backend import Backend
from ..method.guidance import EMPTY, NEGATIVE
from ..method.separation import find_tokens
from . import latents
from .components import Parts
from .gradients import differentiable, explained, slope

NO_SLOPE = (
    "The VAE of this model cannot be differentiated ({}); switch the guidance by a match off, or load the model in "
    "float32."
)


class TextEmbedding(NamedTuple):
    """One prompt, encoded: states [1, L, d], and pooled [1, p] where the net takes one."""

    states: Tensor
    pooled: Tensor | None = None


class ModelBackend(Backend):
    """A loaded model with its prompts. Prompts are encoded once each a run.

    The net runs in its own dtype on `device`; everything the engine sees is float32.
    """

    prompt_tokens = 75
    """Of a prompt, that the model reads; the rest is cut off."""
    two_ways = False
    """Whether a text is encoded otherwise where guidance leads away from it."""

    def __init__(self, parts: Parts, device: str | torch.device = "cpu") -> None:
        self.parts: Any = parts
        self.device = torch.device(device)
        self.text_calls = 0
        """Runs of a text encoder so far: one per distinct prompt, run and encoder."""
        self._texts: dict[tuple[str, bool], TextEmbedding] = {}
        self._rows: dict[str, str] = {}
        self._concepts: tuple[str, ...] = ()
        self._batches: dict[Any, Any] = {}
        for module in parts.modules:
            module.to(self.device)

    cells = 64
    """Side of the latents that a model was trained at, where its config does not say."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in px that the model was trained at."""
        cells = self.parts.net.config.get("sample_size") or self.cells
        height, width = cells if isinstance(cells, (list, tuple)) else (cells, cells)
        return int(width) * self.parts.cell, int(height) * self.parts.cell

    # -- prompts

    def set_prompts(self, prompts: Mapping[str, str]) -> None:
        """Name the rows of a run: {"positive": text, "negative": text, ...}; "empty" is always there.

        Texts are encoded anew, each once, on first use: a LoRA may have changed the encoder since the last run.
        """
        self._rows = {"empty": "", **prompts}
        self._concepts = ()
        self._texts.clear()
        self._batches.clear()

    def set_concepts(self, concepts: Sequence[str]) -> None:
        """Words of the positive prompt whose things are kept apart where the plan says so. Raises SowError for a word
        that does not stand in it: call it after `set_prompts`."""
        self.concept_tokens(concepts)
        self._concepts = tuple(concepts)

    def _text(self, row: str) -> str:
        if row not in self._rows:
            raise SowError(f"This preset needs a {row} prompt; give one, or choose another preset.")
        return self._rows[row]

    def _embedding(self, row: str) -> TextEmbedding:
        key = self._text(row), self.two_ways and row in (NEGATIVE, EMPTY)
        if key not in self._texts:
            self.text_calls += len(self.parts.encoders)
            with torch.no_grad():
                self._texts[key] = self._encode_text(*key)
        return self._texts[key]

    @abstractmethod
    def _encode_text(self, text: str, negative: bool) -> TextEmbedding:
        """negative: it is led away from; only asked for where `two_ways`."""

    def states(self, row: str) -> Tensor:
        """A named prompt's encoder states [1, L, d], in the net's precision."""
        return self._embedding(row).states.to(self.parts.net.dtype)

    def concept_tokens(self, concepts: Sequence[str]) -> list[tuple[int, ...]]:
        """Where each word or phrase stands among the tokens of the positive prompt. Raises SowError if it does not."""
        tokenizer, encoder = self.parts.encoders[0]
        length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
        prompt = tokenizer(self._rows.get("positive", ""), truncation=True, max_length=length).input_ids
        found = []
        for concept in concepts:
            at = find_tokens(prompt, tokenizer(concept).input_ids[1:-1])
            if not at:
                raise SowError(f"{concept!r} does not stand in the prompt: name things by words that the prompt has.")
            found.append(at)
        return found

    def token_count(self, text: str) -> int:
        """Tokens of a prompt, without the start and end marks; CLIP cuts off more than 75."""
        tokenizer = self.parts.encoders[0][0]
        return len(tokenizer(text, truncation=False).input_ids) - 2

    @property
    def channels(self) -> int:
        """Of a latent."""
        return latents.channels(self.parts.vae)

    # -- pictures

    @torch.no_grad()
    def encode(self, image: Tensor) -> Tensor:
        vae = self.parts.vae
        pixels = (image * 2.0 - 1.0).to(self.device, vae.dtype)
        return latents.encode(vae, pixels)

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        # One by one: the VAE's memory peak.
        return torch.cat([self._picture(z[None]) for z in latent])

    def _picture(self, latent: Tensor) -> Tensor:
        return (latents.decode(self.parts.vae, latent).float() / 2.0 + 0.5).clamp(0.0, 1.0)

    def picture_slope(self, latent: Tensor, value: Callable[[Tensor], Tensor]) -> Tensor:
        """The gradient [N, C, h, w] of what the pictures of latents are worth, each its own; one after the other.

        value: a picture [1, 3, H, W] as `decode` gives it -> [1]. The VAE is as before after it. Raises SowError
        where it cannot be differentiated.
        """
        with explained(NO_SLOPE), differentiable(self.parts.vae):
            return torch.cat([slope(z[None], lambda state: value(self._picture(state))) for z in latent])


def clip_tokens(tokenizer: Any, encoder: Any, text: str) -> Tensor:
    """A prompt's tokens [1, 77], padded and cut as CLIP takes them."""
    length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
    return tokenizer(text, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
