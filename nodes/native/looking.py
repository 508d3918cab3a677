"""Where a word is in a picture, by the attention of ComfyUI's own model: `sow_core.turns.grounding` on its hooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import comfy.samplers
import torch
from torch import Tensor

from ...sow_core.method.box import Box
from ...sow_core.method.schedule import add_noise
from ...sow_core.turns.grounding import (
    DRAWS,
    LARGEST_GRID,
    LEVELS,
    STEPS,
    box_of,
    find_groups,
    joint_map,
    no_attention,
    parts_of,
)
from .checks import check_unet, check_vae
from .concepts import Reader, prompt_ids
from .flow import schedule_of
from .sampler import SowGuider


def locate(model: Any, clip: Any, vae: Any, picture: Tensor, prompt: str, word: str) -> Box:
    """The box, px, of a word of `prompt` in picture [3, H, W]; two model calls. Raises SowError where there is none."""
    return box_of(word_map(model, clip, vae, picture, prompt, word), word)


def word_map(model: Any, clip: Any, vae: Any, picture: Tensor, prompt: str, word: str, seed: int = 0) -> Tensor:
    """[h, w] in 0..1 on latent cells, as `sow_core.turns.grounding.word_map`. Raises SowError."""
    check_unet(model, "Looking for a word in the picture", "mask the place instead")
    check_vae(vae)
    end = prompt_ids(clip, "")[1]
    pieces = []
    for part in parts_of(word):
        ids = prompt_ids(clip, part)
        pieces.append(ids[1 : ids.index(end, 1)])
    groups = find_groups(prompt_ids(clip, prompt), pieces, word)
    latent = vae.encode(picture.movedim(0, -1)[None]).float().cpu()
    guider = SowGuider(model)
    guider.set_rows({"positive": clip.encode_from_tokens_scheduled(clip.tokenize(prompt))})
    look = _Look(latent, seed)
    guider.sample(torch.zeros_like(latent), torch.zeros_like(latent), look, torch.ones(2), disable_pbar=True, seed=seed)
    if not look.maps:
        raise no_attention(word)
    return joint_map(look.maps, groups, latent.shape[-2], latent.shape[-1])


class _Look(comfy.samplers.Sampler):
    """No sampling at all: the host loads model and prompt as for one, and the model is asked about a known picture."""

    def __init__(self, latent: Tensor, seed: int) -> None:
        self.latent = latent
        self.seed = seed
        self.maps: Sequence[Tensor] = ()

    def sample(self, model_wrap: Any, sigmas: Tensor, extra_args: dict[str, Any], callback: Any, noise: Tensor,
               *_: Any, **__: Any) -> Tensor:  # fmt: skip
        base = model_wrap.inner_model
        z = base.process_latent_in(self.latent.to(noise.device))
        schedule = schedule_of(base.model_sampling, STEPS)
        generator = torch.Generator().manual_seed(self.seed)
        reader = _Seen()
        options = reader.options(extra_args["model_options"])
        for level in LEVELS:
            drawn = torch.randn(DRAWS, *z.shape[1:], generator=generator).to(z)
            state = add_noise(z.expand(DRAWS, -1, -1, -1), drawn, schedule, level) / schedule.a[level]
            sigma = state.new_full((DRAWS,), schedule.sigma(level))
            comfy.samplers.calc_cond_batch(base, [model_wrap.conds["positive"]], state, sigma, options)
        self.maps = reader.kept
        return noise


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
