"""Where a word is in a picture, by the attention of ComfyUI's own model: `sow_core.turns.grounding` on its hooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import comfy.samplers
import torch
from torch import Tensor

from ...sow_core.method.box import Box
from ...sow_core.method.families import Family
from ...sow_core.method.joint import find_span, words_attention
from ...sow_core.method.schedule import add_noise
from ...sow_core.turns.grounding import (
    DRAWS,
    JOINT_LEVELS,
    LARGEST_GRID,
    LEVELS,
    STEPS,
    box_of,
    find_groups,
    joint_map,
    no_attention,
    parts_of,
)
from . import encoded
from .asking import Question, put
from .checks import check_model, check_vae
from .concepts import Reader, prompt_ids
from .flow import HostScale, schedule_of
from .joint import JointHooks
from .words import word_places

Call = Callable[[dict[str, Any]], None]
"""Asks the model about the picture, with these model options."""


def locate(model: Any, clip: Any, vae: Any, picture: Tensor, prompt: str, word: str) -> Box:
    """The box, px, of a word of `prompt` in picture [3, H, W]; one or two model calls. Raises SowError where there is
    none."""
    cell = vae.spacial_compression_encode()
    return box_of(word_map(model, clip, vae, picture, prompt, word), word, cell)


def word_map(model: Any, clip: Any, vae: Any, picture: Tensor, prompt: str, word: str, seed: int = 0) -> Tensor:
    """[h, w] in 0..1 on latent cells, as `sow_core.turns.grounding.word_map`. Raises SowError."""
    family = check_model(model)
    check_vae(vae, family)
    latent = encoded(vae, picture[None])
    positive = clip.encode_from_tokens_scheduled(clip.tokenize(prompt))
    look: _Look
    if family is None:
        look, groups = _Look(latent, seed), _unet_groups(clip, prompt, word)
    else:
        words = word_places(clip, family, prompt, word, positive[0][0].shape[1])
        look, groups = _JointLook(latent, seed, family, words), [[n] for n in range(len(words))]
    put(model, look, {"positive": positive}, seed)
    if not look.maps:
        raise no_attention(word)
    return joint_map(look.maps, groups, latent.shape[-2], latent.shape[-1])


def _unet_groups(clip: Any, prompt: str, word: str) -> list[list[int]]:
    end = prompt_ids(clip, "")[1]
    pieces = []
    for part in parts_of(word):
        ids = prompt_ids(clip, part)
        pieces.append(ids[1 : ids.index(end, 1)])
    return find_groups(prompt_ids(clip, prompt), pieces, word)


class _Look(Question):
    levels: Sequence[int] = LEVELS
    flow = False

    def __init__(self, latent: Tensor, seed: int) -> None:
        super().__init__(latent)
        self.seed = seed
        self.maps: Sequence[Tensor] = ()

    def ask(self, guider: Any, z: Tensor, options: dict[str, Any]) -> None:
        base = guider.inner_model
        framed = base.latent_format.latent_dimensions == 3
        schedule = schedule_of(base.model_sampling, STEPS)
        generator = torch.Generator().manual_seed(self.seed)

        def call(options: dict[str, Any]) -> None:
            for level in self.levels:
                drawn = torch.randn(DRAWS, *z.shape[1:], generator=generator).to(z)
                scale = HostScale(schedule, level, self.flow)
                state = add_noise(z.expand(DRAWS, -1, -1, -1), drawn, schedule, level) / scale.divisor
                sigma = state.new_full((DRAWS,), scale.sigma)
                state = state.unsqueeze(2) if framed else state
                comfy.samplers.calc_cond_batch(base, [guider.conds["positive"]], state, sigma, options)

        self.maps = self.read(call, options, (z.shape[-2], z.shape[-1]))

    def read(self, call: Call, options: dict[str, Any], canvas: tuple[int, int]) -> list[Tensor]:
        """The attention of every layer, while the model is asked."""
        reader = _Seen()
        call(reader.options(options))
        return reader.kept


class _JointLook(_Look):
    """The same of a flow transformer; words: their places in its text."""

    levels = JOINT_LEVELS
    flow = True

    def __init__(self, latent: Tensor, seed: int, family: Family, words: Sequence[Sequence[int]]) -> None:
        super().__init__(latent, seed)
        self.family, self.words = family, words

    def read(self, call: Call, options: dict[str, Any], canvas: tuple[int, int]) -> list[Tensor]:
        reader = _JointSeen(options.setdefault("transformer_options", {}), self.family, canvas, self.words)
        with reader.installed():
            call(options)
        return reader.kept


class _Seen(Reader):
    """Keeps every layer's attention [T, tokens], mean over heads and pictures, and asks for no slope."""

    def __init__(self) -> None:
        super().__init__(0)

    def _attention(self, func: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, heads: int, *args: Any,
                   **kwargs: Any) -> Tensor:  # fmt: skip
        self._look(q, k, heads, kwargs)
        if self._previous is not None:
            return self._previous(func, q, k, v, heads, *args, **kwargs)
        return func(q, k, v, heads, *args, **kwargs)

    def _keep(self, q: Tensor, k: Tensor, heads: int, split: bool) -> None:
        if q.shape[2 if split else 1] <= LARGEST_GRID**2:
            scores = self._scores(q, k, heads, split)
            self.kept.append(scores.mean((0, 1)).cpu())


class _JointSeen(JointHooks):
    """Keeps [T, words] of every attention call with image and text; changes none."""

    def __init__(
        self, options: dict[str, Any], family: Family, canvas: tuple[int, int], words: Sequence[Sequence[int]]
    ) -> None:
        super().__init__(options, family, canvas)
        self._words = words
        self.kept: list[Tensor] = []

    def _around_call(self, executor: Callable[..., Tensor], x: Tensor, t: Tensor, c_concat: Any = None,
                     c_crossattn: Any = None, *args: Any, **kwargs: Any) -> Tensor:  # fmt: skip
        self._text = c_crossattn.shape[1]
        return executor(x, t, c_concat, c_crossattn, *args, **kwargs)

    def _attention(self, func: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        self._look(*args, **kwargs)
        return self._unmodulated(func, *args, **kwargs)

    def _look(self, q: Tensor, k: Tensor, v: Tensor, heads: int, *args: Any, skip_reshape: bool = False,
              scale: float | None = None, **kwargs: Any) -> None:  # fmt: skip
        if not skip_reshape:
            q, k = (x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2) for x in (q, k))
        tokens = q.shape[2]
        span = find_span(tokens, self._canvas, self._family, self._text) if tokens == k.shape[2] else None
        if span is not None and tokens > span.padded:
            self.kept.append(words_attention(q, k, span, self._words, scale))
