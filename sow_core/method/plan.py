"""The algorithm as data: a frozen config becomes a plan, a tuple of small frozen ops.

The engine interprets the plan; progress, tooltips, benchmarks and tests read the same costs from it
before anything runs. Defaults marked [paper] are stated in arXiv 2411.19182, [COW] are read off its
predecessor's behaviour, [ours] are in neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import groupby
from typing import Any, Literal, get_args

from ..errors import SowError
from ..outside.records import read_record
from .guidance import EMPTY, NEGATIVE, Guidance
from .strength import Modulation

Trajectory = Literal["invert", "noise", "noise_fresh"]
Init = Literal["invert", "noise", "none"]
InvertOn = Literal["crop", "canvas"]
Fill = Literal["gray", "keep", "extend"]

NEGATIVE_PROMPT = "a bad quality and low-resolution image, extra fingers, deformed hands"
"""The paper's negative prompt [paper]."""


@dataclass(frozen=True)
class SowConfig:
    """Everything that shapes a run except pictures, prompts and seeds.

    steps: DDIM steps of the whole noise range, 1..1000 (10 [paper]).
    hi, lo: levels between which the cycle runs, steps >= hi > lo >= 0 ("700 -> 500": 7, 5 [paper]).
    cycles: J, 0..1000 (10 [paper]; 5 is in its Table IV, at half the time with the identity kept better, and measured
      as well here).
    preserve: levels of the refine at which the condition is written back (ID levels [paper]).
    cycle_eta, refine_eta: DDIM eta 0..1 inside the cycle (1 [COW]) and in the refine [paper].
    guidance: classifier-free guidance scale w >= 1 (7.5 [paper]).
    guidance_inside: scale on the condition's own cells in the refine; None: as `guidance` [ours].
    unguided_tail: this many last refine steps run without guidance, in single rows [ours; cf. guidance in a
      limited interval, Kynkäänniemi et al. 2024]: cheaper, and inside the condition the inversion's way back.
    inversion_guidance: scale of both inversions (1 [ours]: CFG there buys nothing and doubles its rows).
    inversion_stride: levels per model call of an inversion, 1..1000; the levels between two calls lie on the same
      predicted noise [ours]. 1 asks the model at every level [paper].
    trajectory: where the condition's stored latents come from: "invert" [paper], forward "noise"
      with one noise for all levels, or "noise_fresh" with a new one at each use (RePaint's way).
    invert_on: invert the "crop" alone [COW], or the whole "canvas" once and slice it [ours]: one inversion
      for all conditions and the seed, at the size the model knows; small crops are out of its distribution.
    init: canvas seed: "invert" the canvas to lo [paper], forward "noise" it to hi, or "none": pure noise.
    fill: what is encoded around the mask: "gray" [paper], "keep" the picture's own pixels within its box [ours], or
      "extend" the kept edge's colours outward, so that no gray gets into the cells at the edge [ours].
    coverage: share of a latent cell that the mask must cover for the cell to be kept, 0 < c <= 1.
    modulation: dynamic attention modulation of the cycle; None: off.
    grid_shift: 0: level 7 is t = 601, as the predecessor evaluates it; 1: the literal t = 701.
    renoise_shift: 1 repeats the predecessor's off-by-one of the re-noising ratio, for parity only.
    extra_rows: the predecessor's four-row guidance in the cycle (needs suppress and diverse prompts).
    negative_in: phases that use the negative prompt; elsewhere the empty prompt takes its place.
    adaptive: stop cycling an image when its x0 prediction stops changing less from cycle to cycle.
    min_cycles, tolerance: fewest cycles then, and the relative change (0..1) that counts as "stopped".
    """

    steps: int = 10
    hi: int = 7
    lo: int = 5
    cycles: int = 5
    preserve: tuple[int, ...] = (4, 3)
    cycle_eta: float = 1.0
    refine_eta: float = 0.0
    guidance: float = 7.5
    guidance_inside: float | None = None
    unguided_tail: int = 2
    inversion_guidance: float = 1.0
    inversion_stride: int = 2
    trajectory: Trajectory = "invert"
    invert_on: InvertOn = "canvas"
    init: Init = "invert"
    fill: Fill = "extend"
    coverage: float = 0.5
    modulation: Modulation | None = field(default_factory=Modulation)
    grid_shift: int = 0
    renoise_shift: int = 0
    extra_rows: bool = False
    negative_in: tuple[str, ...] = ("invert", "cycle", "refine")
    adaptive: bool = False
    min_cycles: int = 3
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        def check(ok: bool, name: str, expected: str) -> None:
            if not ok:
                raise SowError(f"Bad {name} {getattr(self, name)!r}: expected {expected}.")

        check(1 <= self.steps <= 1000, "steps", "1 to 1000")
        check(self.grid_shift in (0, 1), "grid_shift", "0 or 1")
        check(self.hi + self.grid_shift <= self.steps, "hi", f"at most {self.steps - self.grid_shift} (steps)")
        check(0 <= self.lo < self.hi, "lo", f"0 to {self.hi - 1} (below hi)")
        check(0 <= self.cycles <= 1000, "cycles", "0 to 1000")
        check(all(0 <= k < self.lo for k in self.preserve), "preserve", f"levels 0 to {self.lo - 1} (below lo)")
        check(0 <= self.cycle_eta <= 1, "cycle_eta", "0 to 1")
        check(0 <= self.refine_eta <= 1, "refine_eta", "0 to 1")
        check(1 <= self.guidance <= 100, "guidance", "1 to 100")
        inside = self.guidance_inside
        check(inside is None or 0 <= inside <= 100, "guidance_inside", "0 to 100, or none")
        check(0 <= self.unguided_tail <= 1000, "unguided_tail", "0 to 1000")
        check(1 <= self.inversion_guidance <= 100, "inversion_guidance", "1 to 100")
        check(1 <= self.inversion_stride <= 1000, "inversion_stride", "1 to 1000")
        check(self.trajectory in get_args(Trajectory), "trajectory", " | ".join(get_args(Trajectory)))
        check(self.invert_on in get_args(InvertOn), "invert_on", " | ".join(get_args(InvertOn)))
        check(self.init in get_args(Init), "init", " | ".join(get_args(Init)))
        check(self.fill in get_args(Fill), "fill", " | ".join(get_args(Fill)))
        check(0 < self.coverage <= 1, "coverage", "above 0, at most 1")
        top = self.steps - self.hi - self.grid_shift
        check(0 <= self.renoise_shift <= top, "renoise_shift", f"0 to {top} (hi + shift stays within steps)")
        phases = ("invert", "cycle", "refine")
        check(set(self.negative_in) <= set(phases), "negative_in", "phases among " + ", ".join(phases))
        check(1 <= self.min_cycles <= 1000, "min_cycles", "1 to 1000")
        check(0 <= self.tolerance <= 1, "tolerance", "0 to 1")

    def with_steps(self, steps: int) -> SowConfig:
        """The same run on a finer or coarser grid: all levels move to the same share of the noise range."""
        if steps == self.steps:
            return self
        ratio = steps / self.steps

        def at(level: int) -> int:
            return max(round(level * ratio), 1)

        lo, hi = at(self.lo), at(self.hi)
        kept: tuple[int, ...] = ()
        if self.preserve:
            kept = tuple(range(min(at(max(self.preserve)), lo - 1), at(min(self.preserve)) - 1, -1))
        return replace(self, steps=steps, lo=lo, hi=max(hi, lo + 1), preserve=kept)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SowConfig:
        """Raises SowError on an unknown key or a value of the wrong type or out of range."""
        return read_record(cls, values, strict=True)


