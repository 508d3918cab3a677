"""Every scripted answer through every real package: what our adapter makes of it and what the user sees."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass, replace
from pathlib import Path

from sow_core.planning.config import Config
from sow_core.planning.errors import PlannerError
from sow_core.planning.patience import Limits
from sow_core.planning.planner import PlannerOptions, plan_layout
from sow_core.planning.request import PlanRequest
from sow_core.planning.schema import LayoutPlan

from .cases import FACE
from .loopback import SCENE, Loopback

KEY = "AIzaTest-5e3c7e7b0f0d4c5f9a1b-keepme"
SERVICES = ("google-genai", "google-generativeai", "openai-compatible")
LIMITS = Limits(timeout=5.0, budget=20.0, attempts=3, longest_wait=1.0, waits=(0.05, 0.1))
"""As the real ones but shorter; still generous, for machines with other work to do."""
HURRIED = replace(LIMITS, timeout=0.5)
"""For the server that does not answer in time."""

CASES = {
    # what comes: (our kind, None for a plan; requests made)
    "good": (None, 1),
    "fenced": (None, 1),
    "prose": (None, 1),
    "thought": (None, 1),
    "swapped-axes": (None, 1),
    "tiny": (None, 1),
    "future-finish": (None, 1),
    "truncated": ("bad_json", 2),
    "truncated-then-good": (None, 2),
    "out-of-range": ("bad_json", 2),
    "out-of-range-then-good": (None, 2),
    "empty": ("empty", 1),
    "no-candidates": ("empty", 1),
    "safety": ("blocked", 1),
    "blocked-prompt": ("blocked", 1),
    "bad-key": ("bad_key", 1),
    "unauthorized": ("bad_key", 1),
    "leaked-key": ("leaked_key", 1),
    "region": ("region", 1),
    "bad-request": ("other", 1),
    "gemini-1.5-pro": ("model_gone", 1),
    "quota-minute": (None, 2),
    "quota-minute-long": ("quota_minute", 1),
    "quota-day": ("quota_day", 1),
    "error-500": ("overloaded", 3),
    "overloaded-then-good": (None, 2),
    "html-502": ("overloaded", 3),
    "html-200": ("network", 1),
    "redirect": ("network", 1),
    "slow": ("timeout", 3),
    "dropped": ("network", 3),
    "refused": ("network", 0),
}

ASKED_LESS_STRICTLY = {"bad-request": 3}
"""Requests where an OpenAI-compatible server is asked again without a schema, which it may not know."""

GEMINI_ONLY = ("no-candidates", "blocked-prompt")
"""Shapes that an OpenAI-compatible server has no counterpart of."""


@dataclass(frozen=True)
class Outcome:
    """`kind` is None for a plan; `said` is the error or the plan's notes."""

    kind: str | None
    said: str
    requests: int
    plan: LayoutPlan | None
    error: PlannerError | None


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def configure(folder: Path, base: str) -> Config:
    """A config file as a user would write it, with both services at `base`."""
    folder.mkdir(parents=True, exist_ok=True)
    profile = {"base_url": f"{base}/v1", "api_key": KEY, "model": "good"}
    content = {"gemini": {"api_key": KEY, "base_url": base}, "profiles": {"local": profile}}
    (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
    return Config.load(folder)


def run_case(service: str, case: str, server: Loopback, folder: Path, mode: str = "combined") -> Outcome:
    """One plan for a face with one service and one script."""
    base = f"http://127.0.0.1:{closed_port()}" if case == "refused" else server.base
    config = configure(folder, base)
    limits = HURRIED if case == "slow" else LIMITS
    options = PlannerOptions(service, case, mode=mode, on_failure="stop", limits=limits)
    before = len(server.calls())
    try:
        plan = plan_layout(PlanRequest(SCENE, (FACE,)), options, config)
    except PlannerError as error:
        return Outcome(error.kind, str(error), len(server.calls()) - before, None, error)
    return Outcome(None, "; ".join(plan.adjustments), len(server.calls()) - before, plan, None)
