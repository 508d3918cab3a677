"""Any server that speaks `POST <base>/chat/completions`: Ollama, LM Studio, llama.cpp, vLLM, routers.

Standard library only.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from ..config import Access, is_loopback
from ..errors import PlannerError
from ..instructions import Question, json_schema
from . import MOST_TOKENS, OPENAI_COMPATIBLE, Answer
from .failures import checked_text, from_exception, from_status, redirected

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
        choices = reply.get("choices") if isinstance(reply, dict) else None
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        message = choice.get("message")
        message = message if isinstance(message, dict) else {}
        text = message.get("content")
        if isinstance(text, list):
            text = "\n".join(str(part.get("text", "")) for part in text if isinstance(part, dict))
        usage = reply.get("usage") if isinstance(reply, dict) else None
        usage = usage if isinstance(usage, dict) else {}
        tokens = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
        model = reply.get("model") if isinstance(reply, dict) else ""
        return Answer(
            checked_text(
                text if isinstance(text, str) else "",
                str(choice.get("finish_reason") or ""),
                "REFUSAL" if message.get("refusal") else "",
                self.access,
            ),
            model if isinstance(model, str) else "",
            *(n if isinstance(n, int) else 0 for n in tokens),
        )

    def models(self, timeout: float) -> list[str]:
        reply = self._send("models", None, timeout)
        listed = reply.get("data") if isinstance(reply, dict) else None
        return [str(m["id"]) for m in listed or [] if isinstance(m, dict) and "id" in m]

    def _send(self, path: str, body: Any, timeout: float) -> Any:
        headers = {"Content-Type": "application/json", "User-Agent": "sow"}
        if self.access.key:
            headers["Authorization"] = f"Bearer {self.access.key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.access.base_url}/{path}", data, headers)
        try:
            with _opener(self.access.base_url).open(request, timeout=timeout) as response:
                return json.loads(response.read(LONGEST))
        except urllib.error.HTTPError as error:
            failure = self._refused(error)
        except (OSError, ValueError, http.client.HTTPException, RecursionError) as error:
            failure = from_exception(error, self.access, timeout)
        raise failure  # outside of the handler, so that no request with its headers hangs on to it

    def _refused(self, error: urllib.error.HTTPError) -> PlannerError:
        if 300 <= error.code < 400:
            return redirected(self.access)
        try:
            body = json.loads(error.read(LONGEST))
        except (OSError, ValueError, http.client.HTTPException, RecursionError):
            body = {}
        if isinstance(body, list) and body:  # Gemini's own compatible address wraps errors in a list
            body = body[0]
        inner = body.get("error", body) if isinstance(body, dict) else body
        message = (
            inner.get("message", "") if isinstance(inner, dict) else inner if isinstance(inner, str) else ""
        )
        code = inner.get("code") if isinstance(inner, dict) else None
        wait = error.headers.get("Retry-After") or ""
        seconds = float(wait) if re.fullmatch(r"\d{1,6}(\.\d+)?", wait) else None
        details = inner.get("details") if isinstance(inner, dict) else None
        details = [*(details if isinstance(details, list) else []), {"code": code}]
        return from_status(error.code, str(message), details, self.access, self.model, seconds)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """`urllib` would carry the key's header to any host."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _opener(base_url: str) -> urllib.request.OpenerDirector:
    """A server on this machine is not reached through a proxy."""
    local = is_loopback(urlsplit(base_url).hostname or "")
    proxies = [urllib.request.ProxyHandler({})] if local else []
    return urllib.request.build_opener(_NoRedirect(), *proxies)
