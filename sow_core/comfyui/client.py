"""A client of a ComfyUI server: its HTTP routes, and its websocket where `websockets` is installed.

Written against the routes of ComfyUI 0.27 (`/prompt`, `/history`, `/queue`, `/interrupt`, `/upload/image`,
`/view`, `/object_info`, `/ws`). The server is a stranger: nothing it sends becomes a path or code here.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import mimetypes
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SowError

HTTP_TIMEOUT = 30.0
"""Seconds for one request. A busy server answers its routes while a model runs, so this is generous."""


class ServerRefused(SowError):
    """The server answered with an HTTP error. `body` is its JSON, or None."""

    def __init__(self, message: str, status: int, body: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = body


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class ServerAddress:
    """Where a server listens: `scheme://netloc/prefix`, the prefix without a trailing slash."""

    scheme: str
    netloc: str
    prefix: str

    @classmethod
    def parse(cls, text: str) -> ServerAddress:
        """From "127.0.0.1:8188" or "https://host/comfy". Raises SowError for anything else."""
        url = urllib.parse.urlsplit(text if "://" in text else f"http://{text}")
        try:
            valid = url.scheme in ("http", "https") and url.hostname and (url.port is None or url.port > 0)
        except ValueError:  # a port that is no number
            valid = False
        if not valid:
            raise SowError(f"Bad server {text!r}: expected a URL like http://127.0.0.1:8188.")
        return cls(url.scheme, url.netloc, url.path.rstrip("/"))

    @property
    def loopback(self) -> bool:
        return _is_loopback(urllib.parse.urlsplit(f"//{self.netloc}").hostname or "")

    def http(self, path: str, **query: str) -> str:
        url = f"{self.scheme}://{self.netloc}{self.prefix}{path}"
        return f"{url}?{urllib.parse.urlencode(query)}" if query else url

    def websocket(self, client_id: str) -> str:
        scheme = "wss" if self.scheme == "https" else "ws"
        return f"{scheme}://{self.netloc}{self.prefix}/ws?clientId={client_id}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.prefix}"


class ComfyClient:
    """One client of one server. Every method raises SowError when the server cannot be reached."""

    def __init__(self, server: str) -> None:
        self.address = ServerAddress.parse(server)
        self.client_id = uuid.uuid4().hex
        # A proxy from the environment never serves this machine's own addresses.
        handlers = [urllib.request.ProxyHandler({})] if self.address.loopback else []
        self._opener = urllib.request.build_opener(*handlers)

    def request(self, path: str, data: bytes | None = None, content_type: str = "application/json",
                query: Mapping[str, str] | None = None) -> bytes:
        """The body of a GET, or of a POST where `data` is given."""
        request = urllib.request.Request(self.address.http(path, **(query or {})), data=data)
        if data is not None:
            request.add_header("Content-Type", content_type)
        try:
            with self._opener.open(request, timeout=HTTP_TIMEOUT) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            try:
                body = json.loads(error.read())
            except (ValueError, OSError):
                body = None
            message = f"The server {self.address} answered {error.code} {error.reason} to {path}."
            raise ServerRefused(message, error.code, body) from error
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise SowError(f"Cannot reach a ComfyUI server at {self.address} ({reason}); "
                           "start it, or name another with --server.") from error

    def get(self, path: str) -> Any:
        """The JSON of a route."""
        body = self.request(path)
        try:
            return json.loads(body)
        except ValueError as error:
            raise SowError(f"{self.address}{path} did not answer with JSON; is this a ComfyUI server?") from error

    def post(self, path: str, payload: Mapping[str, Any]) -> Any:
        body = self.request(path, json.dumps(payload).encode("utf-8"))
        return json.loads(body) if body.strip() else None

    def upload_image(self, path: Path) -> str:
        """Upload a picture to the server's input folder; returns the name that a Load Image node takes.

        The server keeps a file of the same name and content, and renames a different one, so nothing
        of the server's owner is overwritten.
        """
        boundary = uuid.uuid4().hex
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        name = path.name.replace('"', "_").replace("\r", "_").replace("\n", "_")
        head = (f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
                f"Content-Type: {kind}\r\n\r\n").encode()
        try:
            content = path.read_bytes()
        except OSError as error:
            raise SowError(f"Cannot read {path}: {error.strerror or error}.") from error
        body = head + content + f"\r\n--{boundary}--\r\n".encode()
        answer = json.loads(self.request("/upload/image", body, f"multipart/form-data; boundary={boundary}"))
        return "/".join(part for part in (answer.get("subfolder", ""), answer["name"]) if part)

    def queue(self, workflow: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Queue an API workflow: its prompt id, and the errors of branches that the server left out.

        Raises ServerRefused if the server finds nothing in it that can run.
        """
        answer = self.post("/prompt", {"prompt": workflow, "client_id": self.client_id})
        return answer["prompt_id"], answer.get("node_errors") or {}

    def history(self, prompt_id: str) -> dict[str, Any] | None:
        """The finished run's entry {status, outputs}, or None while it waits or runs."""
        return self.get(f"/history/{prompt_id}").get(prompt_id)

    def waiting(self, prompt_id: str) -> int | None:
        """How many runs are before this one; 0 when it runs; None when the server does not know it."""
        queue = self.get("/queue")
        if any(item[1] == prompt_id for item in queue.get("queue_running", [])):
            return 0
        pending = sorted((item[0], item[1]) for item in queue.get("queue_pending", []))
        ids = [item[1] for item in pending]
        return ids.index(prompt_id) + 1 if prompt_id in ids else None

    def cancel(self, prompt_id: str) -> None:
        """Take this run out of the queue, or interrupt it; other people's runs go on."""
        self.post("/queue", {"delete": [prompt_id]})
        self.post("/interrupt", {"prompt_id": prompt_id})

    def file(self, reference: Mapping[str, Any]) -> bytes:
        """The bytes of a saved file {filename, subfolder, type}."""
        query = {key: str(reference.get(key, "")) for key in ("filename", "subfolder", "type")}
        return self.request("/view", query=query)

    @contextlib.contextmanager
    def messages(self) -> Iterator[MessageStream]:
        """The server's messages for this client. Open it before queueing, so that none is missed."""
        stream = MessageStream(self.address, self.client_id)
        try:
            yield stream
        finally:
            stream.close()


