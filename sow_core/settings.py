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
from .outside.reading import open_file, parse_json
from .outside.text import one_line
from .pictures.reading import open_picture

CHUNK = "sow"
"""Name of the PNG text chunk that carries a picture's settings as JSON."""


def digest(path: str | Path) -> str:
    """sha256 of an ordinary file, so that a repeat notices another picture under the same name."""
    made = hashlib.sha256()
    with open_file(path, "the file") as file:
        while block := file.read(2**20):
            made.update(block)
    return made.hexdigest()


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
    """The settings in a PNG of ours: a JSON object of whatever content. Raises SowError if there are none."""
    text = getattr(open_picture(path), "text", {}).get(CHUNK)
    if not text:
        raise SowError(f"{one_line(path)} carries no settings: expected a PNG that `generate` wrote, unchanged.")
    made = parse_json(str(text), f"The settings in {one_line(path)}")
    if not isinstance(made, dict):
        raise SowError(f"The settings in {one_line(path)} are damaged; give the options by hand.")
    return made
