"""The interpreter: runs a plan on a backend and yields an event for every model call.

It holds no formula and no decision of its own; those are in schedule, guidance, modulation and plan.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ..errors import SowError
from . import separation
from .backend import Backend
from .encoded import EncodedLayout, check_finite
from .guidance import POSITIVE, Guidance
from .modulation import AttentionControl
from .noise import NoiseSource
from .plan import (
    Decode,
    Denoise,
    Encode,
    EndCycle,
    Invert,
    NoiseTrajectory,
    Place,
    Plan,
    Renoise,
    SeedCanvas,
    Separate,
    Steer,
)
from .schedule import add_noise, ddim_step, invert_step, pure_noise, renoise, to_x0
from .trace import CallRecord, Event, Result, Trace

BLANK_SEED = 0x5EED_B1A4
"""Added to a picture's seed for the noise that stands in the condition's place (picture guidance)."""


@dataclass
class _State:
    x: Tensor
    images: list[int]
    """Indices of the batch that x holds: all, less what the adaptive stop has finished."""
    finished: dict[int, Tensor] = field(default_factory=dict)
    x0: Tensor | None = None
    previous: Tensor | None = None
    change: dict[int, float] = field(default_factory=dict)


class _Run:
    """One run's moving parts; each method interprets one kind of op."""

    def __init__(
        self, plan: Plan, backend: Backend, encoded: EncodedLayout, seeds: Sequence[int], noise: NoiseSource
    ) -> None:
        self.plan = plan
        self.backend = backend
        self.encoded = encoded
        self.layout = layout = encoded.layout
        self.noise = noise
        self.count = len(seeds)
        self.trace = Trace(cycles=[0] * self.count)
        self.schedule = backend.schedule(plan.config.steps, plan.config.level_shift)
        device = backend.device
        self.inside = layout.regions.any_condition.to(device)[None, None]
        self.total = plan.cost.calls
        self.stored: dict[int, Tensor] = {}
        """Trajectory on the canvas, by level: [1, C, h, w], zero outside the conditions."""
        self.canvas_levels: dict[int, Tensor] = {}
        self.fixed_noise: Tensor | None = None
        self.control: AttentionControl | None = None
        modulation = plan.config.modulation
        if modulation is not None and any(isinstance(op, Denoise) and op.modulate for op in plan.ops):
            self.control = AttentionControl(layout.regions, modulation, self.count, device)
        self.state = _State(torch.empty(0), list(range(self.count)))
        self.blank_noise = NoiseSource([seed + BLANK_SEED for seed in seeds], device)

    # -- trajectories

    def take(self, op: Encode) -> None:
        """The encoding that was done before; here it is only looked whether all of it is there."""
        for needed, there, name in (
            (op.canvas, self.encoded.canvas is not None, "canvas"),
            (op.crops, bool(self.encoded.crops), "crops"),
        ):
            if needed and not there:
                raise SowError(f"The layout was encoded without its {name}; encode it again for these settings.")

    def invert(self, op: Invert) -> Iterator[Event]:
        on_canvas = op.condition is None
        z = self._canvas_latent() if on_canvas else self.encoded.crops[op.condition]  # type: ignore[index]
        levels = [z]
        inside = self.inside if on_canvas else None
        for below, stop in pairwise((0, *op.stops)):
            eps = op.guidance.combine(self._predict(z, stop, op.guidance), inside)
            clean = to_x0(z, eps, self.schedule, below)
            levels += [invert_step(z, eps, self.schedule, below, k) for k in range(below + 1, stop + 1)]
            z = levels[-1]
            yield self._called(op.phase, stop, None, op.guidance.rows, clean)
        check_finite(z, "the inversion")
        for level, latent in enumerate(levels):
            if on_canvas:
                self.canvas_levels[level] = latent
                if self.plan.config.invert_on == "canvas" and self.plan.config.trajectory == "invert":
                    self.stored[level] = latent * self.inside
            else:
                self._store(level, latent, op.condition)  # type: ignore[arg-type]

    def noise_trajectory(self, op: NoiseTrajectory) -> None:
        for index, latent in enumerate(self.encoded.crops):
            self._store(0, latent, index)
        if not op.fresh:
            self.fixed_noise = self._draw()

    def _store(self, level: int, crop: Tensor, index: int) -> None:
        """Write a crop's latent into the canvas-sized trajectory; a later condition covers an earlier one."""
        box = self.layout.conditions[index].box
        y, x = box.y // self.layout.cell, box.x // self.layout.cell
        owned = self.layout.regions.condition[index].to(crop)[None, None]
        base = self.stored.get(level)
        if base is None:
            base = crop.new_zeros(1, crop.shape[1], *owned.shape[-2:])
        whole = torch.zeros_like(base)
        whole[:, :, y : y + crop.shape[2], x : x + crop.shape[3]] = crop
        self.stored[level] = torch.where(owned > 0.5, whole, base)

    def _at_level(self, level: int) -> Tensor:
        """The condition's latents at a level, [1 or N, C, h, w]."""
        if level == 0 or self.plan.config.trajectory == "invert":
            return self.stored[level]  # level 0 is the picture itself, not a first touch of noise
        noise = self._draw() if self.fixed_noise is None else self.fixed_noise[self.state.images]
        return add_noise(self.stored[0], noise, self.schedule, level)

    # -- the canvas

    def seed_canvas(self, op: SeedCanvas) -> None:
        if op.kind == "invert":
            self.state.x = self.canvas_levels[op.level].expand(self.count, -1, -1, -1)
        elif op.kind == "noise":
            self.state.x = add_noise(self._canvas_latent(), self._draw(), self.schedule, op.level)
        else:
            self.state.x = pure_noise(self._draw(), self.schedule, op.level)

    def renoise(self, op: Renoise) -> None:
        noise = self._draw()
        self.state.x = renoise(self.state.x, noise, self.schedule, op.lo + op.shift, op.hi + op.shift)

    def place(self, op: Place) -> None:
        self.state.x = torch.where(self.inside > 0.5, self._at_level(op.level), self.state.x)

    def denoise(self, op: Denoise) -> Iterator[Event]:
        control = self.control if op.modulate else None
        gate = measured = blank = None
        if control is not None:
            control.begin(op.cycle)
            gate = control.gate if op.cycle is not None and control.enhances else None
        x = self.state.x
        predicted = self._predict(x, op.level, op.guidance, control)
        if control is not None and op.cycle is not None:  # the refine has no gate
            measured = control.end()
            if control.mass_map is not None:
                self.trace.masses.append((op.cycle, control.mass_map))
        if op.guidance.picture > 0:
            blank = self.backend.predict(self._without_condition(x, op.level), self.schedule, op.level, (POSITIVE,))[0]
        eps = op.guidance.combine(predicted, self.inside, blank)
        noise = self._draw() if op.eta > 0 else None
        self.state.x0 = to_x0(x, eps, self.schedule, op.level)
        self.state.x = ddim_step(x, eps, self.schedule, op.level, op.level - 1, op.eta, noise)
        if blank is not None:
            yield self._called("picture", op.level, op.cycle, (POSITIVE,), self.state.x0)
        yield self._called(op.phase, op.level, op.cycle, op.guidance.rows, self.state.x0, measured, gate)

    def _without_condition(self, x: Tensor, level: int) -> Tensor:
        """The state with the noised colour of the canvas (its cells' median) in the condition's place.

        The noise has generators of its own, so that the run's is the same with and without picture guidance.
        """
        outside = self._canvas_latent()[:, :, self.inside[0, 0] < 0.5]
        if outside.shape[-1] == 0:
            return x
        colour = outside.median(dim=-1).values[:, :, None, None].expand(-1, -1, *x.shape[-2:])
        noise = self.blank_noise.draw(x.shape[1:], self.state.images)
        return torch.where(self.inside > 0.5, add_noise(colour, noise, self.schedule, level), x)

    def separate(self, op: Separate) -> Iterator[Event]:
        x, wanted = self.state.x, op.settings

        def objective(maps: Tensor) -> Tensor:
            return separation.loss(maps, wanted.beta)

        pull = self.backend.pull(x, self.schedule, op.level, objective, wanted.depth)
        moved = separation.step(x, pull.gradient, op.size, 1.0 - self.inside)
        needed = (pull.values > wanted.enough)[:, None, None, None]
        self.state.x = torch.where(needed, moved, x)
        clean = to_x0(x, pull.eps, self.schedule, op.level)
        yield self._called(op.phase, op.level, op.cycle, (POSITIVE,), clean, separated=pull.values)

    def steer(self, op: Steer) -> None:
        state = self.state
        if op.toward is None:
            raise ValueError("the plan steers, and nobody has said toward what")
        assert state.x0 is not None
        moved = separation.step(state.x0, -op.toward(state.x0), op.size, 1.0 - self.inside)
        # The noise that the model saw stays: the state moves as its clean part does.
        state.x = state.x + self.schedule.a[op.level - 1] * (moved - state.x0)
        state.x0 = moved

    def end_cycle(self, op: EndCycle) -> Iterator[Event]:
        state = self.state
        assert state.x0 is not None
        for image in state.images:
            self.trace.cycles[image] = op.cycle + 1
        preview = state.x0
        if state.finished:
            preview = self.trace.previews[-1].clone()
            preview[state.images] = state.x0
        self.trace.previews.append(preview)
        if self.plan.config.adaptive:
            self._stop_settled(op.cycle)
        calls = len(self.trace.calls)
        yield Event("cycle", "cycle", calls, self.total, 0, op.cycle, preview)

    def _stop_settled(self, cycle: int) -> None:
        """Take images out of the batch whose change from cycle to cycle has stopped falling.

        The cycle is a Markov chain: its x0 predictions never settle pointwise, so the stop asks whether
        the *change* of the surroundings still falls by more than the tolerance (ours).
        """
        state, config = self.state, self.plan.config
        assert state.x0 is not None
        previous, state.previous = state.previous, state.x0
        if previous is None:
            return
        outside = 1.0 - self.inside
        area = (outside.sum() * state.x0.shape[1]).clamp(min=1.0)
        moved = (((state.x0 - previous) * outside).square().sum(dim=(1, 2, 3)) / area).sqrt().tolist()
        keep = []
        for position, image in enumerate(state.images):
            before = state.change.get(image)
            state.change[image] = moved[position]
            settled = before is not None and before - moved[position] <= config.tolerance * before
            if settled and cycle + 1 >= config.min_cycles:
                state.finished[image] = state.x[position : position + 1]
            else:
                keep.append(position)
        if len(keep) < len(state.images):
            state.images = [state.images[p] for p in keep]
            state.x, state.previous = state.x[keep], state.previous[keep]
            if self.control is not None:
                self.control.select(keep)

    def gather(self) -> None:
        """Put the images that the adaptive stop has finished back in their places."""
        state = self.state
        if state.finished:
            rows = {image: state.x[n : n + 1] for n, image in enumerate(state.images)} | state.finished
            state.x = torch.cat([rows[image] for image in range(self.count)])
            state.images, state.finished = list(range(self.count)), {}

    def finish(self, op: Decode) -> Iterator[Event]:
        check_finite(self.state.x, "the final latents")
        result = Result(self.state.x, self.trace)
        yield Event("done", "decode", len(self.trace.calls), self.total, result=result)

    # -- helpers

    def _predict(self, x: Tensor, level: int, guidance: Guidance, control: AttentionControl | None = None) -> Tensor:
        return self.backend.predict(x, self.schedule, level, guidance.rows, control, guidance.embedded)

    def _called(
        self,
        phase: str,
        level: int,
        cycle: int | None,
        rows: tuple[str, ...],
        x0: Tensor,
        measured: Tensor | None = None,
        gate: Tensor | None = None,
        separated: Tensor | None = None,
    ) -> Event:
        images = tuple(self.state.images) if phase != "invert" else ()
        record = CallRecord(phase, cycle, level, self.schedule.t[level], rows, images, measured, gate, separated)
        self.trace.calls.append(record)
        return Event("call", phase, len(self.trace.calls), self.total, level, cycle, x0)

    def _draw(self) -> Tensor:
        shape = (self.encoded.channels, self.layout.regions.height, self.layout.regions.width)
        return self.noise.draw(shape, self.state.images)

    def _canvas_latent(self) -> Tensor:
        assert self.encoded.canvas is not None
        return self.encoded.canvas


