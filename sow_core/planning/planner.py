"""The one way to a plan: choose the planner, look into the cache, ask, and fall back openly."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import SowError
from . import cache, instructions
from .config import Access, Config
from .errors import PlannerError
from .language import MODES, LanguagePlanner
from .offline import plan_offline
from .patience import Limits, Patience
from .request import PlanRequest
from .schema import LayoutPlan
from .services import (
    GOOGLE_GENAI,
    GOOGLE_GENERATIVEAI,
    OPENAI_COMPATIBLE,
    Service,
    best_google,
    open_service,
)

DEFAULT_MODEL = "gemini-3.8-flash"
PLANNERS = ("offline", "auto", "gemini", GOOGLE_GENAI, GOOGLE_GENERATIVEAI, OPENAI_COMPATIBLE)
"""offline: rules, no network. auto: gemini if a package and a key are there, else offline. gemini: google-genai
if installed, else google-generativeai."""

FAILURES = ("offline", "stop")


@dataclass(frozen=True)
class PlannerOptions:
    """How to plan. model and profile: "" for the configured ones. refresh: another number asks anew instead of
    taking the cached plan. seed: best effort, where the service takes one. on_failure: what to do when a language
    model cannot be asked.
    """

    planner: str = "offline"
    model: str = ""
    profile: str = ""
    mode: str = "combined"
    refresh: int = 0
    seed: int = 0
    on_failure: str = "offline"
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("planner", self.planner, PLANNERS),
            ("mode", self.mode, MODES),
            ("on_failure", self.on_failure, FAILURES),
        ):
            if value not in allowed:
                raise SowError(f"Bad {name} {value!r}: expected one of {', '.join(allowed)}.")


def plan_layout(
    request: PlanRequest,
    options: PlannerOptions | None = None,
    config: Config | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> LayoutPlan:
    """A plan for `request`. Raises SowError for what the user can mend; PlannerError (a SowError) if the language
    model fails and `on_failure` is "stop", or if `cancelled` returns true.

    config: the user's settings, loaded only if a language model may be asked. With `on_failure` "offline" a failed
    language model gives an offline plan whose source and adjustments say so; it is not cached.
    """
    options = options or PlannerOptions()
    if options.planner == "offline":
        return plan_offline(request)
    config = config if config is not None else Config.load()
    try:
        access = find_access(options, config)
        if options.planner == "auto" and not (best_google() and access.key):
            missing = "key" if best_google() else "package"
            plan = plan_offline(request)
            return _noted(plan, f"planned offline: no Gemini {missing} is set up")
        return _ask(request, options, config, access, cancelled)
    except PlannerError as error:
        if error.kind == "cancelled" or options.on_failure == "stop":
            raise
        failure = error
    plan = plan_offline(request)
    source = {**plan.source, "planner": f"offline ({options.planner} failed: {failure.kind})"}
    return _noted(replace(plan, source=source), f"planned offline because: {failure}", first=True)


def find_access(options: PlannerOptions, config: Config) -> Access:
    """How to reach the service that `options` name."""
    if options.planner == OPENAI_COMPATIBLE:
        return config.profile(options.profile)
    return config.gemini()


def connect(options: PlannerOptions, config: Config, access: Access | None = None) -> Service:
    """The service that `options` name, ready to be asked. Raises PlannerError."""
    access = access or find_access(options, config)
    name = options.planner
    if name in ("auto", "gemini"):
        name = best_google() or GOOGLE_GENAI
    return open_service(name, access, model_of(options, access), options.seed, config.shown)


def model_of(options: PlannerOptions, access: Access) -> str:
    """The model's name. It becomes part of an address, and a workflow can set it: raises SowError for no name."""
    default = "" if options.planner == OPENAI_COMPATIBLE else DEFAULT_MODEL
    name = options.model.strip().removeprefix("models/") or access.model or default
    if name and (not re.fullmatch(r"[A-Za-z0-9][\w.:/@+-]{0,119}", name) or ".." in name):
        raise SowError(f"Bad model {name[:60]!r}: expected a name such as {DEFAULT_MODEL}.")
    return name


def has_gemini(config: Config) -> bool:
    """Whether a plan with Gemini can be tried: a package and a key are there."""
    return bool(best_google() and config.gemini().key)


def _ask(
    request: PlanRequest,
    options: PlannerOptions,
    config: Config,
    access: Access,
    cancelled: Callable[[], bool] | None,
) -> LayoutPlan:
    if not instructions.wanted_parts(request):
        return _noted(plan_offline(request), "nothing to ask a language model: every part is switched off")
    model = model_of(options, access)
    key = cache.cache_key(request, _settings(options, access, model))
    found = cache.load(config.plans, key, request)
    if found is not None:
        return _noted(found, "taken from the plan cache; change refresh to ask again")
    service = connect(options, config, access)
    patience = Patience(options.limits)
    planner = LanguagePlanner(service, request, patience)
    try:
        plan = planner.plan(options.mode, cancelled)
    except PlannerError as error:
        if error.kind == "model_gone" and access.key:
            raise _with_models(error, service, access, model) from None
        raise
    record = planner.record
    source: dict[str, str | int | float | bool] = {
        "planner": "openai-compatible" if access.profile else "gemini",
        "package": "" if access.profile else service.name,
        "profile": access.profile,
        "model": model,
        "model_version": record.model_version,
        "mode": options.mode,
        "parts": request.parts,
        "prompts": instructions.VERSION,
        "input_tokens": record.input_tokens,
        "output_tokens": record.output_tokens,
        "requests": patience.requests,
    }
    plan = replace(plan, source={name: value for name, value in source.items() if value != ""})
    trouble = cache.store(config.plans, key, plan, [access.scrub(text) for text in record.raw])
    return _noted(plan, trouble) if trouble else plan


def _settings(options: PlannerOptions, access: Access, model: str) -> Mapping[str, Any]:
    """What the answer depends on besides the request. Which Google package carries it matters only if one is asked
    for by its name.
    """
    planner = "gemini" if options.planner == "auto" else options.planner
    return {
        "planner": planner,
        "model": model,
        "address": access.base_url,
        "mode": options.mode,
        "seed": options.seed,
        "refresh": options.refresh,
    }


def _with_models(error: PlannerError, service: Service, access: Access, model: str) -> PlannerError:
    """The same error with some models that there are, if the service tells."""
    try:
        known = service.models(5.0)
    except PlannerError:
        return error
    names = [name for name in known if "embed" not in name][:6]
    words = f", for example {', '.join(names)}" if names else ""
    return PlannerError("model_gone", access.service, model=model, models=words)


def _noted(plan: LayoutPlan, note: str, first: bool = False) -> LayoutPlan:
    notes = (note, *plan.adjustments) if first else (*plan.adjustments, note)
    return replace(plan, adjustments=notes)
