"""Gemini through `google-genai`, Google's maintained package."""

from __future__ import annotations

import functools
import re
from typing import Any

from ..config import Access
from ..errors import PlannerError
from ..instructions import Question
from . import GOOGLE_GENAI, MOST_TOKENS, Answer
from .failures import checked_text, from_exception, from_status


class GoogleGenai:
    """Its own retries stay off (they ignore what the service asks to wait); ours are in `patience`."""

    name = GOOGLE_GENAI

    def __init__(self, access: Access, model: str, seed: int = 0) -> None:
        self.access, self.model, self.seed = access, model, seed

    def ask(self, question: Question, timeout: float) -> Answer:
        from google.genai import types

        parts: list[Any] = []
        for number, picture in enumerate(question.pictures, 1):
            if len(question.pictures) > 1:
                parts.append(types.Part.from_text(text=f"Visual condition {number}:"))
            parts.append(types.Part.from_bytes(data=picture, mime_type="image/jpeg"))
        parts.append(types.Part.from_text(text=question.user))
        # Sampling parameters are deprecated and may be refused: none is sent.
        config = types.GenerateContentConfig(
            system_instruction=question.system,
            response_mime_type="application/json",
            response_schema=question.schema,
            max_output_tokens=MOST_TOKENS,
            seed=self.seed & 0x7FFFFFFF,
            thinking_config=types.ThinkingConfig(thinking_level=types.ThinkingLevel.LOW)
            if _thinks_in_levels(self.model)
            else None,
            http_options=types.HttpOptions(timeout=max(round(timeout * 1000), 1)),
        )
        response = self._call(
            lambda client: client.models.generate_content(
                model=self.model, contents=[types.Content(role="user", parts=parts)], config=config
            ),
            timeout,
        )
        candidate = response.candidates[0] if response.candidates else None
        said = candidate.content.parts if candidate and candidate.content and candidate.content.parts else []
        text = "\n".join(part.text for part in said if part.text and not part.thought)
        feedback = response.prompt_feedback
        block = _name(feedback.block_reason) if feedback else ""
        usage = response.usage_metadata
        return Answer(
            checked_text(text, _name(candidate.finish_reason) if candidate else "", block, self.access),
            response.model_version or "",
            (usage.prompt_token_count or 0) if usage else 0,
            ((usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)) if usage else 0,
        )

    def models(self, timeout: float) -> list[str]:
        from google.genai import types

        options = types.ListModelsConfig(
            query_base=True, http_options=types.HttpOptions(timeout=max(round(timeout * 1000), 1))
        )
        found = self._call(lambda client: list(client.models.list(config=options)), timeout)
        able = [m for m in found if not m.supported_actions or "generateContent" in m.supported_actions]
        return [str(m.name).removeprefix("models/") for m in able]

    def _call(self, call: Any, timeout: float) -> Any:
        try:
            return call(_client(self.access.key, self.access.base_url))
        except Exception as error:  # noqa: BLE001 - every kind of failure becomes one of ours
            failure = self._failure(error, timeout)
        raise failure  # outside of the handler, so that no request with its headers hangs on to it

    def _failure(self, error: Exception, timeout: float) -> PlannerError:
        status = getattr(error, "code", None)
        if not isinstance(status, int):
            return from_exception(error, self.access, timeout)
        body = getattr(error, "details", None)
        inner = body.get("error", body) if isinstance(body, dict) else {}
        details = inner.get("details") if isinstance(inner, dict) else None
        message = str(getattr(error, "message", "") or "")
        return from_status(status, message, details, self.access, self.model)


@functools.lru_cache(maxsize=4)
def _client(key: str, base_url: str) -> Any:
    """One client for each key and address: building one costs a TLS context."""
    from google import genai
    from google.genai import types

    # vertexai=False: a variable in the environment must not send the picture to another product.
    # follow_redirects: the package follows by default and carries the key's header to any host.
    options = types.HttpOptions(base_url=base_url or None, client_args={"follow_redirects": False})
    return genai.Client(api_key=key, vertexai=False, http_options=options)


def _name(value: Any) -> str:
    """Of an enum, of an unknown future value, or of None."""
    return str(getattr(value, "value", value) or "")


def _thinks_in_levels(model: str) -> bool:
    return re.match(r"(models/)?gemini-[3-9]", model) is not None
