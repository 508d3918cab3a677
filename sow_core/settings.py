"""The text chunk that lets a PNG repeat itself."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .errors import SowError

CHUNK = "sow"
"""Name of the PNG text chunk that carries a picture's settings as JSON."""


def digest(path: str | Path) -> str:
    """sha256 of a file, so that a repeat notices another picture under the same name."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def png_bytes(picture: Image.Image, settings: dict[str, Any] | None = None) -> bytes:
    """A PNG, with its settings in the `sow` text chunk. The first chunk says who wrote it (`files.PNG_MARK`)."""
    info = PngInfo()
    info.add_text("Software", "SOW")
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
