"""A client of a ComfyUI server: its HTTP routes, and its websocket where `websockets` is installed.

Written against the routes of ComfyUI 0.27 (`/prompt`, `/history`, `/queue`, `/interrupt`, `/upload/image`,
`/view`, `/object_info`, `/ws`). The server is a stranger: every answer is read within limits and against its shape,
and nothing it sends becomes a path or code here.
"""

from __future__ import annotations

import contextlib
import json
import mimetypes
import time
import urllib.parse
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..errors import SowError
from ..outside.address import Address
from ..outside.credentials import bearer, check_header, from_environment
from ..outside.http import NoReply, Reply, send
from ..outside.reading import parse_json, read_file
from ..outside.records import read_record
from ..outside.text import one_line
from .answers import Finished, Queue, Queued, Uploaded

R = TypeVar("R")

TOKEN_VARIABLE = "SOW_SERVER_TOKEN"
"""Environment variable with a bearer token for the server, unless its address has a user and a password."""

SECONDS = 30.0
"""For one answer, the whole of it. A busy server answers its routes while a model runs, so this is generous."""

CANCEL_SECONDS = 5.0
"""For one that only confirms a cancel: the user is leaving."""

SLOWEST = 50_000
"""Bytes a second: a picture that comes or goes more slowly is given up."""

MOST_ANSWER = 64 * 2**20
"""Bytes of JSON: the description of all nodes of a server with many packs has 20 million."""

MOST_PICTURE = 256 * 2**20
"""Bytes of a file that is uploaded or brought."""

MOST_PREVIEW = 32 * 2**20
"""Bytes of a message on the websocket; a latent preview has less than one million."""

MOST_MESSAGE = 2**20
"""Bytes of one with text."""


