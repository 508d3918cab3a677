"""Values of frozen settings classes from text and JSON, checked against the types of their fields."""

from __future__ import annotations

import math
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from .errors import SowError

NOTHING = ("none", "off", "null")
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@cache
def field_types(cls: type) -> dict[str, tuple[Any, bool]]:
    """Each field's type without None, and whether None is allowed."""
    made = {}
    for name, hint in get_type_hints(cls).items():
        parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        kinds = [p for p in parts if p is not NoneType]
        made[name] = (kinds[0], len(kinds) < len(parts))
    return made


def check_types(cls: type, values: dict[str, Any]) -> None:
    """Raises SowError where a value from JSON is not of its field's type (whole numbers will do for others)."""
    for name, value in values.items():
        kind, optional = field_types(cls)[name]
        if not (optional if value is None else _fits(kind, value)):
            raise SowError(f"Bad {name} {str(value)[:60]!r}: expected {_expected(kind, optional)}.")


def _fits(kind: Any, value: Any) -> bool:
    if get_origin(kind) is tuple:
        return isinstance(value, (list, tuple)) and all(_fits(get_args(kind)[0], v) for v in value)
    if kind is str or get_origin(kind) is Literal:
        return isinstance(value, str)  # which one is checked by the class, with the list of them
    if kind is bool:
        return isinstance(value, bool)
    if kind in (int, float):
        numbers = (int,) if kind is int else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, (kind, dict))


def parse_value(cls: type, name: str, text: str, label: str) -> Any:
    """The value of field `name` that `text` writes; `label` is what errors call it. Raises SowError."""
    kind, optional = field_types(cls)[name]
    plain, listed = text.strip(), get_origin(kind) is tuple
    if plain.lower() in NOTHING and (optional or listed):
        return () if listed else None
    try:
        if listed:
            return tuple(_scalar(get_args(kind)[0], part.strip()) for part in plain.split(",") if part.strip())
        return _scalar(kind, plain)
    except ValueError:
        raise SowError(f"Bad {label} {plain!r}: expected {_expected(kind, optional)}.") from None


def _scalar(kind: Any, text: str) -> Any:
    if kind is bool:
        if text.lower() not in TRUE + FALSE:
            raise ValueError
        return text.lower() in TRUE
    if kind in (int, float):
        number = float(text)
        if not math.isfinite(number) or (kind is int and number != int(number)):
            raise ValueError
        return int(number) if kind is int else number
    if kind is str or get_origin(kind) is Literal:
        return text
    if text.lower() not in TRUE:  # a settings class of its own: switched on with its defaults
        raise ValueError
    return kind()


def _expected(kind: Any, optional: bool) -> str:
    names = {int: "a whole number", float: "a finite number", bool: "true or false"}
    if get_origin(kind) is tuple:
        what = {int: "whole numbers", str: "names"}.get(get_args(kind)[0], "values") + " separated by commas"
    else:
        what = names.get(kind, "a name" if kind is str or get_origin(kind) is Literal else "on, or NAME.PART=VALUE")
    return f"{what}, or none" if optional or get_origin(kind) is tuple else what
