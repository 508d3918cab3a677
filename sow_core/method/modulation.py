"""Dynamic attention modulation (paper Eqs. 4-8): how strongly, where, and when.

S suppresses the condition's attention to the rest, E enhances the related region's attention to the
condition; both fade over cycles, E also with distance, and a gate weakens E where the attention mass near the
condition (the indicator) is already high for the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .attention import Kernel, attend, attend_minmax
from .guidance import POSITIVE
from .joint import Span
from .regions import RegionMaps, Regions, token_grid
from .strength import Modulation, decay

__all__ = ["AttentionControl", "Modulation", "Vectors", "decay", "indicator"]


def indicator(mass: Tensor, maps: RegionMaps) -> Tensor:
    """Eq. 7: the nearest fifth's share of the related region's attention on the condition, mean over heads.

    mass: [N, H, T, K] attention on condition k, query by query. Returns [N, K], NaN where the region has
    no token on this grid. Uniform attention gives about .2. The paper takes a low value for a truncated outline;
    on the demo model it is a weak predictor of one.
    """
    related = (maps.related >= 0.5).to(mass)
    share = torch.einsum("nhtk,kt->nhk", mass, maps.near.to(mass))
    whole = torch.einsum("nhtk,kt->nhk", mass, related)
    value = (share / whole.clamp(min=1e-12)).mean(dim=1)
    return torch.where(related.sum(dim=1) > 0, value, torch.nan)


class Vectors(NamedTuple):
    """One grid's bias u w^T in nats, one channel a condition; w is the condition's membership, so also the probe.

    u: [n, T, K] of the n modulated entries of the batch, w: [T, K]. In a joint attention one more channel, the text's.
    """

    u: Tensor
    w: Tensor


MASS_TOKENS = (64, 1024)
"""Layers whose token count lies here feed the indicator: finer ones are local, coarser ones blur C and R."""


class AttentionControl:
    """The modulation of one run: what each attention layer must add, and what it reports back.

    Resolution independent: a backend hands each self-attention layer's q, k, v and token grid to `attend`
    between `begin` and `end` of a model call. The gate of Eq. 8 lags one step, because the mass is known only
    after the softmax; the first step is ungated.
    """

    def __init__(
        self, regions: Regions, modulation: Modulation, images: int, device: torch.device | None = None
    ) -> None:
        self.regions = regions
        self.modulation = modulation
        self.device = device or torch.device("cpu")
        self.cycle: int | None = 0
        conditions = len(regions.condition)
        self.gate = torch.ones(images, conditions, device=self.device)
        """Factor of E in the next call, [N, K], 0 (closed) to 1."""
        self.mass_map: Tensor | None = None
        """Mean attention on all conditions [N, h, w] of the last step, on the finest observed grid."""
        self.has_related = bool(regions.related.any())
        self.enhances = self.has_related and modulation.enhance > 0 and modulation.form != "cut"
        self._values: list[Tensor] = []
        self._joint: list[tuple[Tensor, Tensor]] = []
        """Indicator and mass map of each joint call, in order."""
        self._maps: dict[tuple[int, int], RegionMaps] = {}
        self._cache: dict[tuple[Any, ...], Any] = {}

    def begin(self, cycle: int | None) -> None:
        """Start one model call of `cycle` (0, 1, ...), or of the refine (None)."""
        self.cycle = cycle
        self._cache.clear()
        self._values.clear()
        self._joint.clear()
        self.mass_map = None

    def select(self, keep: Sequence[int]) -> None:
        """Go on with these images of the batch only (adaptive stop)."""
        self.gate = self.gate[list(keep)]

    def grid(self, tokens: int) -> tuple[int, int]:
        """The token grid of a layer over this run's canvas."""
        return token_grid(tokens, self.regions.height, self.regions.width)

    def attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        grid: tuple[int, int],
        rows: Sequence[str],
        scale: float | None = None,
        kernel: Kernel | None = None,
        span: Span | None = None,
    ) -> Tensor:
        """Self-attention of one layer, modulated: q, k, v [B, H, T, d] -> [B, H, T, d]; observes the mass.

        rows names the batch's chunks of N images, in batch order. Only the modulated chunks pay for the wider
        heads; the others go through the plain kernel, bit-identical to the model. kernel: see
        `attention.attend`; a host's own kernel is called once, with the whole batch it knows about.
        span: where in T the image's `grid` stands if text shares the attention; None: T is the grid.
        """
        if self.modulation.form == "minmax":
            kernel = None  # the written-out form needs the logits, which no kernel hands out
        chunk = self._modulated(rows)
        whole = chunk.stop - chunk.start == len(q)
        if kernel is not None and not whole:
            vectors = self.vectors(grid, rows, q.dtype, span, q.shape[2])
            u = None
            if not self._plain(span):
                u = vectors.u.new_zeros(len(q), *vectors.u.shape[1:])
                u[chunk] = vectors.u
            out, mass = attend(q, k, v, u, vectors.w, self._probe(vectors), scale, kernel)
            self.observe(mass[chunk] if mass is not None else None, grid, rows, span)
            return out
        # Laid out as the projection behind it wants it: [B, T, H, d] in memory.
        joined = q.new_empty(len(q), q.shape[2], q.shape[1], v.shape[3]).transpose(1, 2)
        for rest in (slice(0, chunk.start), slice(chunk.stop, len(q))):
            if rest.start < rest.stop:
                joined[rest] = attend(q[rest], k[rest], v[rest], scale=scale)[0]
        if chunk.start < chunk.stop:
            joined[chunk], mass = self._attend_chunk(q[chunk], k[chunk], v[chunk], grid, rows, scale, kernel, span)
            self.observe(mass, grid, rows, span)
        return joined

    def _attend_chunk(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        grid: tuple[int, int],
        rows: Sequence[str],
        scale: float | None,
        kernel: Kernel | None,
        span: Span | None,
    ) -> tuple[Tensor, Tensor | None]:
        if self.modulation.form == "minmax":
            suppress, enhance, probe = self.matrices(grid, rows, span, q.shape[2])
            return attend_minmax(q, k, v, suppress, enhance, probe, scale)
        vectors = self.vectors(grid, rows, q.dtype, span, q.shape[2])
        u = None if self._plain(span) else vectors.u
        return attend(q, k, v, u, vectors.w, self._probe(vectors), scale, kernel)

    def _plain(self, span: Span | None) -> bool:
        """Whether a joint attention is to be the model's own, bit for bit: nothing is added to it."""
        return span is not None and self.modulation.idle(self.cycle)

    def _probe(self, vectors: Vectors) -> Tensor:
        """The conditions' channels of w: [T, K]."""
        return vectors.w[:, : len(self.regions.condition)]

    def _modulated(self, rows: Sequence[str]) -> slice:
        """The part of the batch that is modulated: the positive row's images, or everything."""
        images = len(self.gate)
        if self.modulation.rows == "all":
            return slice(0, len(rows) * images)
        start = list(rows).index(POSITIVE) * images if POSITIVE in rows else 0
        return slice(start, start + images if POSITIVE in rows else start)

    def vectors(
        self,
        grid: tuple[int, int],
        rows: Sequence[str],
        dtype: torch.dtype,
        span: Span | None = None,
        tokens: int = 0,
    ) -> Vectors:
        """The bias of the modulated entries of a layer's batch.

        -S c_i (1 - c_j) + E r_i c_j differs from (S c_i + E r_i) c_j by a constant per query, which softmax
        does not see: one channel a condition instead of two. Where text shares the softmax (`span` in `tokens`), the
        constant must reach it too, or the condition would turn away from the prompt: one more channel of S c_i, 1 on
        text keys. Text queries have none, and padding counts as the rest.
        """
        key = ("vectors", grid, tuple(rows), dtype, span, tokens)
        if key not in self._cache:
            maps = self._at(grid)
            suppress, enhance = self._factors(maps)
            u, w = suppress + enhance, maps.condition.T
            if span is not None:
                u = _placed(torch.cat([u, suppress.sum(dim=-1, keepdim=True)], dim=-1), span, tokens)
                w = _placed(torch.cat([w, torch.zeros_like(w[:, :1])], dim=-1), span, tokens)
                w[: span.start, -1] = w[span.start + span.padded :, -1] = 1.0
            self._cache[key] = Vectors(self._repeated(u, rows).to(dtype), w.to(dtype))
        return self._cache[key]

    def matrices(
        self, grid: tuple[int, int], rows: Sequence[str], span: Span | None = None, tokens: int = 0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """S and E of Eqs. 4-5 as matrices [n, T, T] for `attend_minmax`, and the probe [T, K]."""
        maps = self._at(grid)
        suppress, enhance = self._factors(maps)
        condition = maps.condition.T
        rest = 1.0 - condition
        if span is not None:
            suppress, enhance, condition = (_placed(x, span, tokens) for x in (suppress, enhance, condition))
            rest = _placed(rest, span, tokens)
            rest[span.start + span.count : span.start + span.padded] = 1.0
        s = self._repeated(suppress, rows) @ rest.T
        e = self._repeated(enhance, rows) @ condition.T
        return s.clamp(max=1.0), e.clamp(max=1.0), condition

    def observe(
        self, mass: Tensor | None, grid: tuple[int, int], rows: Sequence[str], span: Span | None = None
    ) -> None:
        """Take the mass [n, H, T, K] of a layer's modulated entries; only the positive row's count.

        Of joint attention (`span`) all calls with text in them are taken; `end` chooses among them.
        """
        if mass is None or POSITIVE not in rows:
            return
        images = len(self.gate)
        start = list(rows).index(POSITIVE) * images if self.modulation.rows == "all" else 0
        positive = mass[start : start + images]
        if span is not None:
            if mass.shape[2] > span.padded:
                positive = positive[:, :, span.start : span.start + span.count].float()
                shown = positive.mean(dim=1).sum(dim=-1).reshape(images, *grid)
                self._joint.append((indicator(positive, self._at(grid)), shown))
            return
        if not MASS_TOKENS[0] <= grid[0] * grid[1] <= MASS_TOKENS[1]:
            return
        positive = positive.float()
        self._values.append(indicator(positive, self._at(grid)))
        shown = positive.mean(dim=1).sum(dim=-1).reshape(images, *grid)
        if self.mass_map is None or shown[0].numel() >= self.mass_map[0].numel():
            self.mass_map = shown

    def end(self) -> Tensor | None:
        """Finish the call: the indicator [N, K], mean over layers, and the gate of the next call.

        All joint calls of a transformer have the same grid; the middle third of them counts, as the layers of
        middle resolution do in a UNet [ours].
        """
        middle = self._joint[len(self._joint) // 3 : len(self._joint) - len(self._joint) // 3]
        if middle:
            self._values += [value for value, _ in middle]
            self.mass_map = middle[-1][1]
            self._joint.clear()
        if not self._values or not self.has_related:
            return None
        value = torch.stack(self._values).nanmean(dim=0)
        self.gate = self.modulation.gate(value)
        return value

    def _factors(self, maps: RegionMaps) -> tuple[Tensor, Tensor]:
        """Per image: the factors of the rows in C [1, T, K] and in R, gated [N, T, K]."""
        suppress = self.modulation.suppression(maps, self.cycle).T[None]
        enhance = self.modulation.enhancement(maps, self.cycle).T[None] * self.gate[:, None, :]
        return suppress.expand(len(self.gate), -1, -1), enhance

    def _repeated(self, per_image: Tensor, rows: Sequence[str]) -> Tensor:
        """[N, T, k] -> [n, T, k]: once for the positive row, or once for every row."""
        return per_image.repeat(len(rows), 1, 1) if self.modulation.rows == "all" else per_image

    def _at(self, grid: tuple[int, int]) -> RegionMaps:
        if grid not in self._maps:
            self._maps[grid] = RegionMaps(*(x.to(self.device) for x in self.regions.at(grid)))
        return self._maps[grid]


def _placed(image: Tensor, span: Span, tokens: int) -> Tensor:
    """[..., count, k] of the image's tokens -> [..., tokens, k], zero elsewhere."""
    out = image.new_zeros(*image.shape[:-2], tokens, image.shape[-1])
    out[..., span.start : span.start + span.count, :] = image
    return out