class MessageStream:
    """Messages of the server's websocket. Without the socket (no `websockets`, a proxy that drops it) it only waits.

    `websockets` is an optional package: a run is then followed by polling, with no bar inside a node.
    """

    def __init__(self, address: ServerAddress, client_id: str) -> None:
        self._socket = None
        try:
            from websockets.exceptions import WebSocketException
            from websockets.sync.client import connect
        except ImportError:
            return
        try:
            options: dict[str, Any] = {"proxy": None} if address.loopback else {}
            # A latent preview is larger than the default limit of 1 MiB only rarely; none is refused.
            self._socket = connect(address.websocket(client_id), max_size=None, open_timeout=10,
                                   close_timeout=1, **options)
        except (OSError, WebSocketException):
            self._socket = None

    @property
    def live(self) -> bool:
        return self._socket is not None

    def next(self, timeout: float) -> dict[str, Any] | None:
        """The next JSON message, or None when `timeout` seconds brought none. Previews are skipped."""
        if self._socket is None:
            time.sleep(timeout)
            return None
        from websockets.exceptions import WebSocketException

        end = time.monotonic() + timeout
        while True:
            try:
                raw = self._socket.recv(timeout=max(end - time.monotonic(), 0.0))
            except TimeoutError:
                return None
            except (WebSocketException, OSError):  # the server closed it: the caller polls from here on
                self.close()
                return None
            if isinstance(raw, str):
                try:
                    message = json.loads(raw)
                except ValueError:
                    continue
                if isinstance(message, dict):
                    return message

    def close(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            with contextlib.suppress(Exception):  # closing a socket that is already gone
                socket.close()
