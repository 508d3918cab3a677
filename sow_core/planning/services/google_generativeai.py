"""Gemini through `google-generativeai`, the package that Google no longer maintains (requirements-legacy.txt).

Called over REST with a client of our own: its public `configure` is global to the process, and another node pack
that uses the same package would overwrite our key, or we theirs. It can set neither a seed nor the thinking level.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any
from urllib.parse import urlsplit

from ..config import Access
from ..errors import PlannerError
from ..instructions import Question
from . import GOOGLE_GENERATIVEAI, MOST_TOKENS, Answer
from .failures import checked_text, from_exception, from_status


class GoogleGenerativeAI:
    """The retired package, with its retries off."""

    name = GOOGLE_GENERATIVEAI

    def __init__(self, access: Access, model: str) -> None:
        self.access, self.model = access, model

    def ask(self, question: Question, timeout: float) -> Answer:
        contents: list[Any] = []
        for number, picture in enumerate(question.pictures, 1):
            if len(question.pictures) > 1:
                contents.append(f"Visual condition {number}:")
            contents.append({"mime_type": "image/jpeg", "data": picture})
        contents.append(question.user)
        settings = {
            "response_mime_type": "application/json",
            "response_schema": question.schema,
            "max_output_tokens": MOST_TOKENS,
        }

        def call(package: Any) -> Any:
            model = package.GenerativeModel(self.model, system_instruction=question.system)
            model._client = _client(self.access.key, self.access.base_url)
            return model.generate_content(
                contents, generation_config=settings, request_options={"timeout": timeout, "retry": None}
            )

        response = self._call(call, timeout)
        candidate = response.candidates[0] if response.candidates else None
        # Thoughts come as ordinary parts here: the reader takes the last object of the text.
        text = "\n".join(part.text for part in candidate.content.parts if part.text) if candidate else ""
        block = response.prompt_feedback.block_reason
        usage = response.usage_metadata
        return Answer(
            checked_text(
                text, _name(candidate.finish_reason) if candidate else "", _name(block), self.access
            ),
            "",
            usage.prompt_token_count,
            usage.candidates_token_count,
        )

    def models(self, timeout: float) -> list[str]:
        def call(package: Any) -> Any:
            client = _client(self.access.key, self.access.base_url, "ModelServiceClient")
            options = {"timeout": timeout, "retry": None}
            return list(package.list_models(client=client, request_options=options))

        able = [m for m in self._call(call, timeout) if "generateContent" in m.supported_generation_methods]
        return [str(m.name).removeprefix("models/") for m in able]

    def _call(self, call: Any, timeout: float) -> Any:
        try:
            return call(_package())
        except Exception as error:  # noqa: BLE001 - every kind of failure becomes one of ours
            failure = self._failure(error, timeout)
        raise failure  # outside of the handler, so that no request with its headers hangs on to it

    def _failure(self, error: Exception, timeout: float) -> PlannerError:
        status = getattr(error, "code", None)
        status = getattr(status, "value", status)
        if not isinstance(status, int):
            return from_exception(error, self.access, timeout)
        message = str(getattr(error, "message", "") or "")
        return from_status(status, message, getattr(error, "details", None), self.access, self.model)


@functools.cache
def _package() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is retired is said in our documentation, once
        import google.generativeai as package
    return package


@functools.lru_cache(maxsize=8)
def _client(key: str, base_url: str, kind: str = "GenerativeServiceClient") -> Any:
    from google.ai import generativelanguage
    from google.api_core.client_options import ClientOptions

    endpoint = None
    if base_url:
        parts = urlsplit(base_url)
        endpoint = f"{parts.scheme}://{parts.netloc}"
    client = getattr(generativelanguage, kind)(
        transport="rest", client_options=ClientOptions(api_key=key, api_endpoint=endpoint)
    )
    session = client.transport._session
    session.max_redirects = 0  # `requests` would carry the key's header to any host
    session._max_refresh_attempts = 0  # on 401 it would renew a token, which a key is not, and ask twice more
    return client


def _name(value: Any) -> str:
    """Of a proto enum; its zero means unspecified; a value unknown to this package is a bare number."""
    if not value:
        return ""
    return str(getattr(value, "name", value))
