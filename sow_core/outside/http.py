"""The one client of servers: planners and ComfyUI alike. Standard library only.

A server is a stranger. Its answer has a largest size and a deadline for the whole of it, drips included; a redirect is
not followed, so that no key and no picture goes where nobody sent it; nothing it says reaches a message unbounded.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import queue
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import SowError, one_line
from .address import Address
from .reading import parse_json

CONNECT_SECONDS = 10.0
"""For a connection with its encryption: a server that answers at all does so long before."""

MOST_BYTES = 16 * 2**20
"""Of an answer, where the caller says nothing else."""


class NoReply(SowError):
    """No usable answer came. `kind`: "timeout", "network", "tls", "redirect", "large" or "odd" (not HTTP); `words`: a
    few words on it."""

    def __init__(self, address: Address, kind: str, words: str) -> None:
        super().__init__(f"Cannot reach {address} ({words}).")
        self.kind, self.words = kind, one_line(words)


@dataclass(frozen=True)
class Reply:
    """An answer with whatever status. `headers` by lower-case name."""

    address: Address
    path: str
    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def json(self, most_depth: int = 100) -> Any:
        """Its JSON. Raises SowError."""
        what = f"The answer of {self.address} to {one_line(self.path, 80)}"
        return parse_json(self.body, what, most_bytes=max(len(self.body), 1), most_depth=most_depth)


def send(
    address: Address,
    path: str,
    data: bytes | None = None,
    *,
    deadline: float,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    most_bytes: int = MOST_BYTES,
    slowest: float = 0.0,
) -> Reply:
    """GET, or POST where `data` is given, in `deadline` seconds altogether. Raises NoReply.

    slowest: bytes a second; a large file that moves at least so fast gets the time that it needs. 0: none is given.
    """
    request = urllib.request.Request(address.url(path, query), data, dict(headers or {}) | {"User-Agent": "sow"})
    if address.authorization:
        request.add_unredirected_header("Authorization", address.authorization)
    patience = deadline + (len(data or b"") / slowest if slowest else 0.0)
    return _Exchange(address, path, request, patience, most_bytes, slowest).outcome()


class _Exchange:
    """One request and its answer, in a thread of its own.

    A server that drips its header or its half of the encryption, byte by byte, always in time, would hold any other.
    When the time is over the connection is shut, and what the thread still brings is dropped.
    """

    def __init__(
        self,
        address: Address,
        path: str,
        request: urllib.request.Request,
        patience: float,
        most_bytes: int,
        slowest: float,
    ) -> None:
        self.address, self.path, self.request = address, path, request
        self.patience, self.most_bytes, self.slowest = patience, most_bytes, slowest
        self._end = time.monotonic() + patience
        self._made: list[http.client.HTTPConnection] = []
        self._done: queue.SimpleQueue[Reply | Exception] = queue.SimpleQueue()

    def outcome(self) -> Reply:
        threading.Thread(target=self._run, name="sow-http", daemon=True).start()
        try:
            outcome = self._wait()
        finally:
            for connection in self._made:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR) if connection.sock else None
        if isinstance(outcome, Reply):
            return outcome
        # Outside of any handler, so that no request with its headers hangs on to it.
        raise outcome if isinstance(outcome, NoReply) else _no_reply(self.address, outcome, self.patience)

    def _wait(self) -> Reply | Exception:
        while (left := self._end + 0.5 - time.monotonic()) > 0:  # the end moves while a large body comes
            with contextlib.suppress(queue.Empty):
                return self._done.get(timeout=left)
        return TimeoutError()

    def _run(self) -> None:
        try:
            self._done.put(self._exchange())
        except Exception as error:  # noqa: BLE001 - answered in the thread that waits
            self._done.put(error)

    def _exchange(self) -> Reply:
        try:
            response = _opener(self.address.loopback, self._made).open(self.request, timeout=self.patience)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            status, reason = response.status or 0, one_line(response.reason or "", 60)
            if 300 <= status < 400:
                raise NoReply(self.address, "redirect", _elsewhere(headers.get("location", "")))
            body = self._body(response)
        return Reply(self.address, self.path, status, reason, headers, body)

    def _body(self, response: Any) -> bytes:
        parts, size = [], 0
        while chunk := response.read1(65536):
            parts.append(chunk)
            size += len(chunk)
            if size > self.most_bytes:
                raise NoReply(self.address, "large", f"its answer is larger than {self.most_bytes / 2**20:g} MB")
            if time.monotonic() > self._end:
                raise TimeoutError
            self._end += len(chunk) / self.slowest if self.slowest else 0.0
        promised = response.headers.get("Content-Length", "")
        if promised.isdecimal() and size < int(promised[:18]) and "Transfer-Encoding" not in response.headers:
            raise http.client.IncompleteRead(b"")
        return b"".join(parts)


def _elsewhere(location: str) -> str:
    """What to do about a redirect. Only a plain origin is quoted."""
    try:
        url = urllib.parse.urlsplit(location)
        there = f"{url.scheme}://{url.hostname}" if url.hostname and url.scheme in ("http", "https") else ""
    except ValueError:
        there = ""
    place = f" to {one_line(there, 80)}" if there else ""
    return f"it sends us elsewhere{place}, which is not followed: log in there, or name the right address"


def _no_reply(address: Address, error: Exception, deadline: float) -> NoReply:
    """The failure behind an exception of the network, or of the standard library on an answer that makes no sense."""
    cause: Any = error
    while isinstance(cause, urllib.error.URLError) and isinstance(cause.reason, Exception):
        cause = cause.reason
    if isinstance(cause, TimeoutError):
        limit = min(deadline, CONNECT_SECONDS) if cause.args == (_CONNECTING,) else deadline
        return NoReply(address, "timeout", f"no answer within {limit:.3g} s")
    if isinstance(cause, ssl.SSLError):
        plain = cause.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL")
        return NoReply(address, "tls", "it does not speak https" if plain else "no trusted encrypted connection")
    if isinstance(cause, (http.client.IncompleteRead, http.client.RemoteDisconnected)):
        return NoReply(address, "network", "the connection was dropped")
    if isinstance(cause, OSError):
        words = one_line(cause.strerror or "the connection was dropped", 80)
        return NoReply(address, "network", words[:1].lower() + words[1:])
    return NoReply(address, "odd", "it does not answer like a web server")


_CONNECTING = "connecting"


class _Unfollowed(urllib.request.HTTPRedirectHandler):
    """`urllib` would carry a key's header, and a picture, to any host."""

    def http_error_302(self, *args: Any, **kwargs: Any) -> None:
        return None

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302  # type: ignore[assignment]


