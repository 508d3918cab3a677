"""The one HTTP client against servers that do everything wrong."""

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from unit.outside.hostile import drips, hostile, plain, says, silent
from unit.outside.test_reading import one_clear_line

from sow_core.errors import SowError
from sow_core.outside import http
from sow_core.outside.address import Address, is_loopback
from sow_core.outside.http import NoReply, send

LOGIN = plain(b"<html>log in</html>", head="Content-Type: text/html\r\n")


def ask(server, deadline=5.0, **others):
    return send(Address.parse(server.url), "/x", deadline=deadline, **others)


def test_an_answer_with_its_status():
    with hostile(says(plain(b'{"a": 1}', "418 A \x1b[31mpot", "X-Name: v\r\n"))) as server:
        reply = ask(server, data=b"body", query={"q": "a b&c"})
    assert (reply.status, reply.reason, reply.headers["x-name"]) == (418, "A [31mpot", "v")
    assert reply.json() == {"a": 1}
    assert server.heads[0].startswith(b"POST /x?q=a+b%26c HTTP/1.1")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", "network"),
        (b"hello\r\n\r\n", "odd"),
        (b"\x00" * 500, "odd"),
        (b"A" * 200_000, "odd"),
        (b"HTTP/1.1 abc OK\r\n\r\n", "odd"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000 + b"\r\n", "odd"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n", "odd"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nshort", "network"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "network"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx", "network"),
        (plain(b"x" * 5000), "large"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n" + b"x" * 5000, "large"),
        (plain(b"", "302 Found", "Location: https://elsewhere.example/login?secret=1\r\n"), "redirect"),
        (plain(b"", "307 Found", "Location: /login\r\n"), "redirect"),
        (plain(b"", "301 Found", "Location: http://[::1/\x1b[2J\r\n"), "redirect"),
        (plain(b"", "303 Found"), "redirect"),
        (plain(b"", "302 Found", "Location: file:///etc/passwd\r\n"), "redirect"),
    ],
    ids=range(17),
)
def test_what_is_no_answer(answer, kind):
    with hostile(says(answer)) as server, pytest.raises(NoReply) as caught:
        ask(server, most_bytes=4000)
    assert caught.value.kind == kind
    one_clear_line(caught.value, server.url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "behaviour",
    [
        silent,
        drips(b"", b"H"),
        drips(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", 0.01),
        drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01),
        drips(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"x"),
        drips(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        drips(b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    ],
    ids=["silent", "status", "header", "continue", "length", "chunks", "until closed"],
)
def test_a_deadline_for_the_whole(behaviour):
    with hostile(behaviour) as server:
        start = time.monotonic()
        with pytest.raises(NoReply) as caught:
            ask(server, deadline=0.4)
        assert time.monotonic() - start < 5  # it would never end by itself
    assert caught.value.kind in ("timeout", "odd")


def test_a_large_answer_gets_the_time_it_needs():
    """Twenty bytes in over a second, with .3 s for the whole: enough at a byte a second, not at a million."""
    slow = drips(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n", b"x")
    with hostile(slow) as server:
        assert ask(server, deadline=0.3, slowest=1.0).body == b"x" * 20
        with pytest.raises(NoReply):
            ask(server, deadline=0.3, slowest=1e6)


@pytest.mark.parametrize("behaviour", [silent, says(LOGIN), drips(b"", b"x")], ids=["silent", "http", "drips"])
def test_https_to_a_port_that_does_not_speak_it(behaviour, monkeypatch):
    monkeypatch.setattr(http, "CONNECT_SECONDS", 0.5)
    with hostile(behaviour, read=False) as server, pytest.raises(NoReply) as caught:
        send(Address.parse(server.url.replace("http:", "https:")), "/", deadline=3.0)
    assert caught.value.kind in ("tls", "timeout", "network")


def test_nobody_listens():
    with hostile(silent) as server:
        server.close()
        with pytest.raises(NoReply, match="Cannot reach http://127.0.0.1:") as caught:
            ask(server)
    assert caught.value.kind == "network"


def test_credentials_go_in_the_header_and_to_no_message():
    with hostile(says(plain(b"{}"))) as server:
        address = Address.parse(f"ann:s3%40cret@127.0.0.1:{server.port}/comfy/?token=t0ken")
        send(address, "/queue", deadline=5, query={"a": "b"})
        own = Address.parse(server.url).with_token("Bearer t0p")
        send(own, "/", deadline=5)
    first, second = server.heads
    assert first.startswith(b"GET /comfy/queue?token=t0ken&a=b HTTP/1.1")
    assert base64.b64encode(b"ann:s3@cret") in first and b"ann" not in first.partition(b"Authorization")[0]
    assert b"Authorization: Bearer t0p" in second
    shown = f"{address} {address!r} {own!r} {NoReply(address, 'network', 'x')}"
    assert not any(secret in shown for secret in ("ann:", "s3", "cret", "t0"))
    assert address.with_token("Bearer other").authorization == address.authorization


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "ftp://host", "http://", "host:port", "host:99999", "host:0", "http://[::1", "http://[zz]:80", "http://::1",
        "a b", "http://a\nb", "http://host\\x", "http://a..b", "http://" + "a" * 70, "http://\ud800", "http://h#f", "http://\0",
        "http://ann:pass word@h", "http://ann:secret@host:99999", "http://ann:secret@ho st?token=secret",
        "ann:secret@h:x",
    ],
)  # fmt: skip
def test_bad_addresses_show_no_secret(text):
    with pytest.raises(SowError, match="Bad server .*: expected a URL like") as caught:
        Address.parse(text)
    one_clear_line(caught.value)
    assert "secret" not in str(caught.value) and "pass" not in str(caught.value)


@given(st.text(max_size=30) | st.text(alphabet="htps:/[]@?#%.a1é ", max_size=30))
@example("http://[1::%25eth0]:80")
@example("xn--a:1")
def test_any_address_is_one_or_one_line(text):
    try:
        address = Address.parse(text)
    except SowError as error:
        one_clear_line(error)
    else:
        assert f"{address}{address.url('/x', {'a': text})}".isascii()


def test_this_machine():
    assert all(map(is_loopback, ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LOCALHOST"]))
    assert not any(map(is_loopback, ["10.0.0.1", "::2", "localhost.evil.example", "127.0.0.1.evil.example", ""]))


def test_a_public_host_name_in_another_script():
    assert str(Address.parse("https://bücher.example/ö")) == "https://xn--bcher-kva.example/%C3%B6"
