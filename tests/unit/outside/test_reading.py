"""Files and JSON from outside: what is read, and one line for everything else."""

from __future__ import annotations

import json
import math
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sow_core.errors import SowError
from sow_core.outside.reading import (
    decode,
    expanded,
    open_file,
    parse_json,
    read_file,
    read_json_file,
    read_text_file,
)

TEXT = '{"a": "Grüße 🐱", "b": [1, 2.5, null, true]}'
VALUE = {"a": "Grüße 🐱", "b": [1, 2.5, None, True]}


def one_clear_line(error: SowError, *words: str) -> None:
    text = str(error)
    assert text.isprintable() and len(text) < 600, text
    assert all(word in text for word in words), text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_encoding_whose_mark_tells(encoding, tmp_path):
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    path = tmp_path / "a.json"
    path.write_bytes(mark + TEXT.encode(encoding))
    assert read_json_file(path, "the plan") == VALUE
    assert read_text_file(path, "the plan") == TEXT


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff", ("the plan x is not text in UTF-8 (byte 0)", "save it as UTF-8")),
        ('{"a": 1}'.encode("utf-16-le"), ("holds a NUL",)),
        (b"\xff\xfe{", ("is not text",)),
        ('"é"'.encode("latin-1"), ("(byte 1)",)),
        (b"", ("it is empty",)),
        (b" \n", ("it is empty",)),
        (b'{"a": 1,}', ("a comma before a closing bracket", "line 1")),
        (b'{"a": [1,\n]}', ("a comma before a closing bracket",)),
        (b'{"a": 1,,"b": 2}', ("two commas",)),
        (b'{"a": 1, // why\n"b": 2}', ("a comment", "line 1, column 10")),
        (b"{'a': 1}", ("single quotes", "line 1, column 2")),
        (b'{"a": [1, 2', ("cut off",)),
        (b'{"a": "b', ("cut off",)),
        (b"<html>", ("web page",)),
        (b'{"a" 1}', ("line 1, column 6",)),
        (b"{} {}", ("line 1, column 4",)),
        (b"1" * 30, ("at most 64 bits",)),
        (b"9" * 10_000, ("at most 64 bits",)),
        (b"[1e999]", ("1e999", "too large")),
        (b"[NaN]", ("NaN",)),
        (b"[-Infinity]", ("-Infinity",)),
        (b'{"a": [{"b": "\\ud800"}]}', ("half a character", "in a[0].b")),
        (b'{"\\udc00": 1}', ("half a character",)),
        (b'["\\u0000"]', ("a NUL", "in [0]")),
        (b"[" * 101 + b"]" * 101, ("nested too deeply", "at most 100")),
        (b"[" * 200_000, ("nested too deeply",)),
        (b'{"a":' * 100_000, ("nested too deeply",)),
        (b" " * 2000, ("too large: expected at most 1 kB",)),
    ],
    ids=range(28),
)
def test_what_is_refused(content, words):
    limit = 1024 if content == b" " * 2000 else 2**20
    with pytest.raises(SowError) as caught:
        parse_json(content, "the plan x", most_bytes=limit)
    one_clear_line(caught.value, "the plan x", *words)


def test_seeds_and_depth_at_the_limit():
    assert parse_json(str(2**64), "it") == 2**64
    assert parse_json("[" * 100 + "]" * 100, "it")
    assert parse_json("[5e-324, -1e-310, 1e-200]", "it") == [0.0, 0.0, 1e-200]
    assert parse_json("\ufeff{}", "it") == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
)


def writable(value: object) -> None:
    """Whatever was read can be written down again as strict JSON in UTF-8."""
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


@given(JSON.map(json.dumps) | st.text(alphabet='{}[]",:\\u0d8 1e9-\n', max_size=60) | st.text(max_size=40))
def test_any_text_is_json_that_can_be_written_again_or_one_line(text):
    try:
        writable(parse_json(text, "it"))
    except SowError as error:
        one_clear_line(error)


@given(st.binary(max_size=200) | JSON.map(lambda v: json.dumps(v).encode("utf-16")))
def test_any_bytes_are_json_or_one_line(content):
    try:
        writable(parse_json(content, "it"))
    except SowError as error:
        one_clear_line(error)


@given(st.binary(max_size=100))
def test_any_bytes_are_text_or_one_line(content):
    try:
        assert "\0" not in decode(content, "it").encode().decode()
    except SowError as error:
        one_clear_line(error)


def specials(folder):
    """Names of things that are no ordinary file, with what the message says of each."""
    yield folder, "folder"
    yield folder / "missing\x1b[31m", "There is no plan"
    yield folder / ("x" * 300), "too long"
    yield "a\0b", "no file system takes"
    yield "\ud800", ""
    yield "", ""
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe")
        yield folder / "pipe", "no ordinary file"
        yield "/dev/zero", "no ordinary file"
        os.symlink("loop", folder / "loop")
        yield folder / "loop", "round in circles"
        server = socket.socket(socket.AF_UNIX)
        server.bind(os.path.relpath(folder / "socket"))
        yield folder / "socket", "no ordinary file"
        server.close()


def test_only_ordinary_files_are_read_and_nothing_waits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path, words in specials(tmp_path):
        with pytest.raises(SowError) as caught:
            open_file(path, "the plan")
        one_clear_line(caught.value, words)


def test_a_large_file_is_not_read_whole(tmp_path):
    with open(tmp_path / "big", "wb") as file:
        file.truncate(2**33)
    with pytest.raises(SowError, match="The plan .*big is too large: expected at most 8 MB"):
        read_file(tmp_path / "big", "the plan")


def test_a_home_that_nobody_knows(monkeypatch):
    with pytest.raises(SowError, match="write the path out"):
        expanded("~nobody-has-this-name/x")
    assert expanded("a/b").name == "b"


def test_tiny_numbers_cannot_make_a_quotient_overflow():
    assert math.isfinite(1 / (parse_json("1e-299", "it")))
