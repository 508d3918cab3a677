"""Records: dataclasses whose types say what a foreign value must look like."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.outside.test_reading import JSON, one_clear_line

from sow_core.errors import SowError
from sow_core.outside.records import Length, Within, check_record, read_record


@dataclass(frozen=True)
class Inner:
    name: Annotated[str, Length(1, 10)]
    size: Annotated[int, Within(1, 8)] = 1


@dataclass(frozen=True)
class Outer:
    kind: Literal["a", "b"]
    inner: tuple[Inner, ...]
    best: Inner | None = None
    share: Annotated[float, Within(0, 1)] | None = None
    named: dict[str, Inner] = field(default_factory=dict)
    numbers: Annotated[list[int], Length(most=3)] = field(default_factory=list)
    either: int | str = 0
    anything: Any = None
    on: bool = False

    def __post_init__(self) -> None:
        if self.on and self.best is None:
            raise SowError("Bad on: expected a best with it.")


GOOD = {"kind": "a", "inner": [{"name": "x"}, {"name": "y", "size": 8}]}


def test_a_record_is_built_from_nested_values():
    made = read_record(Outer, {**GOOD, "best": {"name": "z"}, "share": 1, "numbers": [1, 2], "new": 1, "either": "t"})
    assert made.inner == (Inner("x"), Inner("y", 8)) and made.best == Inner("z")
    assert (made.share, made.numbers, made.either) == (1, [1, 2], "t")
    assert read_record(Outer, {**GOOD, "best": Inner("z"), "on": True}).on


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "c"}, "it: bad kind 'c': expected a | b."),
        ({"kind": ["a"]}, "it: bad kind ['a']: expected a | b."),
        ({"inner": {"name": "x"}}, "it: bad inner {'name': 'x'}: expected a list of values."),
        ({"inner": [1]}, "it: bad inner[0] 1: expected an object."),
        ({"inner": [{}]}, "it: inner[0].name is missing: expected text of 1 to 10 characters."),
        ({"inner": [{"name": ""}]}, "it: bad inner[0].name '': expected text of 1 to 10 characters."),
        ({"inner": [{"name": "x", "size": 9}]}, "it: bad inner[0].size 9: expected a whole number from 1 to 8."),
        ({"inner": [{"name": "x", "size": True}]}, "it: bad inner[0].size True: expected a whole number from 1 to 8."),
        ({"best": 3}, "it: bad best 3: expected an object, or none."),
        ({"best": {"name": 3}}, "it: bad best.name 3: expected text of 1 to 10 characters."),
        ({"share": 2}, "it: bad share 2: expected a finite number from 0 to 1, or none."),
        ({"share": 10**400}, "it: bad share 1" + "0" * 56 + "...: expected a finite number from 0 to 1, or none."),
        ({"share": float("nan")}, "it: bad share nan: expected a finite number from 0 to 1, or none."),
        ({"named": {"k": {"name": None}}}, "it: bad named.k.name None: expected text of 1 to 10 characters."),
        ({"numbers": [1] * 4}, "it: bad numbers [1, 1, 1, 1]: expected a list of whole numbers of at most 3 items."),
        ({"numbers": [1.5]}, "it: bad numbers[0] 1.5: expected a whole number."),
        ({"either": []}, "it: bad either []: expected a whole number or text."),
        ({"on": 1}, "it: bad on 1: expected true or false."),
        ({"on": True}, "it: bad on: expected a best with it."),
        ({"kind": "\x1b[2J\nerror: x"}, "it: bad kind '[2J error: x': expected a | b."),
    ],
)
def test_one_line_names_the_key(change, said):
    with pytest.raises(SowError) as caught:
        read_record(Outer, {**GOOD, **change}, "it")
    assert str(caught.value) == said


def test_unknown_and_missing_keys():
    with pytest.raises(SowError, match="^Unknown setting 'best.x': expected one of "):
        read_record(Outer, {**GOOD, "inner": [{"name": "y"}], "best": {"name": "x", "x": 1}}, strict=True)
    with pytest.raises(SowError, match="^A.json: kind is missing: expected a | b."):
        read_record(Outer, {"inner": []}, "A.json")
    with pytest.raises(SowError, match="^Bad value None: expected an object."):
        read_record(Outer, None)


def test_types_of_values_that_somebody_else_built():
    made = Outer("a", [{"name": "x"}], numbers=(3,))  # type: ignore[arg-type]
    check_record(made)
    assert made.inner == (Inner("x"),) and made.numbers == [3]
    with pytest.raises(SowError, match="^Bad outer on 'x': expected true or false."):
        check_record(Outer("a", (), best=Inner("x"), on="x"), "outer ")  # type: ignore[arg-type]


@given(JSON, st.sampled_from([*Outer.__dataclass_fields__, "inner.size", "inner.name"]))
def test_any_json_in_any_place_is_a_record_or_one_line(value, place):
    changed = {"inner": [{"name": "x", place[6:]: value}]} if "." in place else {place: value}
    for values in ({**GOOD, **changed}, value):
        try:
            assert isinstance(read_record(Outer, values, "it"), Outer)
        except SowError as error:
            one_clear_line(error, "it: ")
