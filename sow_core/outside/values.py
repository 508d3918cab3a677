"""Values of a dataclass's fields from text that a user types, checked against the types of these fields."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args, get_origin

from ..errors import SowError
from .records import field_types
from .text import shown

NOTHING = ("none", "off", "null")
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


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
        raise SowError(f"Bad {label} {shown(plain)}: expected {_expected(kind, optional)}.") from None


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
