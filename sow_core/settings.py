"""Settings as text: `key=value` overrides of a config, and the chunk that lets a PNG repeat itself."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .errors import SowError
from .plan import SowConfig

CHUNK = "sow"
"""Name of the PNG text chunk that carries a picture's settings as JSON."""


def override(config: SowConfig, assignments: Sequence[str]) -> SowConfig:
    """Apply "cycles=5", "preserve=4,3", "modulation=none", "modulation.suppress=3" to a config."""
    for assignment in assignments:
        name, sign, text = assignment.partition("=")
        if not sign:
            raise SowError(f"Bad setting {assignment!r}: expected NAME=VALUE, for example cycles=5.")
        values = config.as_dict()
        head, _, tail = name.strip().partition(".")
        holder: Any = values
        if tail:
            holder = values.get(head)
            if not isinstance(holder, dict):
                raise SowError(f"Bad setting {name!r}: {head} is off or has no parts.")
            head = tail
        if head not in holder:
            raise SowError(f"Unknown setting {name!r}: expected one of {', '.join(sorted(holder))}.")
        holder[head] = _value(text.strip(), holder[head], name)
        config = SowConfig.from_dict(values)
    return config


def _value(text: str, current: Any, name: str) -> Any:
    if text.lower() in ("none", "off", "null"):
        return () if isinstance(current, (list, tuple)) else None
    if isinstance(current, (list, tuple)):
        parts = [p.strip() for p in text.split(",") if p.strip()]
        return tuple(_number(p, name) if p.lstrip("-").isdigit() else p for p in parts)
    if isinstance(current, bool):
        if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise SowError(f"Bad {name} {text!r}: expected true or false.")
        return text.lower() in ("true", "1", "yes")
    if isinstance(current, str):
        return text
    if isinstance(current, dict):
        raise SowError(f"Bad {name} {text!r}: set its parts ({name}.NAME=VALUE), or none.")
    number = _number(text, name)
    if isinstance(current, int) and number != int(number):
        raise SowError(f"Bad {name} {text!r}: expected a whole number.")
    return int(number) if isinstance(current, int) else number


def _number(text: str, name: str) -> float | int:
    try:
        value = float(text)
    except ValueError:
        raise SowError(f"Bad {name} {text!r}: expected a number.") from None
    if value != value or abs(value) == float("inf"):
        raise SowError(f"Bad {name} {text!r}: expected a finite number.")
    return int(value) if value == int(value) and "." not in text and "e" not in text.lower() else value


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
