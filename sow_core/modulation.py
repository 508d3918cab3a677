"""Dynamic attention modulation (paper Sec. IV-C, Eqs. 4-8): how strongly, where, and when.

The paper's numbers for these equations are in no source; every default here is a reading and is ours.
S suppresses the condition's attention to the rest, E enhances the related region's attention to the
condition; both fade over cycles, E also with distance, and an indicator of the attention mass near the
condition switches E off where the outline already continues.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from .errors import SowError
from .guidance import POSITIVE
from .regions import RegionMaps, Regions, token_grid

Form = Literal["bias", "minmax"]
ModulatedRows = Literal["cond", "all"]


def decay(x: Tensor | float, rate: float, floor: float) -> Tensor | float:
    """Eq. 6 as read: floor + (1 - floor) exp(-rate x); 1 at x = 0, falling to `floor`."""
    fall = torch.exp(-rate * x) if isinstance(x, Tensor) else math.exp(-rate * x)
    return floor + (1.0 - floor) * fall


@dataclass(frozen=True)
class Modulation:
    """Strengths and decays. None of these numbers is from the paper.

    suppress, enhance: S and E; nats added to the logits (form "bias", 0..20) or shares of each row's
      logit range (form "minmax", 0..1).
    suppress_rate, suppress_floor, enhance_rate, enhance_floor: decay over cycles (rate >= 0, floor 0..1);
      rate 0 switches that decay off.
    distance_rate, distance_floor: decay of E over the distance to the condition's centre.
    threshold: of the indicator, 0..1; E is scaled by (threshold - I) / threshold. 0 switches the gate off.
    form: "bias" adds a rank-2 term to the logits; "minmax" is Eq. 8 to the letter, with N x N tensors.
    rows: modulate the conditional rows only (as DenseDiffusion does) or all.
    """

    suppress: float = 2.0
    enhance: float = 1.0
    suppress_rate: float = 0.3
    suppress_floor: float = 0.0
    enhance_rate: float = 0.3
    enhance_floor: float = 0.0
    distance_rate: float = 2.0
    distance_floor: float = 0.2
    threshold: float = 0.3
    form: Form = "bias"
    rows: ModulatedRows = "cond"

    def __post_init__(self) -> None:
        if self.form not in get_args(Form):
            raise SowError(f"Bad modulation form {self.form!r}: expected {' | '.join(get_args(Form))}.")
        if self.rows not in get_args(ModulatedRows):
            raise SowError(f"Bad modulation rows {self.rows!r}: expected {' | '.join(get_args(ModulatedRows))}.")
        top = 20.0 if self.form == "bias" else 1.0
        for name, high in (
            ("suppress", top),
            ("enhance", top),
            ("suppress_rate", 100.0),
            ("enhance_rate", 100.0),
            ("distance_rate", 100.0),
            ("suppress_floor", 1.0),
            ("enhance_floor", 1.0),
            ("distance_floor", 1.0),
            ("threshold", 1.0),
        ):
            value = getattr(self, name)
            if not 0.0 <= value <= high:
                raise SowError(f"Bad modulation {name} {value!r}: expected 0 to {high:g} for the form {self.form}.")

    @property
    def active(self) -> bool:
        return self.suppress > 0 or self.enhance > 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Modulation:
        """Raises SowError on an unknown key or a value out of range."""
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        if unknown:
            raise SowError(f"Unknown modulation setting {unknown[0]!r}.")
        return cls(**values)

    def suppression(self, maps: RegionMaps, cycle: int) -> Tensor:
        """Eq. 4's factor of the rows i in C: [K, T]."""
        return self.suppress * decay(cycle, self.suppress_rate, self.suppress_floor) * maps.condition

    def enhancement(self, maps: RegionMaps, cycle: int) -> Tensor:
        """Eq. 5's factor of the rows i in R: [K, T], before the indicator's gate."""
        over_distance = decay(maps.distance, self.distance_rate, self.distance_floor)
        return self.enhance * decay(cycle, self.enhance_rate, self.enhance_floor) * over_distance * maps.related


def indicator(mass: Tensor, maps: RegionMaps) -> Tensor:
    """Eq. 7: the nearest fifth's share of the related region's attention on the condition, mean over heads.

    mass: [N, H, T, K] attention on condition k, query by query. Returns [N, K], NaN where the region has
    no token on this grid. Uniform attention gives about .2; a truncated outline less.
    """
    related = (maps.related >= 0.5).to(mass)
    share = torch.einsum("nhtk,kt->nhk", mass, maps.near.to(mass))
    whole = torch.einsum("nhtk,kt->nhk", mass, related)
    value = (share / whole.clamp(min=1e-12)).mean(dim=1)
    return torch.where(related.sum(dim=1) > 0, value, torch.nan)


class Vectors(NamedTuple):
    """One grid's rank-2K bias u w^T and probe, in batch order of the rows.

    u: [B, T, 2K], w: [T, 2K], probe: [T, K].
    """

    u: Tensor
    w: Tensor
    probe: Tensor


