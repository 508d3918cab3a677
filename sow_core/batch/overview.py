"""One picture of a batch's pictures."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import SowError
from ..files import atomic_write
from ..pictures.reading import load_picture
from ..pictures.sheet import contact_sheet
from ..settings import png_bytes
from .results import NAME, read_results

MOST_TILES = 120


def write_overview(out: str | os.PathLike[str], path: str | os.PathLike[str]) -> int:
    """A contact sheet of the first MOST_TILES pictures in a folder of results; how many it shows. Raises SowError."""
    folder = Path(out)
    last: dict[str, list[str]] = {}
    for record in read_results(folder / NAME):
        files = record.get("files")
        if record["state"] == "done" and isinstance(files, list):
            last[record["id"]] = [str(name) for name in files]
        else:
            last.pop(record["id"], None)
        if len(last) > MOST_TILES:
            break
    names = [name for files in last.values() for name in files if Path(name).name == name][:MOST_TILES]
    tiles = [(Path(name).stem, load_picture(folder / name)[0].copy()) for name in names if (folder / name).is_file()]
    if not tiles:
        raise SowError(f"There is no picture in {folder} to make a sheet of.")
    for _, picture in tiles:
        picture.thumbnail((192, 192))
    atomic_write(path, png_bytes(contact_sheet(tiles, tile=128 if len(tiles) > 24 else 192)))
    return len(tiles)