STEPS: dict[type, Callable[[_Run, Any], Iterator[Event] | None]] = {
    Encode: _Run.take,
    Invert: _Run.invert,
    NoiseTrajectory: _Run.noise_trajectory,
    SeedCanvas: _Run.seed_canvas,
    Renoise: _Run.renoise,
    Place: _Run.place,
    Separate: _Run.separate,
    Denoise: _Run.denoise,
    Steer: _Run.steer,
    EndCycle: _Run.end_cycle,
    Decode: _Run.finish,
}
"""Which method interprets which op; those that call the model or end something yield events."""


@torch.no_grad()
def _interpret(run: _Run) -> Iterator[Event]:
    for op in run.plan.ops:
        if op.cycle is not None and not run.state.images:
            continue  # every image has stopped cycling
        if op.phase in ("refine", "decode"):
            run.gather()
        started = time.perf_counter()
        yield from STEPS[type(op)](run, op) or ()
        run.trace.add_seconds(op.phase, time.perf_counter() - started)


def run(
    plan: Plan, backend: Backend, encoded: EncodedLayout, seeds: Sequence[int], noise: NoiseSource | None = None
) -> Iterator[Event]:
    """Run a plan for N = len(seeds) pictures that share encoding and inversion; the last event has the result.

    encoded: the layout with the latents that the plan reads, on the backend's device in the model's scale.
    Closing the iterator early (a cancel) or an error leaves the backend's model as it was. `noise` replaces
    the generators seeded by `seeds` (to replay recorded noise). Raises SowError if values stop being finite.
    """
    if not seeds:
        raise SowError("No seed: expected at least one.")
    needed = sum(isinstance(op, Invert) and op.condition is not None for op in plan.ops)
    if needed and needed != len(encoded.layout.conditions):
        raise ValueError(f"the plan is for {needed} conditions, the layout has {len(encoded.layout.conditions)}")
    with backend.session():
        yield from _interpret(_Run(plan, backend, encoded, seeds, noise or NoiseSource(seeds, backend.device)))


def generate(
    plan: Plan,
    backend: Backend,
    encoded: EncodedLayout,
    seeds: Sequence[int],
    progress: Callable[[Event], object] | None = None,
) -> Result:
    """`run` to its end. `progress` sees every event; what it raises stops the run cleanly."""
    events = run(plan, backend, encoded, seeds)
    try:
        for event in events:
            if progress is not None:
                progress(event)
            if event.result is not None:
                return event.result
    finally:
        events.close()  # type: ignore[attr-defined]
    raise RuntimeError("the plan has no Decode")
