"""Foreign values checked against the types of a dataclass, which say in one place what is expected.

A record is a dataclass whose fields are `bool`, `int`, `float`, `str`, a `Literal`, another record, `Any`, or of
these `X | None`, `tuple[X, ...]`, `list[X]`, `dict[str, X]` or `X | Y`. `Annotated[int, Within(1, 8)]`,
`Annotated[str, Length(most=40)]` and `Annotated[tuple[X, ...], Length(1, 8)]` bound them. A field without a default
must be there. What a class checks in its own `__post_init__` is checked too.
"""

from __future__ import annotations

import math
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ..errors import SowError
from .text import one_line, shown

R = TypeVar("R")


@dataclass(frozen=True)
class Within:
    """Smallest and largest number, both included."""

    low: float
    high: float

    def holds(self, value: Any) -> bool:
        return isinstance(value, (int, float)) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"from {_number(self.low)} to {_number(self.high)}"


@dataclass(frozen=True)
class Length:
    """Fewest and most characters of a text, or items of a list or an object."""

    least: int = 0
    most: int = 1_000_000

    def holds(self, value: Any) -> bool:
        return not hasattr(value, "__len__") or self.least <= len(value) <= self.most

    def __str__(self) -> str:
        return f"of {self.least} to {self.most}" if self.least else f"of at most {self.most}"


class Misfit(Exception):
    """A value that is not what its field expects: `where` is its place ("conditions[0].box")."""

    def __init__(self, where: str, value: object, wanted: str) -> None:
        super().__init__(where, value, wanted)
        self.where, self.value, self.wanted = where, value, wanted

    def __str__(self) -> str:
        if self.value is MISSING:
            return f"{one_line(self.where)} is missing: expected {self.wanted}."
        return f"bad {one_line(self.where)} {shown(self.value)}: expected {self.wanted}."


def read_record(cls: type[R], values: Any, what: str = "", *, strict: bool = False) -> R:
    """An instance of the record `cls` from JSON's `values`. Raises SowError with one line that names the key.

    what: begins the line ("The settings in a.png"). strict: a key that the record does not know is an error; else
    it is ignored, as another version may have written it.
    """
    try:
        return _record(cls, values, "", strict)
    except Misfit as misfit:
        raise SowError(_sentence(what, str(misfit))) from None
    except SowError as error:  # of the class's own checks
        if not what:
            raise
        raise SowError(_sentence(what, str(error))) from error


def check_record(made: Any, group: str = "") -> None:
    """What a record calls first in its `__post_init__`, so that its types hold whoever makes one.

    Raises SowError where a value is not of its field's type; lists become tuples where a tuple is wanted, objects
    become records. group: what errors put before the name of a field.
    """
    cls: type = type(made)
    for name, hint in _hints(cls).items():
        try:
            value = _value(hint, getattr(made, name), group + name, True)
        except Misfit as misfit:
            raise SowError(_sentence("", str(misfit))) from None
        object.__setattr__(made, name, value)  # frozen for everybody else


def require(ok: bool, name: str, value: object, wanted: str) -> None:
    """Raises SowError unless `ok`: for what a record's types do not say."""
    if not ok:
        raise SowError(_sentence("", str(Misfit(name, value, wanted))))


def _sentence(what: str, text: str) -> str:
    return f"{what}: {text[:1].lower()}{text[1:]}" if what else text[:1].upper() + text[1:]


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


@cache
def field_types(cls: type) -> dict[str, tuple[Any, bool]]:
    """Each field's type without None, and whether None is allowed."""
    made = {}
    for name, hint in get_type_hints(cls).items():
        kinds = [kind for kind in alternatives(hint) if kind is not NoneType]
        made[name] = (kinds[0], len(kinds) < len(alternatives(hint)))
    return made


