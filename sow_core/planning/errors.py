"""What can go wrong between us and a planner, in kinds that code can test and words that a user can act on."""

from __future__ import annotations

from ..errors import SowError
from ..outside.text import one_line

MESSAGES = {
    "no_sdk": "{service} needs a package that is not installed: run `pip install {package}`, "
    "or use the offline planner.",
    "no_key": "No API key for {service}: set the environment variable GEMINI_API_KEY and restart, or write "
    "it into {config}; the offline planner needs none.",
    "bad_key": "{service} refused the API key: check it or make a new one, then set it again; "
    "the offline planner needs none.",
    "leaked_key": "{service} has blocked this API key because it was found in public: make a new one and keep "
    "it out of workflows and pictures.",
    "region": "{service} does not accept requests from this server's location: use the offline planner or a "
    "local model (openai-compatible).",
    "quota_minute": "{service} is over its request limit{wait}: try again later or use the offline planner.",
    "quota_day": "{service} is over its daily limit: try tomorrow, choose another model or use the offline "
    "planner.",
    "overloaded": "{service} is overloaded or failing ({detail}): try again later or use the offline planner.",
    "model_gone": "{service} has no model {model!r}: choose another one{models}.",
    "blocked": "{service} declined this picture or prompt ({detail}): change them or use the offline planner.",
    "empty": "{service} answered without text ({detail}): run again or choose another model.",
    "bad_json": "{service} gave an answer that is not a usable plan ({detail}): run again or choose another "
    "model.",
    "timeout": "{service} did not answer within {detail}: try again, raise the time limit or use the offline "
    "planner.",
    "network": "{service} cannot be reached ({detail}): check the network and proxy, or use the offline "
    "planner.",
    "cancelled": "The planner was cancelled.",
    "other": "{service} refused the request ({detail}).",
}

RETRIED = frozenset({"quota_minute", "overloaded", "timeout", "network"})
"""Kinds that may pass by themselves. All others fail at once."""


class PlannerError(SowError):
    """A planner could not make a plan. `kind` is a key of MESSAGES; `retry_after` is in seconds.

    `permanent` marks one of the retried kinds where asking again is pointless.
    """

    def __init__(
        self,
        kind: str,
        service: str = "The planner",
        *,
        detail: str = "no details",
        retry_after: float | None = None,
        permanent: bool = False,
        **words: str,
    ) -> None:
        values = {"package": "google-genai", "config": "the config file", "model": "", "models": "", **words}
        wait = f" (it asks to wait {retry_after:.0f} s)" if retry_after else ""
        super().__init__(MESSAGES[kind].format(service=service, detail=one_line(detail), wait=wait, **values))
        self.kind = kind
        self.retry_after = retry_after
        self.permanent = permanent

    @property
    def retried(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.kind in RETRIED and not self.permanent


class UnusableAnswer(ValueError):
    """An answer that cannot become a plan. The text names the fault and is quoted back to the model once."""
