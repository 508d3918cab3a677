"""The modulation inside the joint attention of ComfyUI's flow transformers: text and image share one softmax.

The host's override slot gets every attention call, after rope and norms, but nothing says where the image stands in it:
that is found by lengths, of which an `APPLY_MODEL` wrapper sees those of the latent and of the prompt. Both lie in the
copy of the options that ComfyUI makes for one run; an override that is already there is chained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from ...sow_core.method.families import Family
from ...sow_core.method.guidance import POSITIVE
from ...sow_core.method.joint import Span, find_span, token_rows
from ...sow_core.method.modulation import AttentionControl
from .attention import Hooks

KEY = "sow_joint"
"""Of the wrapper among the others."""
ADDED = "a prompt brings reference pictures, or another node adds or merges attention tokens"


class JointHooks(Hooks):
    """Of a flow transformer. canvas: (rows, columns) of its latents; batches of another size are left alone."""

    def __init__(self, transformer_options: dict[str, Any], family: Family, canvas: tuple[int, int]) -> None:
        super().__init__(transformer_options)
        self._family = family
        self._canvas = canvas
        self._grid = token_rows(canvas, family)
        self._text: int | None = None
        self._fits = False
        self._in_options: list[str] = []
        self._joint = 0

    @contextmanager
    def installed(self) -> Iterator[None]:
        from comfy.patcher_extension import WrappersMP, add_wrapper_with_key

        add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, self._around_call, self._options)
        try:
            with super().installed():
                yield
        finally:
            del self._options["wrappers"][WrappersMP.APPLY_MODEL][KEY]

    def _around_call(
        self,
        executor: Callable[..., Tensor],
        x: Tensor,
        t: Tensor,
        c_concat: Any = None,
        c_crossattn: Any = None,
        control: Any = None,
        transformer_options: Any = None,
        **kwargs: Any,
    ) -> Tensor:
        """One call of the net: its lengths and rows hold for all attention calls within."""
        options = transformer_options or {}
        if self._control is None:
            return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)
        # HiDream's blocks put states of their own behind the prompt's.
        self._text = None if self._family.first == "image" else c_crossattn.shape[1]
        self._in_options, self._joint = self._rows_of(options), 0
        self._fits = tuple(x.shape[-2:]) == self._canvas
        if not self._fits:
            self._warn("a prompt is limited to an area")
        if kwargs.get("image_cond") is not None:  # HiDream's editing: a second picture beside the first
            self._fits = False
            self._warn(ADDED)
        try:
            out = executor(x, t, c_concat, c_crossattn, control, options, **kwargs)
            if self._fits and not self._joint and not self._warned and self._wanted(self._control):
                self._warn("none of the model's attention calls can be seen")
            return out
        finally:
            self._fits, self._in_options = False, []

    def _wanted(self, control: AttentionControl) -> bool:
        return control.modulation.rows == "all" or POSITIVE in self._in_options

    def _attention(self, func: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        control = self._control
        if control is not None and self._fits and self._wanted(control):
            out = self._modulated(control, *args, **kwargs)
            if out is not None:
                return out
        return self._unmodulated(func, *args, **kwargs)

    def _modulated(
        self,
        control: AttentionControl,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        heads: int,
        mask: Tensor | None = None,
        *,
        skip_reshape: bool = False,
        skip_output_reshape: bool = False,
        scale: float | None = None,
        **kwargs: Any,
    ) -> Tensor | None:
        """The call's output, or None where the modulation does not apply to it."""
        if not skip_reshape:
            q, k, v = (x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2) for x in (q, k, v))
        tokens, rows = q.shape[2], self._in_options
        span = find_span(tokens, self._canvas, self._family, self._text) if tokens == k.shape[2] else None
        reason = self._unfit(span, tokens, q.shape[0] == len(rows) * len(control.gate), mask)
        if reason:
            self._warn(reason)
        if reason or span is None:
            return None
        if tokens > span.padded:
            self._joint += 1
        if k.shape[1] != heads:
            k, v = (x.repeat_interleave(heads // x.shape[1], dim=1) for x in (k, v))
        kernel = None if self._previous is None and mask is None else self._kernel(heads, mask, kwargs)
        out = control.attend(q, k, v, self._grid, rows, scale, kernel, span).to(v.dtype)
        return out if skip_output_reshape else out.transpose(1, 2).flatten(2)

    def _unfit(self, span: Span | None, tokens: int, whole: bool, mask: Tensor | None) -> str | None:
        """Why a call that should be modulated cannot be; None for a call that has no image too."""
        if span is None:  # the text's own calls are shorter than a joint one, or as long as the image
            rows, columns = self._grid
            return ADDED if tokens > rows * columns + self._family.pad + (self._text or 0) else None
        if not whole:
            return "another node changes the batch"
        if mask is not None and _hides(mask, span):
            return "another node masks the image's attention"
        return None


def _hides(mask: Tensor, span: Span) -> bool:
    """Whether a mask [..., T] touches the image's keys; the prompt's own mask does not."""
    image = mask[..., span.start : span.start + span.count]
    return not bool((image if image.dtype.is_floating_point else ~image).eq(0).all())
