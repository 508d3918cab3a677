"""Words of a prompt inside ComfyUI: where their tokens stand, what the cells pay to them, and its slope.

The attention is read where ComfyUI computes it, through the run's own copy of the options: an `attn2_patch` marks the
cross-attention calls and the override slot sees their q and k. Gradients need weights that autograd accepts; ComfyUI
loads them under inference mode, so copies stand in for them during a run (see `differentiable`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import comfy.samplers
from torch import Tensor

from ...sow_core.backends.concepts import pull
from ...sow_core.backends.gradients import differentiable, explained
from ...sow_core.errors import SowError
from ...sow_core.method.separation import Separation, concept_maps, find_tokens, grid_of
from .attention import OVERRIDE

OPTION = "sow_separate"
"""Under this name a MODEL's options carry a `Request`."""
NEEDS_ONE = "SOW Separate needs one plain positive prompt: prompts with areas, masks or schedules have no single place."
NO_SLOPE = ("This MODEL cannot be differentiated, which SOW Separate needs ({}); remove it, or load the model in "
            "float16 or float32.")  # fmt: skip


class Request(NamedTuple):
    """What SOW Separate hangs on a MODEL. tokens: each word's places in the prompt; settings: `until` counts levels of
    10; end: share of the sampling, 0..1, at which an ordinary sampler is left alone."""

    words: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]
    settings: Separation
    end: float


class Slope(NamedTuple):
    """gradient [N, C, h, w] with respect to ComfyUI's state, values [N], clean: the prediction [N, C, h, w]."""

    gradient: Tensor
    values: Tensor
    clean: Tensor


def token_places(clip: Any, prompt: str, words: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Each word's places among the prompt's tokens, as ComfyUI's text encode nodes lay them out (chunks of 77 in a
    row). Raises SowError for a word that the prompt does not have."""
    found = []
    whole, end = prompt_ids(clip, prompt), prompt_ids(clip, "")[1]
    for word in words:
        chunk = prompt_ids(clip, word)
        ids = chunk[1 : chunk.index(end, 1)]
        places = find_tokens(whole, ids)
        if not places:
            raise SowError(f"{word!r} does not stand in the prompt: name things by words that the prompt has.")
        found.append(places)
    return tuple(found)


def prompt_ids(clip: Any, text: str) -> list[Any]:
    """The token ids of a text with their marks and padding, chunks of 77 in a row."""
    chunks = next(iter(clip.tokenize(text).values()))
    return [pair[0] for chunk in chunks for pair in chunk]


class Reader:
    """The hooks of one differentiated call, on a copy of its options."""

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self.kept: list[Tensor] = []
        self._cross = False
        self._previous: Callable[..., Tensor] | None = None

    def options(self, model_options: dict[str, Any]) -> dict[str, Any]:
        """The options with the hooks behind whatever other packs have put there."""
        inner = dict(model_options.get("transformer_options") or {})
        patches = {name: list(hooks) for name, hooks in (inner.get("patches") or {}).items()}
        patches.setdefault("attn1_patch", []).append(self._before_self)
        patches.setdefault("attn2_patch", []).append(self._before_cross)
        self._previous = inner.get(OVERRIDE)
        return {**model_options, "transformer_options": {**inner, "patches": patches, OVERRIDE: self._attention}}

    def _before_self(self, n: Any, context: Any, value: Any, options: Any) -> tuple[Any, Any, Any]:
        self._cross = False
        return n, context, value

    def _before_cross(self, n: Any, context: Any, value: Any, options: Any) -> tuple[Any, Any, Any]:
        self._cross = True
        return n, context, value

    def _attention(self, func: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, heads: int, *args: Any,
                   **kwargs: Any) -> Tensor:  # fmt: skip
        from comfy.ldm.modules.attention import attention_pytorch

        self._look(q, k, heads, kwargs)
        # PyTorch's own attention: the quantising and fused kernels of other packages have no backward pass.
        if self._previous is not None:
            out = self._previous(attention_pytorch, q, k, v, heads, *args, **kwargs)
        else:
            out = attention_pytorch(q, k, v, heads, *args, **kwargs)
        if not (q.requires_grad and out.requires_grad):  # past it the slope would be another's, without a word
            raise RuntimeError("no gradient flows through its attention")
        return out

    def _look(self, q: Tensor, k: Tensor, heads: int, more: Mapping[str, Any]) -> None:
        cross, self._cross = self._cross, False
        if cross:
            self._keep(q, k, heads, bool(more.get("skip_reshape")))

    def _keep(self, q: Tensor, k: Tensor, heads: int, split: bool) -> None:
        if q.shape[2 if split else 1] == self.cells:
            self.kept.append(self._scores(q, k, heads, split))

    @staticmethod
    def _scores(q: Tensor, k: Tensor, heads: int, split: bool) -> Tensor:
        if not split:
            q, k = (x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2) for x in (q, k))
        scores = q.float() @ k.float().transpose(-1, -2) / q.shape[-1] ** 0.5
        return scores.softmax(dim=-1)


def slope(
    base: Any,
    conds: Sequence[dict[str, Any]],
    state: Tensor,
    sigma: Tensor,
    model_options: dict[str, Any],
    tokens: Sequence[Sequence[int]],
    depth: int,
    objective: Callable[[Tensor], Tensor],
) -> Slope:
    """One model call of the positive prompt with its slope. state: as ComfyUI's models take it; sigma: [N].

    objective: maps [K, heads, h', w'] -> []. Raises SowError if the prompt is no plain one, or the model cannot be
    differentiated (quantised weights, kernels without a backward pass).
    """
    grid = grid_of((state.shape[-2], state.shape[-1]), depth)
    reader = Reader(grid[0] * grid[1])
    plain = _plain(conds)

    def call(x: Tensor) -> Tensor:
        options = reader.options(model_options)
        (clean,) = comfy.samplers.calc_cond_batch(base, [plain], x, sigma.detach().clone(), options)
        if not reader.kept:
            raise SowError("This model reads no prompt at that size: choose another depth in SOW Separate.")
        return clean

    with explained(NO_SLOPE), differentiable(base.diffusion_model):
        return Slope(*pull(state, call, reader.kept, lambda layers: objective(concept_maps(layers, tokens, grid))))


def _plain(conds: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The positive prompt alone, without what acts on the picture beside it. Raises SowError if there is no such."""
    if len(conds) != 1 or any(name in conds[0] for name in ("area", "mask", "hooks")):
        raise SowError(NEEDS_ONE)
    return [{name: value for name, value in conds[0].items() if name not in ("control", "gligen")}]
