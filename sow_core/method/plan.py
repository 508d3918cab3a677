"""The algorithm as data: a frozen config becomes a plan, a tuple of small frozen ops.

The engine interprets the plan; progress, tooltips, benchmarks and tests read the same costs from it before anything
runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import groupby

from ..errors import SowError
from .config import Init, SowConfig
from .guidance import EMPTY, NEGATIVE, Guidance
from .separation import Separation, step_sizes
from .steering import Steering, Toward


@dataclass(frozen=True)
class Cost:
    """Model calls, and rows (one latent through the network once) at canvas and at crop size, per image."""

    calls: int = 0
    rows: int = 0
    crop_rows: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.calls + other.calls, self.rows + other.rows, self.crop_rows + other.crop_rows)


# What every op has beside its own fields: `phase`, the part of the run that its time is counted to; `cycle`, the cycle
# that it belongs to, None outside of them; `cost`.


@dataclass(frozen=True)
class Encode:
    """The canvas and the conditions' crops in latents (means, not samples), whichever the run reads."""

    canvas: bool
    crops: bool = True
    phase = "encode"
    cycle = None
    cost = Cost()


@dataclass(frozen=True)
class Invert:
    """DDIM inversion of latents from level 0 to `level`, all levels stored. condition None: the canvas."""

    level: int
    guidance: Guidance
    condition: int | None
    stride: int
    phase = "invert"
    cycle = None

    @property
    def stops(self) -> tuple[int, ...]:
        """The levels at which the model is asked: every `stride`-th, and the last."""
        return tuple(min(k, self.level) for k in range(self.stride, self.level + self.stride, self.stride))

    @property
    def cost(self) -> Cost:
        calls = len(self.stops)
        rows = calls * len(self.guidance.rows)
        return Cost(calls, *((rows, 0) if self.condition is None else (0, rows)))


@dataclass(frozen=True)
class NoiseTrajectory:
    """Forward-noised trajectories instead of inverted ones; fresh: a new noise at every use."""

    fresh: bool
    phase = "encode"
    cycle = None
    cost = Cost()


@dataclass(frozen=True)
class SeedCanvas:
    """The starting state of the canvas at `level`, from its inversion, its forward noising, or nothing."""

    kind: Init
    level: int
    phase = "encode"
    cycle = None
    cost = Cost()


class _Phased:
    """An op of the cycle, or, where its cycle is None, of the refine."""

    cycle: int | None

    @property
    def phase(self) -> str:
        return "refine" if self.cycle is None else "cycle"


@dataclass(frozen=True)
class Renoise(_Phased):
    """One jump of forward diffusion from level `lo` up to `hi` (Eq. 1-2); `shift` moves only the ratio.

    cycle None: a step of the refine that is undone, to be taken again (resampling).
    """

    lo: int
    hi: int
    shift: int
    cycle: int | None
    cost = Cost()


@dataclass(frozen=True)
class Place(_Phased):
    """One-way replacement: write the stored latents of `level` into the condition's cells."""

    level: int
    cycle: int | None
    cost = Cost()


@dataclass(frozen=True)
class Denoise(_Phased):
    """One guided model call at `level` (two with picture guidance), a DDIM(eta) step down; cycle None: the refine."""

    level: int
    eta: float
    guidance: Guidance
    modulate: bool
    cycle: int | None

    @property
    def cost(self) -> Cost:
        blank = int(self.guidance.picture > 0)
        return Cost(1 + blank, len(self.guidance.rows) + blank)


@dataclass(frozen=True)
class Separate(_Phased):
    """Move the state outside the conditions by `size`, so that the prompt's named things keep apart.

    One model call forward and backward of the positive row; no step is made where the loss is low enough.
    """

    level: int
    size: float
    settings: Separation
    cycle: int | None
    cost = Cost(1, 1)


@dataclass(frozen=True)
class Steer(_Phased):
    """Move the clean prediction of the denoising at `level` before it, outside the conditions, by `size` toward more.

    toward: whose gradient it is, from whoever runs the plan; no part of it as data. No model call: what it costs is
    `toward`'s business.
    """

    level: int
    size: float
    cycle: int | None
    toward: Toward | None = field(default=None, repr=False, compare=False)
    cost = Cost()


@dataclass(frozen=True)
class EndCycle:
    """Mark the end of a cycle: preview, and the adaptive stop."""

    cycle: int
    phase = "cycle"
    cost = Cost()


@dataclass(frozen=True)
class Decode:
    """The canvas is finished: whoever has the VAE decodes it."""

    phase = "decode"
    cycle = None
    cost = Cost()


Op = Encode | Invert | NoiseTrajectory | SeedCanvas | Renoise | Place | Separate | Denoise | Steer | EndCycle | Decode


@dataclass(frozen=True)
class Plan:
    """What a run will do, in order, and what it costs (an upper bound where the stop is adaptive)."""

    config: SowConfig
    ops: tuple[Op, ...]

    @property
    def cost(self) -> Cost:
        return sum((op.cost for op in self.ops), Cost())

    @property
    def reads(self) -> Encode:
        """Which pictures have to be encoded before the run."""
        return next(op for op in self.ops if isinstance(op, Encode))

    @property
    def guidances(self) -> tuple[Guidance, ...]:
        return tuple(op.guidance for op in self.ops if isinstance(op, (Invert, Denoise)))

    def describe(self, times: Sequence[float] | None = None) -> Iterator[str]:
        """One line per op with its calls and rows (cycles that repeat the one before in one line), the total.

        times: what a flow model is told at each level, from level 0; shown behind the level.
        """
        shown: list[str] = []
        for cycle, group in groupby(self.ops, key=lambda op: op.cycle):
            lines = [_line(op, times) for op in group]
            if lines != shown:
                yield from ([f"cycle {cycle}:"] if cycle is not None else []) + lines
            elif cycle == self.config.cycles - 1 or cycle is None:
                yield f"... the same until cycle {cycle}"
            shown = lines
        total = self.cost
        yield f"total: {total.calls} calls, {total.rows} rows at canvas size, {total.crop_rows} at crop size"


