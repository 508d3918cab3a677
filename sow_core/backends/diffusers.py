"""The engine's protocol on diffusers models: SD 1.x, SD 2.x (eps and v prediction), SDXL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import SowError
from ..method.backend import Pull
from ..method.box import CELL
from ..method.guidance import POSITIVE
from ..method.modulation import AttentionControl
from ..method.schedule import Schedule
from ..method.separation import concept_maps, find_tokens, grid_of
from .components import Components
from .concepts import differentiable, pull, reading
from .loading import load
from .processors import Active, modulated


class TextEmbedding(NamedTuple):
    """One prompt, encoded: states [1, 77, d], and SDXL's pooled [1, p]."""

    states: Tensor
    pooled: Tensor | None


class DiffusersBackend:
    """A loaded model with its prompts. Prompts are encoded once each a run.

    The UNet runs in its own dtype on `device`; everything the engine sees is float32.
    """

    def __init__(self, parts: Components, device: str | torch.device = "cpu") -> None:
        self.parts = parts
        self.device = torch.device(device)
        self.text_calls = 0
        """Runs of a text encoder so far: one per distinct prompt and run (SDXL: two)."""
        self._texts: dict[str, TextEmbedding] = {}
        self._rows: dict[str, str] = {}
        self._concepts: tuple[str, ...] = ()
        self._batches: dict[tuple[tuple[str, ...], int], tuple[Tensor, Tensor | None]] = {}
        self._active = Active()
        self._hooks: ExitStack | None = None
        self._installed = False
        for module in (parts.unet, parts.vae, *(encoder for _, encoder in parts.encoders)):
            module.to(self.device)

    @classmethod
    def load(
        cls,
        model: str | Path = "demo",
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        download: bool = False,
        config: str | Path | None = None,
    ) -> DiffusersBackend:
        """See `loading.load` for what `model` and `config` may be, and the errors."""
        return cls(load(model, dtype=dtype, download=download, config=config), device)

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

    def _embedding(self, row: str) -> TextEmbedding:
        if row not in self._rows:
            raise SowError(f"This preset needs a {row} prompt; give one, or choose another preset.")
        text = self._rows[row]
        if text not in self._texts:
            self._texts[text] = self._encode_text(text)
        return self._texts[text]

    def _encode_text(self, text: str) -> TextEmbedding:
        states, pooled = [], None
        for tokenizer, encoder in self.parts.encoders:
            length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
            tokens = tokenizer(
                text, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
            ).input_ids
            self.text_calls += 1
            with torch.no_grad():
                out = encoder(tokens.to(self.device), output_hidden_states=self.parts.sdxl)
            if self.parts.sdxl:
                states.append(out.hidden_states[-2])
                pooled = out[0]  # the second encoder's projection, read last
            else:
                states.append(out.last_hidden_state)
        made = torch.cat(states, dim=-1)
        if self.parts.zero_empty and text == "":
            return TextEmbedding(torch.zeros_like(made), None if pooled is None else torch.zeros_like(pooled))
        return TextEmbedding(made, pooled)

    def states(self, row: str) -> Tensor:
        """A named prompt's encoder states [1, 77, d], in the UNet's precision."""
        return self._embedding(row).states.to(self.parts.unet.dtype)

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
        """Tokens of a prompt, without the start and end marks; more than 75 are cut off."""
        tokenizer = self.parts.encoders[0][0]
        return len(tokenizer(text, truncation=False).input_ids) - 2

    # -- the protocol

    def schedule(self, steps: int, shift: float = 1.0) -> Schedule:
        from diffusers import DDIMScheduler

        config = self.parts.scheduler_config
        known = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
        values = {k: config[k] for k in known if config.get(k) is not None}
        rescaled = bool(config.get("rescale_betas_zero_snr", False))
        ddim: Any = DDIMScheduler(**values, rescale_betas_zero_snr=rescaled)
        final = 1.0 if config.get("set_alpha_to_one", False) else None
        return Schedule.from_alphas_cumprod(
            ddim.alphas_cumprod.tolist(), steps, offset=int(config.get("steps_offset", 1)), final=final
        )

    @contextmanager
    def session(self) -> Iterator[None]:
        with ExitStack() as hooks:
            self._hooks = hooks
            try:
                yield
            finally:
                self._hooks, self._installed = None, False
                self._active.control = None

    def _install(self) -> None:
        """Processors on first need, for the rest of the session: an unmodulated run never touches the model."""
        if self._hooks is None:
            raise RuntimeError("modulated calls run inside session()")
        if not self._installed:
            self._hooks.enter_context(modulated(self.parts.unet, self._active))
            self._installed = True

    @torch.no_grad()
    def encode(self, image: Tensor) -> Tensor:
        vae = self.parts.vae
        pixels = (image * 2.0 - 1.0).to(self.device, vae.dtype)
        return vae.encode(pixels).latent_dist.mode().float() * vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        vae = self.parts.vae
        scaled = (latent / vae.config.scaling_factor).to(vae.dtype)
        pictures = [vae.decode(z[None]).sample.float() for z in scaled]  # one by one: the VAE's memory peak
        return (torch.cat(pictures) / 2.0 + 0.5).clamp(0.0, 1.0)

    @torch.no_grad()
    def predict(
        self,
        x: Tensor,
        schedule: Schedule,
        level: int,
        rows: Sequence[str],
        control: AttentionControl | None = None,
        embedded: bool = True,
    ) -> Tensor:
        if control is not None:
            self._install()
        self._active.control, self._active.rows = control, rows
        return self._eps(x, schedule, level, rows)

    def pull(
        self, x: Tensor, schedule: Schedule, level: int, objective: Callable[[Tensor], Tensor], depth: int
    ) -> Pull:
        unet, grid = self.parts.unet, grid_of((x.shape[-2], x.shape[-1]), depth)
        if not self._concepts:
            raise SowError("No things to keep apart: name them, as in --separate \"hat, glasses\".")
        tokens = self.concept_tokens(self._concepts)
        self._active.control = None
        self._batch((POSITIVE,), len(x))  # encoded before gradients are asked for
        with differentiable(unet), reading(unet, grid) as kept:
            return pull(
                x,
                lambda state: self._eps(state, schedule, level, (POSITIVE,))[0],
                kept,
                lambda layers: objective(concept_maps(layers, tokens, grid)),
            )

    def _eps(self, x: Tensor, schedule: Schedule, level: int, rows: Sequence[str]) -> Tensor:
        """`predict` without its hooks, through which gradients may flow."""
        unet = self.parts.unet
        count, height, width = x.shape[0], x.shape[-2], x.shape[-1]
        states, pooled = self._batch(tuple(rows), count)
        extra = {}
        if pooled is not None:
            # SDXL's size conditioning: original size, crop offset, target size, of *this* latent.
            pixels = (height * CELL, width * CELL)
            size = torch.tensor([*pixels, 0, 0, *pixels], device=self.device)
            times = size.to(unet.dtype).repeat(len(rows) * count, 1)
            extra["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": times}
        out = unet(
            x.to(unet.dtype).repeat(len(rows), 1, 1, 1),
            torch.tensor(schedule.t[level], device=self.device),
            encoder_hidden_states=states,
            return_dict=False,
            **extra,
        )[0].float()
        out = out.view(len(rows), *x.shape)
        if self.parts.scheduler_config.get("prediction_type", "epsilon") == "v_prediction":
            return schedule.a[level] * out + schedule.b[level] * x
        return out

    def _batch(self, rows: tuple[str, ...], count: int) -> tuple[Tensor, Tensor | None]:
        """The rows' prompts for `count` images each: states [R N, 77, d] and pooled [R N, p]."""
        key = (rows, count)
        if key not in self._batches:
            texts = [self._embedding(row) for row in rows]
            dtype = self.parts.unet.dtype
            states = torch.cat([t.states.to(dtype).expand(count, -1, -1) for t in texts])
            pooled = None
            if self.parts.sdxl:
                pooled = torch.cat([t.pooled.to(dtype).expand(count, -1) for t in texts if t.pooled is not None])
            self._batches[key] = (states, pooled)
        return self._batches[key]
