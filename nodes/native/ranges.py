"""What is limited to a part of the noise range that a run never sees: said, because it silently has no effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...sow_core.method.plan import Plan
from .flow import is_flow, percent_of
from .guidance import PATCHES


def highest_level(plan: Plan) -> int:
    """The noisiest level at which the plan asks the model."""
    return max(getattr(op, "level", 0) for op in plan.ops if op.cost.calls)


def never_acting(
    conds: Mapping[str, Sequence[Mapping[str, Any]]], options: Mapping[str, Any], sampling: Any, sigma: float
) -> list[str]:
    """Lines about prompts, ControlNets and patches that end before the run begins.

    conds: the guider's prompts by row, as the host has prepared them; sampling: the model's `model_sampling`;
    sigma: the noise of the run's noisiest call.
    """
    start = _percent(sampling, sigma)
    lines = []
    for row, prompts in conds.items():
        for prompt in prompts:
            end = prompt.get("timestep_end")
            if end is not None and _before(end, sigma):
                lines.append(f"A {row} prompt is limited to the first {_percent(sampling, end):.0%} of the steps")
            lines += [f"A ControlNet is limited to the first {_percent(sampling, end):.0%} of the steps"
                      for end in _control_ends(prompt.get("control")) if _before(end, sigma)]
    lines += [f"A patch of the model ends at {_percent(sampling, end):.0%} of the steps"
              for end in _patch_ends(options) if _before(end, sigma)]
    return [f"{line} and never acts: a SOW run begins at {start:.0%} of them." for line in dict.fromkeys(lines)]


def _before(end: float, sigma: float) -> bool:
    """Whether what acts down to the noise `end` is over at `sigma`."""
    return float(end) > sigma * (1 + 1e-4)


def _percent(sampling: Any, sigma: Any) -> float:
    """The share of the noise range that lies above `sigma`, as the host's nodes count it."""
    import torch

    sigma = float(sigma)
    if sigma >= float(sampling.sigma_max):
        return 0.0
    if is_flow(sampling):
        return percent_of(sampling, sigma)
    return 1.0 - float(sampling.timestep(torch.tensor(sigma))) / (len(sampling.sigmas) - 1)


def _control_ends(control: Any) -> Iterator[float]:
    while control is not None:
        window = getattr(control, "timestep_range", None)
        if window is not None:
            yield float(window[1])
        control = getattr(control, "previous_controlnet", None)


def _patch_ends(options: Mapping[str, Any]) -> Iterator[float]:
    """Where patches end that are closures over a `sigma_end`, as Deep Shrink's and others of the host are."""
    patches = (options.get("transformer_options") or {}).get("patches") or {}
    functions = [f for found in patches.values() for f in found]
    functions += [f for name in PATCHES[1:] for f in options.get(name, ())]
    for function in functions:
        names = getattr(getattr(function, "__code__", None), "co_freevars", ())
        if "sigma_end" in names:
            yield float(function.__closure__[names.index("sigma_end")].cell_contents)
