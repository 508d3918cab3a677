"""Settings as text: `key=value` changes to a config, as the command line, batches and Python give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, is_dataclass, replace
from typing import Any

from ..errors import SowError
from ..outside.records import field_types
from ..outside.values import parse_value
from .config import GROUPED, SowConfig


def override(config: SowConfig, assignments: Sequence[str]) -> SowConfig:
    """Apply "cycles=5", "preserve=4,3", "modulation=none", "modulation.suppress=3" to a config, all at once.

    A part of something that is off switches it on. Settings of the predecessor's group need not name it ("grid_shift=1"
    is "predecessor.grid_shift=1"). Raises SowError.
    """
    changes: dict[str, Any] = {}
    for assignment in assignments:
        name, sign, text = assignment.partition("=")
        if not sign:
            raise SowError(f"Bad setting {assignment!r}: expected NAME=VALUE, for example cycles=5.")
        head, dot, part = name.strip().partition(".")
        if head in GROUPED and not dot:
            head, dot, part = "predecessor", ".", head
        kind = _known(SowConfig, head, name)
        if not dot:
            changes[head] = parse_value(SowConfig, head, text, name.strip())
            continue
        if not (isinstance(kind, type) and is_dataclass(kind)):
            raise SowError(f"Bad setting {name.strip()!r}: {head} has no parts.")
        _known(kind, part, name)
        current = changes.get(head, getattr(config, head))
        values = current if isinstance(current, dict) else asdict(kind() if current is None else current)
        changes[head] = values | {part: parse_value(kind, part, text, name.strip())}
    made = {k: field_types(SowConfig)[k][0](**v) if isinstance(v, dict) else v for k, v in changes.items()}
    return replace(config, **made)


def _known(cls: Any, field: str, name: str) -> Any:
    """The type of a field. Raises SowError, with the names there are, if it is unknown."""
    types = field_types(cls)
    if field not in types:
        raise SowError(f"Unknown setting {name.strip()!r}: expected one of {', '.join(sorted(types))}.")
    return types[field][0]


def with_config(config: SowConfig, **changes: Any) -> SowConfig:
    """`replace` for the few settings that have a flag of their own; None leaves the preset's value."""
    return replace(config, **{k: v for k, v in changes.items() if v is not None})