PRESETS: dict[str, SowConfig] = {
    "normal": SowConfig(),
    "attribute": SowConfig(preserve=(4,), refine_eta=0.1),
    "style": SowConfig(preserve=(4,), refine_eta=1.0),
    "fast": SowConfig(cycles=2, init="noise", inversion_stride=7, unguided_tail=5),
    "cow_official": SowConfig(
        cycles=10,
        preserve=(4,),
        refine_eta=0.1,
        unguided_tail=0,
        inversion_guidance=7.5,
        inversion_stride=1,
        invert_on="crop",
        fill="gray",
        modulation=None,
        renoise_shift=1,
        extra_rows=True,
        negative_in=("cycle",),
    ),
}
"""Settings by name. normal, attribute, style: the paper's three tasks. fast: ours. cow_official: the predecessor."""


def preset(name: str) -> SowConfig:
    """The config of a preset. Raises SowError, with the names there are, if it is unknown."""
    if name not in PRESETS:
        raise SowError(f"Unknown preset {name!r}: expected one of {', '.join(PRESETS)}.")
    return PRESETS[name]


@dataclass(frozen=True)
class Cost:
    """Model calls, and rows (one latent through the UNet once) at canvas and at crop size, per image."""

    calls: int = 0
    rows: int = 0
    crop_rows: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.calls + other.calls, self.rows + other.rows, self.crop_rows + other.crop_rows)


@dataclass(frozen=True)
class Encode:
    """VAE-encode the canvas and the conditions' crops, whichever the run reads (means, not samples)."""

    canvas: bool
    crops: bool = True
    cost = Cost()


@dataclass(frozen=True)
class Invert:
    """DDIM inversion of latents from level 0 to `level`, all levels stored. condition None: the canvas."""

    level: int
    guidance: Guidance
    condition: int | None
    stride: int

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
    cost = Cost()


