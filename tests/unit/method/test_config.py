"""Settings classes check the types of their fields, whoever makes one."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from sow_core.errors import SowError
from sow_core.method.config import Predecessor, SowConfig
from sow_core.method.strength import Modulation
from sow_core.outside.records import field_types

CLASSES = (SowConfig, Predecessor, Modulation)
WRONG: list[Any] = [
    None, True, 1.5, "x", b"x", float("nan"), float("inf"), 10**400, 10**5000, -1, [], ["x"], [1.5], (None,), {},
    {"a": 1}, {1}, object(), int, [[1]], "a\nb",
]  # fmt: skip
NUMBERS = ("bool", "int", "float")


def fits(cls: type, name: str, value: Any) -> bool:
    """Whether the value is of the field's type, told apart by hand; its range is the class's own business."""
    kind, optional = field_types(cls)[name]
    if value is None:
        return optional
    told = getattr(kind, "__name__", "")
    if told in NUMBERS:
        return type(value) is kind or (told == "float" and type(value) is int)
    if "tuple" in str(kind):
        inner = int if "int" in str(kind) else str
        return isinstance(value, (list, tuple)) and all(type(v) is inner for v in value)
    if "Literal" in str(kind):
        return isinstance(value, str)
    return isinstance(value, kind) or value == {}  # an object of defaults


@pytest.mark.parametrize(
    ("cls", "name"), [(c, f.name) for c in CLASSES for f in fields(c)], ids=lambda v: getattr(v, "__name__", v)
)
def test_a_value_of_another_type_is_one_line(cls, name):
    for value in WRONG:
        try:
            made = cls(**{name: value})
        except SowError as error:
            assert name in str(error) and "\n" not in str(error) and len(str(error)) < 300
        else:
            assert fits(cls, name, value), f"{name}={value!r} was accepted"
            assert hash(made) == hash(cls(**{name: value})), "a list has become a tuple"


@pytest.mark.parametrize("cls", CLASSES)
def test_defaults_and_whole_numbers_in_place_of_others_are_accepted(cls):
    made = cls()
    for f in fields(cls):
        value = getattr(made, f.name)
        if isinstance(value, float) and value == int(value):
            assert cls(**{f.name: int(value)}) == made


def test_values_are_those_of_their_names():
    assert SowConfig(preserve=[4]).preserve == (4,)  # type: ignore[arg-type]
    with pytest.raises(SowError, match="^Bad cycles True: expected a whole number.$"):
        SowConfig(cycles=True)
    assert SowConfig(modulation={"enhance": 3}) == SowConfig(modulation=Modulation(enhance=3))  # type: ignore[arg-type]
    for values in ([], None, "x", {"predecessor": 3, "grid_shift": 1}, {"predecessor": {"x": 1}}):
        with pytest.raises(SowError, match="expected (an object|one of)"):
            SowConfig.from_dict(values)  # type: ignore[arg-type]
    with pytest.raises(SowError, match="^Bad modulation 'on': expected an object, or none.$"):
        SowConfig(modulation="on")  # type: ignore[arg-type]
