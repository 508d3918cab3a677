"""What a run reports: an event for each model call, the trace, the result."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import Tensor

from .. import __version__


@dataclass(frozen=True)
class CallRecord:
    """One model call: its phase, cycle, level, timestep, rows; per image the indicator it measured and its gate."""

    phase: str
    cycle: int | None
    level: int
    timestep: float
    rows: tuple[str, ...]
    images: tuple[int, ...]
    indicator: Tensor | None = None
    """[N, K] on the backend's device; read it after the run."""
    gate: Tensor | None = None
    """What E was multiplied with in this call, [N, K] in 0..1: 0 closed, 1 open."""
    separation: Tensor | None = None
    """[N]: the loss of the named things before a step of separation."""

    def on_cpu(self) -> CallRecord:
        """The same for a cache that outlives the run, off the GPU."""
        found = {name: getattr(self, name) for name in ("indicator", "gate", "separation")}
        return replace(self, **{name: value.cpu() for name, value in found.items() if value is not None})


@dataclass
class Trace:
    """What a run did: for reports, sheets and diagnostics."""

    calls: list[CallRecord] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    previews: list[Tensor] = field(default_factory=list)
    """x0 prediction [N, C, h, w] at the end of each cycle; stopped images keep their last one."""
    masses: list[tuple[int, Tensor]] = field(default_factory=list)
    """(cycle, attention on the conditions [n, h', w']) per modulated call."""
    cycles: list[int] = field(default_factory=list)
    """Cycles run, per image."""

    def add_seconds(self, phase: str, seconds: float) -> None:
        """Time spent on a phase, on top of what it has."""
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds

    def mean_gate(self, image: int | None = None) -> float | None:
        """Mean over conditions and gated calls, of one image or all; None where nothing was enhanced.

        A run's first call is left out: nothing has been measured yet, so it is never gated.
        """
        seen = [
            (c.gate if image is None else c.gate[c.images.index(image)]).float().mean()
            for c in self.calls
            if c.gate is not None and (image is None or image in c.images)
        ][1:]
        return float(sum(seen)) / len(seen) if seen else None

    def as_dict(self) -> dict[str, Any]:
        """JSON values; indicators and gates as one list per call, [image][condition]."""
        calls = []
        for c in self.calls:
            measured = {"indicator": c.indicator, "gate": c.gate}
            calls.append(
                {"phase": c.phase, "cycle": c.cycle, "level": c.level, "timestep": c.timestep, "rows": list(c.rows)}
                | {k: [[_number(v) for v in row] for row in x.tolist()] for k, x in measured.items() if x is not None}
                | ({} if c.separation is None else {"separation": [_number(v) for v in c.separation.tolist()]})
            )
        gate = self.mean_gate()
        return {
            "version": __version__,
            "model_calls": len(self.calls),
            "cycles": self.cycles,
            "mean_gate": None if gate is None else round(gate, 5),
            "seconds": {k: round(v, 4) for k, v in self.seconds.items()},
            "calls": calls,
        }


def _number(value: float) -> float | None:
    return None if value != value else round(value, 5)


@dataclass(frozen=True)
class Result:
    """Finished latents [N, C, h, w] in the model's scale, for whoever has the VAE to decode; the trace."""

    latents: Tensor
    trace: Trace


@dataclass(frozen=True)
class Event:
    """kind "call": a model call has ended, x0 is its clean prediction; "cycle": a cycle has; "done": the result.

    call counts from 1 to total (the plan's upper bound; an adaptive stop ends below it).
    """

    kind: Literal["call", "cycle", "done"]
    phase: str
    call: int
    total: int
    level: int = 0
    cycle: int | None = None
    x0: Tensor | None = None
    result: Result | None = None
