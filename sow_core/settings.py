"""Settings as text: `key=value` overrides of a config, and the chunk that lets a PNG repeat itself."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .errors import SowError
from .fields import field_types, parse_value
from .method.plan import SowConfig

CHUNK = "sow"
"""Name of the PNG text chunk that carries a picture's settings as JSON."""


def override(config: SowConfig, assignments: Sequence[str]) -> SowConfig:
    """Apply "cycles=5", "preserve=4,3", "modulation=none", "modulation.suppress=3" to a config, all at once.

    A part of something that is off switches it on. Raises SowError.
    """
    changes: dict[str, Any] = {}
    for assignment in assignments:
        name, sign, text = assignment.partition("=")
        if not sign:
            raise SowError(f"Bad setting {assignment!r}: expected NAME=VALUE, for example cycles=5.")
        head, dot, part = name.strip().partition(".")
        kind = _known(SowConfig, head, name)
        if not dot:
            changes[head] = parse_value(SowConfig, head, text, name.strip())
            continue
        if not hasattr(kind, "from_dict"):
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


def digest(path: str | Path) -> str:
    """sha256 of a file, so that a repeat notices another picture under the same name."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def png_bytes(picture: Image.Image, settings: dict[str, Any] | None = None) -> bytes:
    """A PNG, with its settings in the `sow` text chunk."""
    info = PngInfo()
    if settings is not None:
        info.add_itxt(CHUNK, json.dumps(settings, ensure_ascii=False, sort_keys=True))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def read_settings(path: str | Path) -> dict[str, Any]:
    """The settings in a PNG of ours. Raises SowError if there are none."""
    try:
        with Image.open(path) as picture:
            picture.load()
            text = getattr(picture, "text", {}).get(CHUNK)
    except FileNotFoundError:
        raise SowError(f"No such picture: {path}.") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise SowError(f"Cannot read {path} as a PNG ({str(error)[:80]}).") from error
    if not text:
        raise SowError(f"{path} carries no settings: expected a PNG that `generate` wrote, unchanged.")
    try:
        made = json.loads(text)
    except ValueError as error:
        raise SowError(f"The settings in {path} are damaged; give the options by hand.") from error
    if not isinstance(made, dict):
        raise SowError(f"The settings in {path} are damaged; give the options by hand.")
    return made
