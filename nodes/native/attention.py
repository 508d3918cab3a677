"""The modulation inside ComfyUI's attention, without touching the user's MODEL or any ComfyUI module.

ComfyUI calls one override for self- and cross-attention alike and does not say which. The `attn1_patch` hook
runs just before a self-attention and `attn2_patch` just before a cross-attention, so the first raises a flag
for the next override call and the second lowers it. Both live in the copy of the options that ComfyUI makes
for one run, and are put behind what other packs have put there; an override that is already there is chained.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from ...sow_core.method.guidance import POSITIVE
from ...sow_core.method.modulation import AttentionControl
from ..remarks import remark

OVERRIDE = "optimized_attention_override"


class Hooks(ABC):
    """Late-bound attention hooks of one run, on its own copy of transformer_options. A subclass has the host's
    override slot as `_attention`."""

    def __init__(self, transformer_options: dict[str, Any]) -> None:
        self._options = transformer_options
        self._control: AttentionControl | None = None
        self._rows: Sequence[str] = ()
        self._names: Mapping[Any, str] = {}
        self._previous: Callable[..., Tensor] | None = None
        self._warned: set[str] = set()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Put the hooks in, and take exactly them out again."""
        self._previous = self._options.get(OVERRIDE)
        self._options[OVERRIDE] = self._attention
        try:
            yield
        finally:
            if self._previous is None:
                self._options.pop(OVERRIDE, None)
            else:
                self._options[OVERRIDE] = self._previous

    @contextmanager
    def active(
        self, control: AttentionControl | None, rows: Sequence[str], names: Mapping[Any, str] | None = None
    ) -> Iterator[None]:
        """Modulate the model calls inside; `rows` are the names that `cond_or_uncond` indexes.

        names: rows by the host's own number of a prompt, where another node may ask for some of them alone.
        """
        self._control, self._rows, self._names = control, rows, names or {}
        try:
            yield
        finally:
            self._control, self._rows, self._names = None, (), {}

    @abstractmethod
    def _attention(self, func: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """ComfyUI's override slot: (attention function, q, k, v, heads, mask=None, **options)."""

    def _unmodulated(self, func: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """The layer as it is without this pack."""
        return func(*args, **kwargs) if self._previous is None else self._previous(func, *args, **kwargs)

    def _warn(self, reason: str) -> None:
        """Say once a run why some layers are left alone."""
        if reason not in self._warned:
            remark(f"Attention is not modulated in some layers: {reason}.")
            self._warned.add(reason)

    def _rows_of(self, options: dict[str, Any]) -> list[str]:
        """The names of a batch's chunks."""
        numbers = options.get("uuids") or ()
        if numbers and all(number in self._names for number in numbers):
            return [self._names[number] for number in numbers]
        return [self._rows[index] for index in options.get("cond_or_uncond", ())]

    def _kernel(
        self, heads: int, mask: Tensor | None, kwargs: dict[str, Any]
    ) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """The other pack's override, or the host's attention, as a kernel on our widened q, k and v.

        It is handed PyTorch's attention: quantising kernels would spoil the bias channels.
        """
        from comfy.ldm.modules.attention import attention_pytorch

        known = {**kwargs, "skip_reshape": True, "skip_output_reshape": True}
        if mask is not None:
            known["mask"] = mask

        def kernel(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            if self._previous is None:
                return attention_pytorch(q, k, v, heads, **known)
            return self._previous(attention_pytorch, q, k, v, heads, **known)

        return kernel


class AttentionHooks(Hooks):
    """Of a UNet: its self-attention."""

    def __init__(self, transformer_options: dict[str, Any]) -> None:
        super().__init__(transformer_options)
        self._flag = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        patches = self._options.setdefault("patches", {})
        marks = {"attn1_patch": self._before_self, "attn2_patch": self._before_cross}
        for name, mark in marks.items():
            patches.setdefault(name, []).append(mark)
        try:
            with super().installed():
                yield
        finally:
            for name, mark in marks.items():
                patches[name].remove(mark)

    @contextmanager
    def active(
        self, control: AttentionControl | None, rows: Sequence[str], names: Mapping[Any, str] | None = None
    ) -> Iterator[None]:
        self._flag = False
        try:
            with super().active(control, rows, names):
                yield
        finally:
            self._flag = False

    def _before_self(self, n: Any, context: Any, value: Any, options: dict[str, Any]) -> tuple[Any, Any, Any]:
        self._flag = True
        return n, context, value

    def _before_cross(
        self, n: Any, context: Any, value: Any, options: dict[str, Any]
    ) -> tuple[Any, Any, Any]:
        self._flag = False
        return n, context, value

    def _attention(self, func: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        flagged, self._flag = self._flag, False
        if flagged and self._control is not None:
            out = self._modulated(self._control, *args, **kwargs)
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
        **kwargs: Any,
    ) -> Tensor | None:
        """The layer's output, or None where the modulation does not apply to it."""
        options = kwargs.get("transformer_options") or {}
        rows = self._rows_of(options)
        if control.modulation.rows == "cond" and POSITIVE not in rows:
            return None
        if not skip_reshape:
            q, k, v = (x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2) for x in (q, k, v))
        grid = tuple(options.get("activations_shape", (0, 0))[-2:])
        reason = self._unfit(control, rows, q, k, mask, grid, options)
        if reason:
            self._warn(reason)
            return None
        kernel = None if self._previous is None else self._kernel(heads, None, kwargs)
        out = control.attend(q, k, v, grid, rows, kernel=kernel)
        out = out.to(v.dtype)
        return out if skip_output_reshape else out.transpose(1, 2).flatten(2)

    def _unfit(
        self,
        control: AttentionControl,
        rows: Sequence[str],
        q: Tensor,
        k: Tensor,
        mask: Tensor | None,
        grid: tuple[int, ...],
        options: dict[str, Any],
    ) -> str | None:
        """Why a layer cannot be modulated: its tokens are not the canvas's cells."""
        cells = (control.regions.height, control.regions.width)
        if tuple(options.get("original_shape", cells)[-2:]) != cells:
            return "a prompt is limited to an area"
        if mask is not None:
            return "another node masks the self-attention"
        if len(grid) != 2 or not q.shape[2] == k.shape[2] == grid[0] * grid[1]:
            return "another node adds or merges attention tokens"
        if q.shape[0] != len(rows) * len(control.gate):
            return "another node changes the batch"
        return None