MASS_TOKENS = (64, 1024)
"""Layers whose token count lies here feed the indicator: finer ones are local, coarser ones blur C and R."""


class AttentionControl:
    """The modulation of one run: what each attention layer must add, and what it reports back.

    Resolution independent: a backend asks `vectors` (or `matrices`) with its layer's token count and
    hands the returned mass to `observe`. The gate of Eq. 8 lags one step, because the mass is known only
    after the softmax; the first step is ungated.
    """

    def __init__(
        self, regions: Regions, modulation: Modulation, images: int, device: torch.device | None = None
    ) -> None:
        self.regions = regions
        self.modulation = modulation
        self.device = device or torch.device("cpu")
        self.cycle = 0
        conditions = len(regions.condition)
        self.gate = torch.ones(images, conditions, device=self.device)
        self.mass_map: Tensor | None = None
        """Mean attention on all conditions [N, h, w] of the last step, on the finest observed grid."""
        self.has_related = bool(regions.related.any())
        self._values: list[Tensor] = []
        self._maps: dict[tuple[int, int], RegionMaps] = {}
        self._cache: dict[tuple[Any, ...], Any] = {}

    def begin(self, cycle: int) -> None:
        """Start one model call of `cycle` (0, 1, ...)."""
        self.cycle = cycle
        self._cache.clear()
        self._values.clear()
        self.mass_map = None

    def select(self, keep: Sequence[int]) -> None:
        """Go on with these images of the batch only (adaptive stop)."""
        self.gate = self.gate[list(keep)]

    def grid(self, tokens: int) -> tuple[int, int]:
        """The token grid of a layer over this run's canvas."""
        return token_grid(tokens, self.regions.height, self.regions.width)

    def vectors(self, grid: tuple[int, int], rows: Sequence[str], dtype: torch.dtype) -> Vectors:
        """The bias and probe of a layer. `rows` names the batch's chunks of N images, in batch order."""
        key = ("vectors", grid, tuple(rows), dtype)
        if key not in self._cache:
            maps = self._at(grid)
            suppress, enhance = self._factors(maps)
            condition = maps.condition.T
            u = torch.cat([-suppress, enhance], dim=-1)
            w = torch.cat([1.0 - condition, condition], dim=-1)
            self._cache[key] = Vectors(self._per_row(u, rows).to(dtype), w.to(dtype), condition.to(dtype))
        return self._cache[key]

    def matrices(self, grid: tuple[int, int], rows: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """S and E of Eqs. 4-5 as matrices [B, T, T] for `attend_minmax`, and the probe [T, K]."""
        maps = self._at(grid)
        suppress, enhance = self._factors(maps)
        condition = maps.condition.T
        s = self._per_row(suppress, rows) @ (1.0 - condition).T
        e = self._per_row(enhance, rows) @ condition.T
        return s.clamp(max=1.0), e.clamp(max=1.0), condition

    def observe(self, mass: Tensor, grid: tuple[int, int], rows: Sequence[str]) -> None:
        """Take a layer's attention mass [B, H, T, K]; only the positive rows count."""
        tokens = grid[0] * grid[1]
        if POSITIVE not in rows or not MASS_TOKENS[0] <= tokens <= MASS_TOKENS[1]:
            return
        images = len(self.gate)
        start = list(rows).index(POSITIVE) * images
        positive = mass[start : start + images].float()
        self._values.append(indicator(positive, self._at(grid)))
        shown = positive.mean(dim=1).sum(dim=-1).reshape(images, *grid)
        if self.mass_map is None or shown[0].numel() >= self.mass_map[0].numel():
            self.mass_map = shown

    def end(self) -> Tensor | None:
        """Finish the call: the indicator [N, K], mean over layers, and the gate of the next call."""
        if not self._values or not self.has_related:
            return None
        value = torch.stack(self._values).nanmean(dim=0)
        if self.modulation.threshold > 0:
            gate = (self.modulation.threshold - value) / self.modulation.threshold
            self.gate = gate.clamp(0.0, 1.0).nan_to_num(1.0)
        return value

    def _factors(self, maps: RegionMaps) -> tuple[Tensor, Tensor]:
        """Per image: the factors of the rows in C [1, T, K] and in R, gated [N, T, K]."""
        suppress = self.modulation.suppression(maps, self.cycle).T[None]
        enhance = self.modulation.enhancement(maps, self.cycle).T[None] * self.gate[:, None, :]
        return suppress.expand(len(self.gate), -1, -1), enhance

    def _per_row(self, per_image: Tensor, rows: Sequence[str]) -> Tensor:
        """[N, T, k] -> [len(rows) N, T, k]: zero in the rows that are not modulated."""
        every = self.modulation.rows == "all"
        return torch.cat([per_image * float(every or name == POSITIVE) for name in rows])

    def _at(self, grid: tuple[int, int]) -> RegionMaps:
        if grid not in self._maps:
            self._maps[grid] = RegionMaps(*(x.to(self.device) for x in self.regions.at(grid)))
        return self._maps[grid]
