"""Language models that see pictures, behind one small interface. Packages are imported when one is opened."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Protocol

from ...outside.text import one_line
from ..config import Access
from ..errors import PlannerError
from ..instructions import Question

GOOGLE_GENAI = "google-genai"
GOOGLE_GENERATIVEAI = "google-generativeai"
OPENAI_COMPATIBLE = "openai-compatible"
_MODULES = {GOOGLE_GENAI: "google.genai", GOOGLE_GENERATIVEAI: "google.generativeai"}

MOST_TOKENS = 8192
"""Of an answer. Thinking counts too; a plan has about 300."""


@dataclass(frozen=True)
class Answer:
    """A model's words and what they cost. The version that it names itself by becomes one short line."""

    text: str
    model_version: str = ""
    input_tokens: int = 0
    output_tokens: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "model_version", one_line(self.model_version, 80))


class Service(Protocol):
    """One service with one model."""

    name: str
    access: Access

    def ask(self, question: Question, timeout: float) -> Answer:
        """One request, no retry. Raises PlannerError."""

    def models(self, timeout: float) -> list[str]:
        """Names of the models that can be asked. Raises PlannerError."""


def installed(name: str) -> bool:
    """Whether the package of a Google service can be imported; the import itself is left for later."""
    try:
        return importlib.util.find_spec(_MODULES[name]) is not None
    except (ImportError, ValueError):
        return False


def best_google() -> str:
    """google-genai if it is installed, else google-generativeai, else "" (none is)."""
    return next((name for name in _MODULES if installed(name)), "")


def open_service(name: str, access: Access, model: str, seed: int, config_file: str) -> Service:
    """The service by its name. Raises PlannerError no_sdk or no_key."""
    if name == OPENAI_COMPATIBLE:
        from .openai_compatible import OpenAICompatible

        return OpenAICompatible(access, model)
    if not installed(name):
        raise PlannerError("no_sdk", access.service, package=name)
    if not access.key:
        raise PlannerError("no_key", access.service, config=config_file)
    if name == GOOGLE_GENAI:
        from .google_genai import GoogleGenai

        return GoogleGenai(access, model, seed)
    from .google_generativeai import GoogleGenerativeAI

    return GoogleGenerativeAI(access, model)
