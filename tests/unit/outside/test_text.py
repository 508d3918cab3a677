"""One printable line, whatever comes."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from sow_core.outside.text import one_line, shown

ANYTHING = st.text(st.characters(), max_size=80) | st.integers() | st.binary(max_size=20) | st.lists(st.text())


@given(ANYTHING, st.integers(10, 60))
@example("fine\nerror: forged", 60)
@example("\x1b[31mred\x1b]0;title\x07", 60)
@example("abc\u202edef\u2066", 60)
@example("\ud800\u2028\x85", 60)
@example(" " * 10_000 + "x", 20)
@example(10**5000, 20)
def test_one_printable_line(value, limit):
    for line in (one_line(value, limit), shown(value, limit)):
        assert line.isprintable() and len(line) <= limit + 2
        line.encode()


def test_plain_text_stays():
    assert one_line("Grüße, 🐱 (1 < 2)") == "Grüße, 🐱 (1 < 2)"
    assert one_line("a" * 200) == "a" * 157 + "..."
    assert one_line("a \t b\n") == "a b"
    assert shown("x\ny") == "'x y'" and shown(3) == "3" and shown(dict.fromkeys(range(99))) == "an object of 99"


def test_a_deeply_nested_value_is_shown():
    value: list = []
    for _ in range(100_000):
        value = [value]
    assert one_line(value) == "list"