@dataclass(frozen=True)
class SeedCanvas:
    """The starting state of the canvas at `level`, from its inversion, its forward noising, or nothing."""

    kind: Init
    level: int
    cost = Cost()


@dataclass(frozen=True)
class Renoise:
    """One jump of forward diffusion from level `lo` up to `hi` (Eq. 1-2); `shift` moves only the ratio."""

    lo: int
    hi: int
    shift: int
    cycle: int
    cost = Cost()


@dataclass(frozen=True)
class Place:
    """One-way replacement: write the stored latents of `level` into the condition's cells."""

    level: int
    cycle: int | None
    cost = Cost()


@dataclass(frozen=True)
class Denoise:
    """One guided model call at `level` and a DDIM(eta) step down; cycle None: the refine."""

    level: int
    eta: float
    guidance: Guidance
    modulate: bool
    cycle: int | None

    @property
    def cost(self) -> Cost:
        return Cost(1, len(self.guidance.rows))


@dataclass(frozen=True)
class EndCycle:
    """Mark the end of a cycle: preview, and the adaptive stop."""

    cycle: int
    cost = Cost()


@dataclass(frozen=True)
class Decode:
    """VAE-decode the canvas."""

    cost = Cost()


Op = Encode | Invert | NoiseTrajectory | SeedCanvas | Renoise | Place | Denoise | EndCycle | Decode


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

    def describe(self) -> Iterator[str]:
        """One line per op with its calls and rows (cycles that repeat the one before in one line), the total."""
        shown: list[str] = []
        for cycle, group in groupby(self.ops, key=lambda op: getattr(op, "cycle", None)):
            lines = [_line(op) for op in group]
            if lines != shown:
                yield from ([f"cycle {cycle}:"] if cycle is not None else []) + lines
            elif cycle == self.config.cycles - 1 or cycle is None:
                yield f"... the same until cycle {cycle}"
            shown = lines
        total = self.cost
        yield f"total: {total.calls} calls, {total.rows} rows at canvas size, {total.crop_rows} at crop size"


def _line(op: Op) -> str:
    values = ", ".join(f"{f.name}={_short(getattr(op, f.name))}" for f in fields(op) if f.name != "cycle")
    cost = op.cost
    what = ""
    if cost.calls:
        rows = f"{cost.rows} rows" if cost.rows else f"{cost.crop_rows} crop rows"
        what = f"  [{cost.calls} call{'s' if cost.calls > 1 else ''}, {rows}]"
    return f"  {type(op).__name__} {values}{what}".rstrip()


def _short(value: object) -> str:
    if isinstance(value, Guidance):
        inside = "" if value.inside is None else f" inside {value.inside:g}"
        return f"<{value.scale:g}{inside}: {'+'.join(value.rows)}>"
    return f"{value:g}" if isinstance(value, float) else str(value)


def build_plan(config: SowConfig, conditions: int = 1) -> Plan:
    """The plan of a config for a number of conditions (Algorithm 1 of the paper, every choice a setting)."""
    if conditions < 1:
        raise SowError("No condition: expected at least one picture to keep.")
    hi, lo = config.hi + config.grid_shift, config.lo + config.grid_shift
    kept = {k + config.grid_shift for k in config.preserve}

    def guidance(phase: str) -> Guidance:
        negative = NEGATIVE if phase in config.negative_in else EMPTY
        if phase == "invert":
            return Guidance(config.inversion_guidance, negative=negative)
        if phase == "cycle":
            return Guidance(config.guidance, negative=negative, extra=config.extra_rows)
        return Guidance(config.guidance, inside=config.guidance_inside, negative=negative)

    def invert(level: int, condition: int | None) -> Invert:
        return Invert(level, guidance("invert"), condition, config.inversion_stride)

    slice_canvas = config.trajectory == "invert" and config.invert_on == "canvas"
    ops: list[Op] = [Encode(canvas=config.init != "none" or slice_canvas, crops=not slice_canvas)]
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
    for cycle in range(config.cycles):
        if cycle > 0 or seeded == lo:
            ops.append(Renoise(lo, hi, config.renoise_shift, cycle))
        ops.append(Place(hi, cycle))
        for level in range(hi, lo, -1):
            ops.append(Denoise(level, config.cycle_eta, guidance("cycle"), modulate, cycle))
            ops.append(Place(level - 1, cycle))
        ops.append(EndCycle(cycle))
    for level in range(lo, 0, -1):
        guided = guidance("refine") if level > config.unguided_tail else Guidance(1.0)
        ops.append(Denoise(level, config.refine_eta, guided, False, None))
        if level - 1 in kept:
            ops.append(Place(level - 1, None))
    ops.append(Decode())
    return Plan(config, tuple(ops))
