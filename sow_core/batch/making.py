"""A jobs file from a folder of pictures."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import SowError
from ..files import atomic_write, check_writable
from ..outside.text import one_line
from .task import DEVICES, LONGEST_ID

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
MASK = "_mask"
"""tom_mask.png is the mask of tom.png."""


def make_jobs(
    path: str | os.PathLike[str],
    pictures: str | os.PathLike[str],
    masks: str | os.PathLike[str] | None = None,
    common: Mapping[str, Any] | None = None,
) -> int:
    """Write a jobs file with one job for each picture of a folder, in the order of their names; how many there are.

    masks: a folder with a mask for each picture, called like it or with _mask behind; without one, a NAME_mask beside
    a picture is its mask. common: what a job has besides, by a line's names. Raises SowError, also if the file
    exists.
    """
    target = check_writable(path)
    if target.exists():
        raise SowError(f"{target} exists already; choose another name, or remove it.")
    here = target.absolute().parent
    found = _pictures(pictures)
    apart = _by_stem(_pictures(masks)) if masks is not None else {}
    beside = _by_stem(found)
    lines: list[str] = []
    taken: set[str] = set()
    for picture in found:
        if masks is None and picture.stem.endswith(MASK) and picture.stem.removesuffix(MASK) in beside:
            continue  # a mask itself
        mask = apart.get(picture.stem) or apart.get(picture.stem + MASK) if masks is not None else None
        mask = mask or (beside.get(picture.stem + MASK) if masks is None else None)
        if masks is not None and mask is None:
            wanted = f"{picture.stem}{MASK}.png or {picture.name}"
            raise SowError(f"No mask for {picture.name} in {masks}: expected {wanted}.")
        job: dict[str, Any] = {"id": _id(picture, taken), "condition": _relative(picture, here)}
        if mask is not None:
            job["mask"] = _relative(mask, here)
        lines.append(json.dumps(dict(common or {}) | job, ensure_ascii=False) + "\n")
    if not lines:
        raise SowError(f"No pictures in {one_line(pictures)}: expected {', '.join(ENDINGS)}.")
    atomic_write(target, "".join(lines))
    return len(lines)


def _pictures(folder: str | os.PathLike[str]) -> list[Path]:
    try:
        return sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in ENDINGS and p.is_file())
    except OSError as error:
        raise SowError(f"Cannot read the folder {one_line(folder)}: {error.strerror or error}.") from error


def _by_stem(pictures: list[Path]) -> dict[str, Path]:
    return {path.stem: path for path in pictures}


def _relative(path: Path, here: Path) -> str:
    """As the jobs file names it: the two can be moved together."""
    try:
        return Path(os.path.relpath(path.absolute(), here)).as_posix()
    except ValueError:  # Windows: on another drive
        return str(path.absolute())


def _id(picture: Path, taken: set[str]) -> str:
    """The picture's name as an id that no other one has."""
    plain = re.sub(r"[^\w.+=@-]+", "_", picture.stem).strip("._")[: LONGEST_ID // 4] or "picture"
    if not re.match(r"\w", plain) or DEVICES.fullmatch(plain):
        plain = f"picture_{plain}"
    made, number = plain.rstrip("."), 1
    while made.casefold() in taken:
        number += 1
        made = f"{plain}-{number}"
    taken.add(made.casefold())
    return made