LEVELS = ("level", "hi", "lo")
"""Fields of ops that name a level."""


def _line(op: Op, times: Sequence[float] | None = None) -> str:
    def shown(name: str) -> str:
        value = getattr(op, name)
        return f"{value} (t {times[value]:.3f})" if times is not None and name in LEVELS else _short(value)

    values = ", ".join(f"{f.name}={shown(f.name)}" for f in fields(op) if f.name != "cycle" and f.repr)
    cost = op.cost
    what = ""
    if cost.calls:
        rows = f"{cost.rows} rows" if cost.rows else f"{cost.crop_rows} crop rows"
        what = f"  [{cost.calls} call{'s' if cost.calls > 1 else ''}, {rows}]"
    return f"  {type(op).__name__} {values}{what}".rstrip()


def _short(value: object) -> str:
    if isinstance(value, Guidance):
        inside = "" if value.inside is None else f" inside {value.inside:g}"
        picture = f" picture {value.picture:g}" if value.picture else ""
        return f"<{value.scale:g}{inside}{picture}: {'+'.join(value.rows)}>"
    if isinstance(value, Separation):
        return f"<beta {value.beta:g}, depth {value.depth}>"
    return f"{value:g}" if isinstance(value, float) else str(value)


def build_plan(config: SowConfig, conditions: int = 1) -> Plan:
    """The plan of a config for a number of conditions (Algorithm 1 of the paper, every choice a setting)."""
    if conditions < 1:
        raise SowError("No condition: expected at least one picture to keep.")
    as_before = config.predecessor
    hi, lo = config.hi + as_before.grid_shift, config.lo + as_before.grid_shift
    kept = {k + as_before.grid_shift for k in config.preserve}

    def guidance(phase: str) -> Guidance:
        negative = NEGATIVE if phase in as_before.negative_in else EMPTY
        if phase == "invert":
            scale = config.inversion_guidance
            return Guidance(scale, negative=negative, embedded=scale > 1)
        if phase == "cycle":
            return Guidance(
                config.guidance, negative=negative, extra=as_before.extra_rows, picture=config.picture_guidance
            )
        return Guidance(config.guidance, inside=config.guidance_inside, negative=negative)

    def invert(level: int, condition: int | None) -> Invert:
        return Invert(level, guidance("invert"), condition, config.inversion_stride)

    slice_canvas = config.trajectory == "invert" and config.invert_on == "canvas"
    canvas = config.init != "none" or slice_canvas or config.picture_guidance > 0
    ops: list[Op] = [Encode(canvas=canvas, crops=not slice_canvas)]
    if slice_canvas:
        ops.append(invert(hi, None))
    elif config.trajectory == "invert":
        ops += [invert(hi, index) for index in range(conditions)]
    else:
        ops.append(NoiseTrajectory(config.trajectory == "noise_fresh"))
    if config.init == "invert" and not slice_canvas:
        ops.append(invert(lo, None))
    # Without cycles there is nothing to be noised up for: start where the refine starts.
    seeded = lo if config.init == "invert" or config.cycles == 0 else hi
    ops.append(SeedCanvas(config.init, seeded))
    if config.cycles == 0:
        ops.append(Place(lo, None))
    modulate = config.modulation is not None and config.modulation.active
    # Above the last ID level what S does to the condition is written over.
    free = min(kept, default=lo) if config.modulation is not None and config.modulation.suppress_refine > 0 else 0
    for cycle in range(config.cycles):
        if cycle > 0 or seeded == lo:
            ops.append(Renoise(lo, hi, as_before.renoise_shift, cycle))
        ops.append(Place(hi, cycle))
        for level in range(hi, lo, -1):
            ops.append(Denoise(level, config.cycle_eta, guidance("cycle"), modulate, cycle))
            ops.append(Place(level - 1, cycle))
        ops.append(EndCycle(cycle))
    for level in range(lo, 0, -1):
        guided = guidance("refine") if level > config.unguided_tail else Guidance(1.0, embedded=False)
        ops.append(Denoise(level, config.refine_eta, guided, level <= free, None))
        if level - 1 in kept:
            ops.append(Place(level - 1, None))
    ops.append(Decode())
    return Plan(config, tuple(with_separation(ops, config.separate, as_before.grid_shift)))


def with_separation(ops: list[Op], wanted: Separation | None, shift: int = 0) -> list[Op]:
    """The ops with a step of separation before every denoising from `until` up, each shorter than the one before."""
    if wanted is None or not wanted.active:
        return ops
    lowest = wanted.until + shift
    sizes = iter(step_sizes(wanted.strength, sum(isinstance(op, Denoise) and op.level >= lowest for op in ops)))
    made: list[Op] = []
    for op in ops:
        if isinstance(op, Denoise) and op.level >= lowest:
            made.append(Separate(op.level, next(sizes), wanted, op.cycle))
        made.append(op)
    return made


def with_steering(plan: Plan, wanted: Steering | None, toward: Toward | None = None) -> Plan:
    """The plan with a step toward more of something after every denoising from `until` up; itself if none is wanted."""
    if wanted is None or not wanted.active:
        return plan
    lowest = wanted.until + plan.config.predecessor.grid_shift
    made: list[Op] = []
    for op in plan.ops:
        made.append(op)
        if isinstance(op, Denoise) and op.level >= lowest:
            made.append(Steer(op.level, wanted.strength, op.cycle, toward))
    return replace(plan, ops=tuple(made))