class ServerRefused(SowError):
    """The server answered with an HTTP error. `body` is its JSON, or None."""

    def __init__(self, message: str, status: int, body: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = body


class ComfyClient:
    """One client of one server. Every method raises SowError when the server cannot be reached or makes no sense."""

    def __init__(self, server: str) -> None:
        token = check_header(from_environment(TOKEN_VARIABLE), TOKEN_VARIABLE)
        self.address = Address.parse(server).with_token(bearer(token) if token else "")
        self.client_id = uuid.uuid4().hex

    @property
    def warning(self) -> str:
        """What to tell the user about the way to the server, "" for nothing."""
        if not (self.address.authorization or self.address.query):
            return ""
        if self.address.scheme == "https" or self.address.loopback:
            return ""
        return f"the password or token is sent to {self.address} unencrypted; use https where you can"

    @property
    def websocket_url(self) -> str:
        """Where the server's messages for this client come from. It may hold a token."""
        scheme = "wss" if self.address.scheme == "https" else "ws"
        return self.address.url("/ws", {"clientId": self.client_id}, scheme)

    def request(
        self,
        path: str,
        data: bytes | None = None,
        content_type: str = "application/json",
        query: Mapping[str, str] | None = None,
        most_bytes: int = MOST_ANSWER,
        name: str = "",
        seconds: float = SECONDS,
    ) -> Reply:
        """The answer to a GET, or to a POST where `data` is given. name: the file that it is about, for messages."""
        headers = {"Content-Type": content_type} if data is not None else {}
        try:
            reply = send(
                self.address,
                path,
                data,
                deadline=seconds,
                headers=headers,
                query=query,
                most_bytes=most_bytes,
                slowest=SLOWEST,
            )
        except NoReply as error:
            raise SowError(
                f"Cannot reach a ComfyUI server at {self.address} ({error.words}); "
                "start it, or name another with --server."
            ) from None
        if not 200 <= reply.status < 300:
            raise self._refused(reply, name)
        return reply

    def _refused(self, reply: Reply, name: str) -> ServerRefused:
        said = f"The server {self.address} answered {reply.status} {reply.reason} to {one_line(reply.path, 80)}"
        if reply.status in (401, 403, 407):
            advice = f"; log in with http://user:password@HOST, or a token in {TOKEN_VARIABLE}"
        elif reply.status == 413:
            size = one_line(reply.body[:500].decode(errors="replace"), 120)
            advice = f"; it takes no file as large as {name or 'this'} ({size})"
        else:
            advice = f" ({name})" if name else ""
        try:
            body = reply.json()
        except SowError:
            body = None
        return ServerRefused(f"{said}{advice}.", reply.status, body)

    def _json(self, reply: Reply) -> Any:
        try:
            return reply.json()
        except SowError as error:
            raise self._not_comfyui(reply.path, str(error)) from None

    def _read(self, shape: type[R], value: Any, path: str) -> R:
        try:
            return read_record(shape, value)
        except SowError as error:
            raise self._not_comfyui(path, str(error)) from None

    def _not_comfyui(self, path: str, reason: str) -> SowError:
        return SowError(
            f"{self.address} did not answer {one_line(path, 80)} as a ComfyUI server does "
            f"({one_line(reason).rstrip('.')}): check the address; is there a page to log in?"
        )

    def get(self, path: str) -> Any:
        """The JSON of a route."""
        return self._json(self.request(path))

    def post(self, path: str, payload: Mapping[str, Any], seconds: float = SECONDS) -> Any:
        """The JSON that answers a POST of JSON; None for an empty answer."""
        reply = self.request(path, json.dumps(payload).encode("utf-8"), seconds=seconds)
        return self._json(reply) if reply.body.strip() else None

    def check(self) -> None:
        """Raises SowError unless a ComfyUI server answers: a page to log in is noticed before anything is sent."""
        self._queue()

    def node_inputs(self, class_type: str) -> dict[str, Any]:
        """The inputs {name: [kind, options]} that the server declares for a class of nodes; {} if it knows none."""
        answer = self.get(f"/object_info/{urllib.parse.quote(class_type, safe='', errors='replace')}")
        info = answer.get(class_type) if isinstance(answer, dict) else None
        groups = info.get("input") if isinstance(info, dict) else None
        made: dict[str, Any] = {}
        for group in ("optional", "required"):
            inputs = groups.get(group) if isinstance(groups, dict) else None
            made |= inputs if isinstance(inputs, dict) else {}
        return made

    def upload_image(self, path: Path) -> str:
        """Upload a picture to the server's input folder; returns the name that a Load Image node takes.

        The server keeps a file of the same name and content, and renames a different one, so nothing
        of the server's owner is overwritten.
        """
        content = read_file(path, "the picture", most_bytes=MOST_PICTURE)
        boundary = uuid.uuid4().hex
        name = one_line(path.name, 200).replace('"', "_").replace("\\", "_")
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
            f"Content-Type: {kind}\r\n\r\n"
        ).encode()
        body = head + content + f"\r\n--{boundary}--\r\n".encode()
        form = f"multipart/form-data; boundary={boundary}"
        reply = self.request("/upload/image", body, form, name=name)
        answer = self._read(Uploaded, self._json(reply), "/upload/image")
        return "/".join(part for part in (answer.subfolder, answer.name) if part)

    def queue(self, workflow: Mapping[str, Any]) -> tuple[str, Any]:
        """Queue an API workflow: its prompt id, and the errors of branches that the server left out.

        Raises ServerRefused if the server finds nothing in it that can run.
        """
        answer = self._read(
            Queued, self.post("/prompt", {"prompt": workflow, "client_id": self.client_id}), "/prompt"
        )
        return answer.prompt_id, answer.node_errors or {}

    def history(self, prompt_id: str) -> dict[str, Any] | None:
        """The finished run's entry {status, outputs} (`answers.Finished`), or None while it waits or runs."""
        path = f"/history/{urllib.parse.quote(prompt_id, safe='')}"
        entries = self.get(path)
        if not isinstance(entries, dict):
            raise self._not_comfyui(path, "expected an object")
        entry = entries.get(prompt_id)
        if entry is not None:
            self._read(Finished, entry, path)
        return entry

    def _queue(self) -> Queue:
        return self._read(Queue, self.get("/queue"), "/queue")

    def waiting(self, prompt_id: str) -> int | None:
        """How many runs are before this one; 0 when it runs; None when the server does not know it."""
        queue = self._queue()
        if any(prompt_id in item[1:2] for item in queue.queue_running):
            return 0
        pending = [(item[0], item[1]) for item in queue.queue_pending if len(item) > 1]
        numbered = [item for item in pending if isinstance(item[0], (int, float)) and isinstance(item[1], str)]
        ids = [identity for _, identity in sorted(numbered)]
        return ids.index(prompt_id) + 1 if prompt_id in ids else None

    def cancel(self, prompt_id: str) -> None:
        """Take this run out of the queue, or interrupt it; other people's runs go on."""
        self.post("/queue", {"delete": [prompt_id]}, CANCEL_SECONDS)
        self.post("/interrupt", {"prompt_id": prompt_id}, CANCEL_SECONDS)

    def file(self, reference: Mapping[str, Any]) -> bytes:
        """The bytes of a saved file {filename, subfolder, type}."""
        query = {key: str(reference.get(key, "")) for key in ("filename", "subfolder", "type")}
        return self.request("/view", query=query, most_bytes=MOST_PICTURE, name=one_line(query["filename"], 80)).body

    @contextlib.contextmanager
    def messages(self) -> Iterator[MessageStream]:
        """The server's messages for this client. Open it before queueing, so that none is missed."""
        stream = MessageStream(self)
        try:
            yield stream
        finally:
            stream.close()


