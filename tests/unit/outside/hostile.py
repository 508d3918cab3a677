"""A server on this machine that answers with any bytes at all, in any rhythm."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Behaviour = Callable[[socket.socket, bytes, threading.Event], None]
"""Given a connection, the head of its request and what is set when the test ends."""


def plain(body: bytes, status: str = "200 OK", head: str = "") -> bytes:
    """An answer with its length."""
    return f"HTTP/1.1 {status}\r\n{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def says(answer: bytes) -> Behaviour:
    """Answers with these bytes and closes."""
    return lambda connection, head, over: connection.sendall(answer)


def drips(start: bytes, drop: bytes, pause: float = 0.05) -> Behaviour:
    """`start` at once, then `drop` again and again for ever: each in time, the whole never."""

    def run(connection: socket.socket, head: bytes, over: threading.Event) -> None:
        connection.sendall(start)
        while not over.wait(pause):
            connection.sendall(drop)

    return run


def silent(connection: socket.socket, head: bytes, over: threading.Event) -> None:
    over.wait(60)


class Hostile:
    """`url` is its address, `heads` the heads of the requests that came."""

    def __init__(self, behaviour: Behaviour, read: bool = True) -> None:
        self.behaviour, self.read = behaviour, read
        self.heads: list[bytes] = []
        self.over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            data = b""
            while self.read and b"\r\n\r\n" not in data:
                part = connection.recv(65536)
                if not part:
                    return
                data += part
            head, _, body = data.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            while length and len(body) < int(length[1]):
                body += connection.recv(65536)
            self.heads.append(head)
            self.behaviour(connection, head, self.over)

    def close(self) -> None:
        self.over.set()
        self._listener.close()


@contextmanager
def hostile(behaviour: Behaviour, read: bool = True) -> Iterator[Hostile]:
    server = Hostile(behaviour, read)
    try:
        yield server
    finally:
        server.close()