def alternatives(hint: Any) -> tuple[Any, ...]:
    """The parts of a union, or the type alone."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _record(cls: type[R], values: Any, where: str, strict: bool) -> R:
    if isinstance(values, cls):
        return values
    if not isinstance(values, dict):
        raise Misfit(where or "value", values, "an object")
    known: dict[str, Field[Any]] = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(str(key) for key in values if key not in known)
    if strict and unknown:
        name = one_line(_inside(where, unknown[0]), 60)
        raise SowError(f"Unknown setting {name!r}: expected one of {', '.join(sorted(known))}.")
    hints = _hints(cls)  # type: ignore[arg-type]  # a type variable's class is hashable all the same
    made: dict[str, Any] = {}
    for name, field in known.items():
        hint, place = hints[name], _inside(where, name)
        if name in values:
            made[name] = _value(hint, values[name], place, strict)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise Misfit(place, MISSING, expected(hint))
    return cls(**made)


def _inside(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _value(hint: Any, value: Any, where: str, strict: bool) -> Any:
    """`value` as its hint wants it: lists become tuples where a tuple is wanted, objects become records."""
    if get_origin(hint) is Annotated:
        inner, *bounds = get_args(hint)
        try:
            made = _value(inner, value, where, strict)
        except Misfit as misfit:
            raise misfit if misfit.where != where else Misfit(where, value, expected(hint)) from None
        if made is not None and not all(b.holds(made) for b in bounds if hasattr(b, "holds")):
            raise Misfit(where, value, expected(hint))
        return made
    parts = alternatives(hint)
    if len(parts) == 1:
        return _single(hint, value, where, strict)
    if value is None and NoneType in parts:
        return None
    kinds = [kind for kind in parts if kind is not NoneType]
    if len(kinds) == 1:
        try:
            return _value(kinds[0], value, where, strict)
        except Misfit as misfit:
            raise misfit if misfit.where != where else Misfit(where, value, expected(hint)) from None
    for kind in kinds:
        try:
            return _value(kind, value, where, strict)
        except (Misfit, SowError):
            continue
    raise Misfit(where, value, expected(hint))


def _single(kind: Any, value: Any, where: str, strict: bool) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (tuple, list) and isinstance(value, (list, tuple)):
        return origin(_value(parts[0], item, f"{where}[{n}]", strict) for n, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {key: _value(parts[1], item, _inside(where, str(key)), strict) for key, item in value.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        return _record(kind, value, where, strict)
    if not _fits(kind, value):
        raise Misfit(where, value, expected(kind))
    return value


def _fits(kind: Any, value: Any) -> bool:
    if get_origin(kind) is Literal:
        return any(type(value) is type(choice) and value == choice for choice in get_args(kind))
    if kind is float:
        # A comparison of a whole number is exact; converting a large one would overflow. NaN compares as false.
        return type(value) is not bool and isinstance(value, (int, float)) and -MOST < value < MOST
    if kind is int:
        return type(value) is not bool and isinstance(value, int) and -MOST < value < MOST
    # Python 3.10 takes list[int] for a class, and then refuses to look for its instances.
    return isinstance(kind, type) and get_origin(kind) is None and isinstance(value, kind)


MOST = 1.7e308
"""Beyond it no float is finite."""


def expected(hint: Any) -> str:
    """What a field wants, in words: "a whole number from 1 to 8, or none"."""
    if get_origin(hint) is Annotated:
        inner, *bounds = get_args(hint)
        kinds = [kind for kind in alternatives(inner) if kind is not NoneType]
        words = " ".join([" or ".join(map(expected, kinds)), *map(str, bounds)])
        words += " characters" * (kinds == [str]) + " items" * (get_origin(kinds[0]) in (tuple, list))
        return f"{words}, or none" if len(kinds) < len(alternatives(inner)) else words
    parts = alternatives(hint)
    if len(parts) > 1:
        words = " or ".join(expected(part) for part in parts if part is not NoneType)
        return f"{words}, or none" if NoneType in parts else words
    origin = get_origin(hint)
    if origin is Literal:
        return " | ".join(map(str, get_args(hint)))
    if origin in (tuple, list):
        return f"a list of {_PLURALS.get(get_args(hint)[0], 'values')}"
    if origin is dict or (isinstance(hint, type) and is_dataclass(hint)):
        return "an object"
    return _NAMES.get(hint, "a value")


_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    dict: "an object",
    list: "a list",
}
_PLURALS: dict[Any, str] = {int: "whole numbers", float: "numbers", str: "texts", bool: "true or false"}


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) or not math.isfinite(value) else f"{value:g}"