class _PlainConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        _connected(self, super().connect)


class _SecureConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        _connected(self, super().connect)


def _connected(connection: http.client.HTTPConnection, connect: Any) -> None:
    """A shorter time limit while the connection is made, encryption included: a plain port never answers that."""
    patience = connection.timeout
    connection.timeout = min(patience or CONNECT_SECONDS, CONNECT_SECONDS)
    try:
        connect()
    except TimeoutError as error:
        raise TimeoutError(_CONNECTING) from error
    finally:
        connection.timeout = patience
    connection.sock.settimeout(patience)


class _PlainHandler(urllib.request.HTTPHandler):
    def __init__(self, made: list[http.client.HTTPConnection]) -> None:
        super().__init__()
        self._made = made

    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_noted(_PlainConnection, self._made), request)


class _SecureHandler(urllib.request.HTTPSHandler):
    def __init__(self, made: list[http.client.HTTPConnection]) -> None:
        super().__init__()
        self._made = made

    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_noted(_SecureConnection, self._made), request, context=_tls())


def _noted(kind: type[http.client.HTTPConnection], made: list[http.client.HTTPConnection]) -> Any:
    def connection(*args: Any, **kwargs: Any) -> http.client.HTTPConnection:
        made.append(kind(*args, **kwargs))
        return made[-1]

    return connection


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _opener(loopback: bool, made: list[http.client.HTTPConnection]) -> urllib.request.OpenerDirector:
    """A server on this machine is not reached through a proxy."""
    proxies = [urllib.request.ProxyHandler({})] if loopback else []
    return urllib.request.build_opener(_Unfollowed(), _PlainHandler(made), _SecureHandler(made), *proxies)
