"""The engine's protocol on diffusers models: SD 1.x, SD 2.x (eps and v prediction), SDXL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import SowError
from ..method.backend import Pull
from ..method.box import CELL
from ..method.guidance import POSITIVE
from ..method.modulation import AttentionControl
from ..method.schedule import Schedule
from ..method.separation import concept_maps, grid_of
from .base import ModelBackend, TextEmbedding, clip_tokens
from .components import Components
from .concepts import pull, reading
from .gradients import differentiable
from .loading import load
from .processors import Active, modulated


class DiffusersBackend(ModelBackend):
    """A Stable Diffusion model with its prompts: `ModelBackend` with a UNet."""

    def __init__(self, parts: Components, device: str | torch.device = "cpu") -> None:
        super().__init__(parts, device)
        self._active = Active()
        self._hooks: ExitStack | None = None
        self._installed = False

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
        """See `loading.load` for what `model` and `config` may be, and the errors. `opening.open_backend` takes
        transformers as well."""
        parts = load(model, dtype=dtype, download=download, config=config)
        if not isinstance(parts, Components):
            raise SowError(f"{parts.name} is a flow transformer; expected Stable Diffusion.")
        return cls(parts, device)

    # -- prompts

    def _encode_text(self, text: str, negative: bool = False) -> TextEmbedding:
        states, pooled = [], None
        for tokenizer, encoder in self.parts.encoders:
            tokens = clip_tokens(tokenizer, encoder, text).to(self.device)
            out = encoder(tokens, output_hidden_states=self.parts.sdxl)
            if self.parts.sdxl:
                states.append(out.hidden_states[-2])
                pooled = out[0]  # the second encoder's projection, read last
            else:
                states.append(out.last_hidden_state)
        made = torch.cat(states, dim=-1)
        if self.parts.zero_empty and text == "":
            return TextEmbedding(torch.zeros_like(made), None if pooled is None else torch.zeros_like(pooled))
        return TextEmbedding(made, pooled)

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
