"""A loopback server that speaks the part of ComfyUI's HTTP and websocket protocol that `submit` uses.

The shapes (routes, JSON, order of the messages, where `prompt_id` stands) are those observed on ComfyUI 0.27.
A `Script` says what a queued run does.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import struct
import threading
import time
import urllib.parse
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PROMPT_ID = "5c1d2a51-0000-4000-8000-000000000001"
LOAD_IMAGE = {"LoadImage": {"input": {"required": {"image": [["a.png"], {"image_upload": True}]}}}}
OTHER = {"input": {"required": {"text": ["STRING", {}]}}}


@dataclass
class Script:
    messages: list = field(default_factory=list)  # (type, data) in order; bytes is a preview
    history: dict | None = None  # None: the run never ends
    refusal: dict | None = None
    node_errors: dict = field(default_factory=dict)
    files: dict = field(default_factory=dict)
    websocket: bool = True
    close_after: int | None = None  # drop the socket after so many messages
    known: bool = True  # whether /queue lists the run
    repeat: bool = False  # send the messages again and again
    moved: str = ""  # where the websocket redirects to
    raw: dict = field(default_factory=dict)  # start of a path: the bytes (or status and bytes) that answer it


class FakeComfy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = script
        self.posted: list[dict] = []
        self.seen: list[tuple[str, str | None]] = []  # path and Authorization of every request
        self.uploads: dict[str, bytes] = {}
        self.cancelled: list[tuple[str, dict]] = []
        self.done = threading.Event()
        self.queued = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeComfy

    def log_message(self, *args) -> None:
        pass

    def parse_request(self) -> bool:
        parsed = super().parse_request()
        if parsed:
            self.server.seen.append((self.path, self.headers.get("Authorization")))
        return parsed

    def answer(self, value, status: int = 200, kind: str = "application/json") -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def raw(self) -> bool:
        """Answer with what the script has for this path, if it has something."""
        found = next((v for k, v in self.server.script.raw.items() if self.path.startswith(k)), None)
        if found is not None:
            status, body = found if isinstance(found, tuple) else (200, found)
            self.answer(body, status, "text/html")
        return found is not None

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        script = self.server.script
        if self.raw():
            return None
        if url.path == "/ws":
            return self.websocket() if script.websocket or script.moved else self.answer({}, 404)
        if url.path == "/view":
            data = script.files.get((query["type"], query["subfolder"], query["filename"]))
            return self.answer(data, kind="image/png") if data is not None else self.answer({}, 404)
        if url.path == "/html":
            return self.answer(b"<html>", kind="text/html")
        if url.path.startswith("/object_info/"):
            name = url.path.rpartition("/")[2]
            return self.answer(LOAD_IMAGE if name == "LoadImage" else {name: OTHER})
        if url.path == f"/history/{PROMPT_ID}":
            ready = script.history is not None and (self.server.done.is_set() or not script.websocket)
            return self.answer({PROMPT_ID: script.history} if ready else {})
        if url.path == "/queue":
            return self.answer({"queue_running": [[0, PROMPT_ID, {}, {}, []]] if script.known else [],
                                "queue_pending": []})
        return self.answer({}, 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.raw():
            return None
        path = urllib.parse.urlsplit(self.path).path
        if path == "/upload/image":
            match = re.search(rb'filename="([^"]*)"\r\n.*?\r\n\r\n(.*)\r\n--', body, re.S)
            name = match.group(1).decode()
            self.server.uploads[name] = match.group(2)
            return self.answer({"name": f"up_{name}", "subfolder": "", "type": "input"})
        data = json.loads(body)
        if path in ("/queue", "/interrupt"):
            self.server.cancelled.append((path, data))
            return self.answer(b"")
        self.server.posted.append(data)
        if self.server.script.refusal is not None:
            return self.answer(self.server.script.refusal, 400)
        self.answer({"prompt_id": PROMPT_ID, "number": 0, "node_errors": self.server.script.node_errors})
        return self.server.queued.set()

    def websocket(self) -> None:
        if self.server.script.moved:
            self.send_response(307)
            self.send_header("Location", self.server.script.moved)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        self.frame(json.dumps({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}}}))
        if not self.server.queued.wait(10):
            return
        script = self.server.script
        endless = itertools.cycle(script.messages) if script.repeat else script.messages
        for index, message in enumerate(endless):
            if script.close_after == index:
                self.server.done.set()
                return
            self.frame(message if isinstance(message, bytes) else json.dumps(
                {"type": message[0], "data": {**message[1], "prompt_id": PROMPT_ID}}))
        self.server.done.set()
        time.sleep(0.2 if script.history is not None else 5)

    def frame(self, payload: str | bytes) -> None:
        """One unmasked frame: opcode 1 is text, 2 is binary."""
        data = payload.encode() if isinstance(payload, str) else payload
        opcode = 0x81 if isinstance(payload, str) else 0x82
        head = bytes([opcode, len(data)]) if len(data) < 126 else struct.pack(">BBH", opcode, 126, len(data))
        self.wfile.write(head + data)
        self.wfile.flush()


@contextmanager
def serve(script: Script):
    server = FakeComfy(script)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
