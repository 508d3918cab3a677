"""What shapes a run: one frozen class of settings.

Defaults marked [paper] are stated in arXiv 2411.19182, [COW] are read off its predecessor's behaviour, [ours] are in
neither.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from ..outside.records import check_record, read_record, require
from .separation import Separation
from .strength import Modulation

Trajectory = Literal["invert", "noise", "noise_fresh"]
Init = Literal["invert", "noise", "none"]
InvertOn = Literal["crop", "canvas"]
Fill = Literal["gray", "keep", "extend"]

NEGATIVE_PROMPT = "a bad quality and low-resolution image, extra fingers, deformed hands"
"""The paper's negative prompt [paper]."""


MOST_CALLS = 20_000
"""Model calls of all cycles together: hours on any machine, and a plan that is still told in a second."""

PHASES = ("invert", "cycle", "refine")
"""Of a run's model calls."""


@dataclass(frozen=True)
class Predecessor:
    """Choices that only repeat the predecessor's code [COW], for parity with it.

    grid_shift: 0: level 7 is t = 601, as the predecessor evaluates it; 1: the literal t = 701.
    renoise_shift: 1 repeats the predecessor's off-by-one of the re-noising ratio.
    extra_rows: the predecessor's four-row guidance in the cycle (needs suppress and diverse prompts).
    negative_in: phases that use the negative prompt; elsewhere the empty prompt takes its place.
    """

    grid_shift: int = 0
    renoise_shift: int = 0
    extra_rows: bool = False
    negative_in: tuple[str, ...] = PHASES

    def __post_init__(self) -> None:
        check_record(self)
        require(self.grid_shift in (0, 1), "grid_shift", self.grid_shift, "0 or 1")
        require(self.renoise_shift >= 0, "renoise_shift", self.renoise_shift, "0 or more")
        named = "phases among " + ", ".join(PHASES)
        require(set(self.negative_in) <= set(PHASES), "negative_in", self.negative_in, named)


GROUPED = frozenset(f.name for f in fields(Predecessor))
"""Settings that stood in `SowConfig` itself before they had a class of their own; their plain names are still read."""


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
    picture_guidance: scale 0..100 of a guidance of the cycle towards the condition, outside of it [ours]; each
      call of the cycle then needs one more, of a single row. 0: none.
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
    modulation: dynamic attention modulation; None: off.
    separate: keep named things of the prompt apart, see `Separation`; None: off.
    predecessor: what only repeats the predecessor, see `Predecessor`.
    adaptive: stop cycling an image when its x0 prediction stops changing less from cycle to cycle.
    min_cycles, tolerance: fewest cycles then, and the relative change (0..1) that counts as "stopped".
    level_shift: noise-to-signal of every level of a flow model over Stable Diffusion's, above 0 to 100 [ours]; 1: the
      same levels on every model. Stable Diffusion ignores it.
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
    separate: Separation | None = None
    predecessor: Predecessor = field(default_factory=Predecessor)
    adaptive: bool = False
    min_cycles: int = 3
    tolerance: float = 0.05
    picture_guidance: float = 0.0
    level_shift: float = 1.0

    def __post_init__(self) -> None:
        """Raises SowError for a value of another type or out of its range."""
        check_record(self)

        def check(ok: bool, name: str, expected: str) -> None:
            require(ok, name, getattr(self, name), expected)

        shift, more = self.predecessor.grid_shift, self.predecessor.renoise_shift
        check(1 <= self.steps <= 1000, "steps", "1 to 1000")
        check(self.hi + shift <= self.steps, "hi", f"at most {self.steps - shift} (steps)")
        check(0 <= self.lo < self.hi, "lo", f"0 to {self.hi - 1} (below hi)")
        check(0 <= self.cycles <= 1000, "cycles", "0 to 1000")
        most = MOST_CALLS // (self.hi - self.lo)
        check(self.cycles <= most, "cycles", f"at most {most} of {self.hi - self.lo} levels each ({MOST_CALLS} calls)")
        check(all(0 <= k < self.lo for k in self.preserve), "preserve", f"levels 0 to {self.lo - 1} (below lo)")
        check(0 <= self.cycle_eta <= 1, "cycle_eta", "0 to 1")
        check(0 <= self.refine_eta <= 1, "refine_eta", "0 to 1")
        check(1 <= self.guidance <= 100, "guidance", "1 to 100")
        inside = self.guidance_inside
        check(inside is None or 0 <= inside <= 100, "guidance_inside", "0 to 100, or none")
        check(0 <= self.picture_guidance <= 100, "picture_guidance", "0 to 100")
        check(0 < self.level_shift <= 100, "level_shift", "above 0, at most 100")
        check(0 <= self.unguided_tail <= 1000, "unguided_tail", "0 to 1000")
        check(1 <= self.inversion_guidance <= 100, "inversion_guidance", "1 to 100")
        check(1 <= self.inversion_stride <= 1000, "inversion_stride", "1 to 1000")
        check(self.trajectory in get_args(Trajectory), "trajectory", " | ".join(get_args(Trajectory)))
        check(self.invert_on in get_args(InvertOn), "invert_on", " | ".join(get_args(InvertOn)))
        check(self.init in get_args(Init), "init", " | ".join(get_args(Init)))
        check(self.fill in get_args(Fill), "fill", " | ".join(get_args(Fill)))
        check(0 < self.coverage <= 1, "coverage", "above 0, at most 1")
        top = self.steps - self.hi - shift
        require(more <= top, "renoise_shift", more, f"0 to {top} (hi + shift stays within steps)")
        check(1 <= self.min_cycles <= 1000, "min_cycles", "1 to 1000")
        check(0 <= self.tolerance <= 1, "tolerance", "0 to 1")

    def changed(self, **changes: Any) -> SowConfig:
        """`replace` that takes the settings of the predecessor's group by their plain names as well."""
        group = {name: changes.pop(name) for name in GROUPED & set(changes)}
        if group:
            changes["predecessor"] = replace(changes.get("predecessor", self.predecessor), **group)
        return replace(self, **changes)

    def with_steps(self, steps: int) -> SowConfig:
        """The same run on a finer or coarser grid: all levels move to the same share of the noise range."""
        require(1 <= steps <= 1000, "steps", steps, "1 to 1000")
        if steps == self.steps:
            return self
        ratio = steps / self.steps

        def at(level: int) -> int:
            return max(round(level * ratio), 1)

        lo, hi = at(self.lo), at(self.hi)
        kept: tuple[int, ...] = ()
        if self.preserve:
            kept = tuple(range(min(at(max(self.preserve)), lo - 1), at(min(self.preserve)) - 1, -1))
        separate = self.separate and replace(self.separate, until=at(self.separate.until))
        return replace(self, steps=steps, lo=lo, hi=max(hi, lo + 1), preserve=kept, separate=separate)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SowConfig:
        """From JSON values, those of older versions too.

        Raises SowError on an unknown key or a value of the wrong type or out of range.
        """
        plain = {name: values[name] for name in GROUPED & set(values)} if isinstance(values, dict) else {}
        if plain:
            group = values.get("predecessor") or {}
            values = {name: value for name, value in values.items() if name not in GROUPED}
            values["predecessor"] = {**group, **plain} if isinstance(group, dict) else group
        return read_record(cls, values, strict=True)
