"""Any server that speaks `POST <base>/chat/completions`: Ollama, LM Studio, llama.cpp, vLLM, routers.

Standard library only.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

from ...errors import SowError
from ...outside.address import Address
from ...outside.credentials import bearer
from ...outside.http import NoReply, Reply, send
from ...outside.records import read_record
from ..config import Access
from ..errors import PlannerError
from ..instructions import Question, json_schema
from . import MOST_TOKENS, OPENAI_COMPATIBLE, Answer
from .failures import checked_text, from_no_reply, from_status, something_else

LONGEST = 4 * 2**20
"""Bytes of an answer that are read."""


class OpenAICompatible:
    """One profile's server and model."""

    name = OPENAI_COMPATIBLE

    def __init__(self, access: Access, model: str) -> None:
        if not model:
            raise PlannerError("model_gone", access.service, model="", models=" (no model is set: name one)")
        self.access, self.model = access, model

    def ask(self, question: Question, timeout: float) -> Answer:
        """Servers differ in how the answer's form can be asked for: from the strictest to none."""
        formats: list[dict[str, Any] | None] = [
            {
                "type": "json_schema",
                "json_schema": {"name": "layout", "strict": True, "schema": json_schema(question.schema)},
            },
            {"type": "json_object"},
            None,
        ]
        for form in formats[:-1]:
            try:
                return self._ask(question, form, timeout)
            except PlannerError as error:
                if error.kind != "other":
                    raise
        return self._ask(question, None, timeout)

    def _ask(self, question: Question, form: dict[str, Any] | None, timeout: float) -> Answer:
        system = question.system
        if form is None or form["type"] == "json_object":
            system += "\n\nJSON schema of the answer: " + json.dumps(json_schema(question.schema))
        content: list[dict[str, Any]] = []
        for number, picture in enumerate(question.pictures, 1):
            if len(question.pictures) > 1:
                content.append({"type": "text", "text": f"Visual condition {number}:"})
            data = "data:image/jpeg;base64," + base64.b64encode(picture).decode()
            content.append({"type": "image_url", "image_url": {"url": data}})
        content.append({"type": "text", "text": question.user})
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": content}],
            "max_tokens": MOST_TOKENS,
        }
        if form is not None:
            body["response_format"] = form
        reply = self._send("chat/completions", body, timeout)
        return self._answer(reply)

    def _answer(self, reply: Any) -> Answer:
        try:
            said = read_record(_Completion, reply)
        except SowError:
            raise something_else(self.access) from None
        choice = said.choices[0] if said.choices else _Choice()
        message = choice.message or _Message()
        text = message.content or ""
        if not isinstance(text, str):
            text = "\n".join(part.text or "" for part in text)
        usage = said.usage or _Usage()
        return Answer(
            checked_text(
                text, choice.finish_reason or "", "REFUSAL" if message.refusal else "", self.access
            ),
            said.model or "",
            usage.prompt_tokens or 0,
            usage.completion_tokens or 0,
        )

    def models(self, timeout: float) -> list[str]:
        reply = self._send("models", None, timeout)
        try:
            return [model.id for model in read_record(_Models, reply).data]
        except SowError:
            raise something_else(self.access) from None

    def _send(self, path: str, body: Any, timeout: float) -> Any:
        address = Address.parse(self.access.base_url).with_token(bearer(self.access.key) if self.access.key else "")
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        try:
            reply = send(address, f"/{path}", data, deadline=timeout, headers=headers, most_bytes=LONGEST)
        except NoReply as error:
            raise from_no_reply(error, self.access, timeout) from None
        if not 200 <= reply.status < 300:
            raise self._refused(reply)
        try:
            return reply.json()
        except SowError:
            raise something_else(self.access) from None

    def _refused(self, reply: Reply) -> PlannerError:
        try:
            body = reply.json()
        except SowError:
            body = {}
        if isinstance(body, list) and body:  # Gemini's own compatible address wraps errors in a list
            body = body[0]
        inner = body.get("error", body) if isinstance(body, dict) else body
        try:
            error = _Error(message=inner) if isinstance(inner, str) else read_record(_Error, inner)
        except SowError:
            error = _Error()
        wait = reply.headers.get("retry-after", "")
        seconds = float(wait) if re.fullmatch(r"\d{1,6}(\.\d+)?", wait) else None
        details = [*(error.details if isinstance(error.details, list) else []), {"code": error.code}]
        return from_status(reply.status, error.message or "", details, self.access, self.model, seconds)


@dataclass(frozen=True)
class _Part:
    text: str | None = None


@dataclass(frozen=True)
class _Message:
    content: str | list[_Part] | None = None
    refusal: Any = None


@dataclass(frozen=True)
class _Choice:
    message: _Message | None = None
    finish_reason: str | None = None


@dataclass(frozen=True)
class _Usage:
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True)
class _Completion:
    """What is read of an answer."""

    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    model: str | None = None


@dataclass(frozen=True)
class _Model:
    id: str


@dataclass(frozen=True)
class _Models:
    data: list[_Model]


@dataclass(frozen=True)
class _Error:
    """What is read of a refusal; servers differ in the rest."""

    message: str | None = None
    code: Any = None
    details: Any = None
