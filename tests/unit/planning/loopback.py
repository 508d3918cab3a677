"""A server on this machine that answers as the Gemini API and as an OpenAI-compatible one, by script.

The model's name chooses the script. Run it alone for a look with the real thing:
`python tests/unit/planning/loopback.py PORT` and set GOOGLE_GEMINI_BASE_URL to its address.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PLAN = {
    "condition_description": "a smiling woman with short grey hair",
    "intensified_prompt": "a woman reading in a garden, short grey hair, smiling, soft daylight",
    "condition_box": {"x": 128, "y": 16, "width": 240, "height": 240},
    "related_regions": [
        {"label": "hair", "box": {"x": 112, "y": 0, "width": 272, "height": 64}},
        {"label": "neck and body", "box": {"x": 64, "y": 240, "width": 368, "height": 272}},
    ],
}
GOOD = json.dumps(PLAN)
SCENE = "a woman reading in a garden"


@dataclass(frozen=True)
class Reply:
    """One scripted answer: a model's `text` in the API's wrapping, or a raw `body` with a `status`."""

    text: str | None = None
    finish: str = "STOP"
    thought: str = ""
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: bool = False
    drip: float = 0.0
    """Seconds between the bytes of the body: each arrives in time, the whole never does."""


def _error(code: int, status: str, message: str, *details: dict[str, Any]) -> Reply:
    return Reply(
        status=code, body={"error": {"code": code, "message": message, "status": status, "details": details}}
    )


def _changed(**fields: Any) -> str:
    return json.dumps({**PLAN, **fields})


_QUOTA = {"@type": "type.googleapis.com/google.rpc.QuotaFailure"}
_RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo"}
_INFO = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "domain": "googleapis.com"}
_PER_MINUTE = {**_QUOTA, "violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}]}
_PER_DAY = {**_QUOTA, "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
_TOO_MANY = "You exceeded your current quota, please check your plan and billing details."
_HTML = "<html><head><title>Sign in</title></head><body>Please sign in to this network</body></html>"

SCRIPTS: dict[str, tuple[Reply, ...]] = {
    "good": (Reply(GOOD),),
    "fenced": (Reply(f"```json\n{GOOD}\n```"),),
    "prose": (Reply(f"Here is the {{layout}} you asked for:\n\n{GOOD}\n\nEnjoy {{it}}!"),),
    "truncated": (Reply(GOOD[: len(GOOD) * 2 // 3], finish="MAX_TOKENS"),),
    "truncated-then-good": (Reply(GOOD[:90], finish="MAX_TOKENS"), Reply(GOOD)),
    "swapped-axes": (Reply(_changed(condition_box={"box_2d": [31, 250, 500, 719]})),),
    "out-of-range": (Reply(_changed(condition_box={"x": 4000, "y": 9, "width": 200, "height": 200})),),
    "out-of-range-then-good": (Reply(_changed(condition_box=[-900, 0, 200, 200])), Reply(GOOD)),
    "tiny": (Reply(_changed(condition_box={"x": 250, "y": 100, "width": 3, "height": 3})),),
    "empty": (Reply("", finish="MAX_TOKENS"),),
    "thought": (
        Reply(
            GOOD, thought='Let me draft {"condition_box": {"x": 0, "y": 0, "width": 9, "height": 9}} first.'
        ),
    ),
    "future-finish": (Reply(GOOD, finish="A_REASON_OF_TOMORROW"),),
    "safety": (Reply(None, finish="SAFETY"),),
    "blocked-prompt": (Reply(body={"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}),),
    "no-candidates": (Reply(body={}),),
    "bad-key": (
        _error(
            400,
            "INVALID_ARGUMENT",
            "API key not valid. Please pass a valid API key.",
            {**_INFO, "reason": "API_KEY_INVALID"},
        ),
    ),
    "unauthorized": (_error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),),
    "region": (_error(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),),
    "leaked-key": (
        _error(403, "PERMISSION_DENIED", "Your API key was reported as leaked. Please use another API key."),
    ),
    "bad-request": (_error(400, "INVALID_ARGUMENT", "Unable to process input image."),),
    "gemini-1.5-pro": (
        _error(404, "NOT_FOUND", "models/gemini-1.5-pro is not found for API version v1beta."),
    ),
    "quota-minute": (
        _error(429, "RESOURCE_EXHAUSTED", _TOO_MANY, _PER_MINUTE, {**_RETRY, "retryDelay": "0.3s"}),
        Reply(GOOD),
    ),
    "quota-minute-long": (
        _error(429, "RESOURCE_EXHAUSTED", _TOO_MANY, _PER_MINUTE, {**_RETRY, "retryDelay": "47s"}),
    ),
    "quota-day": (_error(429, "RESOURCE_EXHAUSTED", _TOO_MANY, _PER_DAY, {**_RETRY, "retryDelay": "0.1s"}),),
    "error-500": (_error(500, "INTERNAL", "An internal error has occurred."),),
    "overloaded-then-good": (_error(503, "UNAVAILABLE", "The model is overloaded."), Reply(GOOD)),
    "html-502": (Reply(status=502, body=_HTML),),
    "html-200": (Reply(body=_HTML),),
    "redirect": (Reply(status=307, body="", headers={"Location": "{elsewhere}"}),),
    "slow": (Reply(GOOD, delay=1.2),),
    "very-slow": (Reply(GOOD, delay=8.0),),
    "dropped": (Reply(drop=True),),
    "drips": (Reply(GOOD, drip=0.2),),
}


@dataclass
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Loopback:
    """The server; `base` is its address, `received` what came. Use as a context manager."""

    def __init__(self, port: int = 0, elsewhere: str = "") -> None:
        self.received: list[Received] = []
        self._turns: dict[str, int] = defaultdict(int)
        self._lock = threading.Lock()
        self._elsewhere = elsewhere
        self._closing = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                owner._serve(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def do_GET(self) -> None:
                owner._serve(self, {})

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.base = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Loopback:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def calls(self) -> list[Received]:
        """The requests for a plan, without those for the list of models."""
        return [r for r in self.received if r.body]

    def _serve(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        with self._lock:
            self.received.append(Received(handler.path, dict(handler.headers.items()), body))
        openai = "x-goog-api-key" not in handler.headers
        if not body:
            return self._send(handler, 200, _models(openai), {})
        model = body["model"] if openai else handler.path.rsplit("/", 1)[1].split(":")[0]
        script = SCRIPTS.get(model) or SCRIPTS["good" if model.startswith("gemini") else "error-500"]
        with self._lock:
            reply = script[min(self._turns[model], len(script) - 1)]
            self._turns[model] += 1
        self._closing.wait(reply.delay)
        if reply.drop:
            handler.close_connection = True
            handler.connection.close()
            return None
        content = reply.body if reply.body is not None else (_openai if openai else _gemini)(reply, model)
        headers = {
            name: value.replace("{elsewhere}", self._elsewhere) for name, value in reply.headers.items()
        }
        return self._send(handler, reply.status, content, headers, reply.drip)

    def _send(
        self,
        handler: BaseHTTPRequestHandler,
        status: int,
        content: Any,
        headers: dict[str, str],
        drip: float = 0.0,
    ) -> None:
        html = isinstance(content, str)
        data = content.encode() if html else json.dumps(content).encode()
        try:
            handler.send_response(status)
            handler.send_header("Content-Type", "text/html" if html else "application/json")
            handler.send_header("Content-Length", str(len(data)))
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            for i in range(len(data) if drip else 0):
                handler.wfile.write(data[i : i + 1])
                if self._closing.wait(drip):
                    return
            handler.wfile.write(b"" if drip else data)
        except OSError:
            pass  # the client has given up


def _gemini(reply: Reply, model: str) -> dict[str, Any]:
    parts = [{"text": reply.thought, "thought": True}] if reply.thought else []
    if reply.text:
        parts.append({"text": reply.text, "thoughtSignature": "c2lnbmVk"})
    candidate: dict[str, Any] = {"finishReason": reply.finish, "index": 0}
    if parts:
        candidate["content"] = {"role": "model", "parts": parts}
    usage = {
        "promptTokenCount": 1800,
        "candidatesTokenCount": 210,
        "thoughtsTokenCount": 90,
        "totalTokenCount": 2100,
    }
    return {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": f"{model}-001",
        "somethingNew": 1,
    }


def _openai(reply: Reply, model: str) -> dict[str, Any]:
    finish = {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter"}.get(
        reply.finish, reply.finish
    )
    thought = f"<think>{reply.thought}</think>\n" if reply.thought else ""
    message = {"role": "assistant", "content": thought + (reply.text or "")}
    usage = {"prompt_tokens": 1800, "completion_tokens": 300}
    return {
        "model": f"{model}-001",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": usage,
    }


def _models(openai: bool) -> dict[str, Any]:
    names = ["gemini-3.8-flash", "gemini-3.5-flash-lite", "text-embedding-5"]
    if openai:
        return {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}
    able = ["embedContent"], ["generateContent", "countTokens"]
    return {
        "models": [
            {"name": f"models/{n}", "displayName": n, "supportedGenerationMethods": able["embed" not in n]}
            for n in names
        ]
    }


if __name__ == "__main__":
    with Loopback(int(sys.argv[1])) as server:
        print(f"GOOGLE_GEMINI_BASE_URL={server.base}", flush=True)
        while True:
            time.sleep(60)
