"""Addresses of servers, whose credentials (`https://user:password@host`, `?token=...`) are in no representation."""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import SowError, one_line
from .credentials import basic


@dataclass(frozen=True)
class Address:
    """Where a server listens. `query` goes with every request (`?token=...`); it and `authorization` are secrets."""

    scheme: str
    host: str
    port: int | None
    prefix: str
    query: str = field(default="", repr=False)
    authorization: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str, what: str = "server", example: str = "http://127.0.0.1:8188") -> Address:
        """From "127.0.0.1:8188" or "https://user:password@host/prefix?token=x".

        Raises SowError, which shows neither user, password nor query.
        """
        trouble = SowError(f"Bad {what} {_bare(text)!r}: expected a URL like {example}.")
        plain = text.strip()
        if not plain or not plain.isprintable() or " " in plain or "\\" in plain:
            raise trouble
        try:
            url = urllib.parse.urlsplit(plain if "://" in plain else f"http://{plain}")
            port, host = url.port, url.hostname or ""
            if ":" in host or "[" in url.netloc.rpartition("@")[2]:  # before Python 3.11.4 any text stands in [...]
                ipaddress.IPv6Address(host.partition("%")[0])
            else:
                host = host.encode("idna").decode()
                if not re.fullmatch(r"[a-z0-9._-]+", host):
                    raise ValueError
        except ValueError:  # a port that is no number, half an IPv6 address, a label that is too long
            raise trouble from None
        if url.scheme not in ("http", "https") or port == 0 or url.fragment:
            raise trouble
        secret = ""
        if url.username is not None:
            user, password = (urllib.parse.unquote(part or "") for part in (url.username, url.password))
            secret = basic(user, password)
        path = urllib.parse.quote(url.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
        return cls(url.scheme, host, port, path, urllib.parse.quote(url.query, safe="=&%+/:@,;~!*'()"), secret)

    def with_token(self, header: str) -> Address:
        """The same with this Authorization header, unless the address has its own."""
        if self.authorization or not header:
            return self
        return Address(self.scheme, self.host, self.port, self.prefix, self.query, header)

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        return is_loopback(self.host)

    def url(self, path: str, query: Mapping[str, str] | None = None, scheme: str | None = None) -> str:
        """The full address of a request. It may hold a token: not for messages."""
        parts = [part for part in (self.query, urllib.parse.urlencode(query or {}, errors="replace")) if part]
        tail = f"?{'&'.join(parts)}" if parts else ""
        return f"{scheme or self.scheme}://{self.netloc}{self.prefix}{path}{tail}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.prefix}"


def _bare(text: str) -> str:
    """An address for messages, without what may be secret in it: user and password, query and fragment."""
    head, sign, rest = text.rpartition("://")
    return one_line(head + sign + re.split(r"[?#]", rest.rpartition("@")[2])[0], 80)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: such servers are reached without a proxy, and keys may go to them in the open."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost"