class MessageStream:
    """Messages of the server's websocket. Without the socket (no `websockets`, a proxy that drops it) it only waits.

    `websockets` is an optional package: a run is then followed by polling, with no bar inside a node.
    """

    def __init__(self, client: ComfyClient) -> None:
        self._socket = None
        try:
            from websockets.exceptions import InvalidHandshake, InvalidStatus
            from websockets.sync.client import ClientConnection, connect
        except ImportError:
            return

        class Unfollowed(ClientConnection):
            """Newer versions of the package follow redirects, and carry our headers to any host."""

            def handshake(self, *args: Any, **kwargs: Any) -> None:
                try:
                    super().handshake(*args, **kwargs)
                except InvalidStatus:
                    raise InvalidHandshake("no websocket here") from None

        address = client.address
        options: dict[str, Any] = {"proxy": None} if address.loopback else {}
        if address.authorization:
            options["additional_headers"] = {"Authorization": address.authorization}
        try:
            self._socket = connect(
                client.websocket_url,
                max_size=MOST_PREVIEW,
                compression=None,
                open_timeout=10,
                close_timeout=1,
                create_connection=Unfollowed,
                **options,
            )
        except Exception:  # noqa: BLE001 - whatever it is, the run is followed by polling
            self._socket = None

    @property
    def live(self) -> bool:
        return self._socket is not None

    def next(self, timeout: float) -> dict[str, Any] | None:
        """The next JSON message, or None when `timeout` seconds brought none. Previews are skipped."""
        if self._socket is None:
            time.sleep(timeout)
            return None
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            try:
                raw = self._socket.recv(timeout=left)
            except TimeoutError:
                return None
            except Exception:  # noqa: BLE001 - closed, too large, no text: the caller polls from here on
                self.close()
                return None
            if isinstance(raw, str):
                try:
                    message = parse_json(raw, "the message", most_bytes=MOST_MESSAGE)
                except SowError:
                    continue
                if isinstance(message, dict):
                    return message
        return None

    def close(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            with contextlib.suppress(Exception):  # closing a socket that is already gone
                socket.close()

