"""Faces with their masks: CelebAMask-HQ's folders, a folder of masks, or pictures with alpha."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sow_core.batch.making import ENDINGS, MASK
from sow_core.errors import SowError
from sow_core.files import atomic_write
from sow_core.pictures.reading import load_picture
from sow_core.settings import png_bytes

PARTS = ("skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip")
"""CelebAMask-HQ's masks that make up a face: without hair, ears, neck and clothes."""
MARGIN = 0.06
"""Of the mask's longer side, around it."""
LARGEST = 512
"""Longer side of a cut-out face, px."""


@dataclass(frozen=True)
class Face:
    """A picture of a person, and the masks whose union is the face (none: its alpha)."""

    name: str
    picture: Path
    masks: tuple[Path, ...] = ()


def find_faces(folder: Path, masks: Path | None = None, most: int | None = None) -> list[Face]:
    """The faces of a folder in the order of their names, numbers by value. Raises SowError if there are none."""
    pictures = _pictures(folder)
    stems = {path.stem for path in pictures}
    pictures = [p for p in pictures if masks or not (p.stem.endswith(MASK) and p.stem.removesuffix(MASK) in stems)]
    parts, whole = _masks(masks if masks is not None else folder)
    faces = []
    for picture in pictures:
        number = f"{int(picture.stem):05}" if picture.stem.isdecimal() else None
        found = parts.get(number, {}) if number else {}
        own = whole.get(picture.stem + MASK) or (whole.get(picture.stem) if masks is not None else None)
        if "skin" in found:
            faces.append(Face(picture.stem, picture, tuple(found.values())))
        elif own is not None:
            faces.append(Face(picture.stem, picture, (own,)))
        elif masks is None:
            faces.append(Face(picture.stem, picture))
        if len(faces) == most:
            break
    if not faces:
        where = f"{folder}" + (f" with masks in {masks}" if masks is not None else "")
        raise SowError(f"No faces in {where}: expected N.jpg with NNNNN_skin.png and so on, NAME_mask.png, or alpha.")
    return faces


def cut(face: Face, folder: Path) -> Path:
    """The face alone, its mask as alpha, with a margin: FOLDER/NAME.png. Raises SowError if nothing is kept."""
    path = folder / f"{face.name}.png"
    if path.is_file():
        return path
    picture, alpha = load_picture(face.picture)
    mask = np.zeros(picture.size[::-1], bool)
    for part in face.masks:
        gray = load_picture(part)[0].convert("L").resize(picture.size, Image.Resampling.NEAREST)
        mask |= np.asarray(gray) > 127
    if not face.masks:
        if alpha is None:
            raise SowError(f"{face.picture} has neither a mask nor alpha: give --masks FOLDER.")
        mask = np.asarray(alpha) > 127
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    if not len(rows):
        raise SowError(f"The mask of {face.picture} keeps nothing.")
    x0, x1, y0, y1 = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    margin = round(MARGIN * max(x1 - x0, y1 - y0))
    box = (max(x0 - margin, 0), max(y0 - margin, 0),
           min(x1 + margin, picture.width), min(y1 + margin, picture.height))  # fmt: skip
    made = picture.copy()
    made.putalpha(Image.fromarray(mask.astype(np.uint8) * 255))
    made = made.crop(tuple(int(v) for v in box))
    made.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    return atomic_write(path, png_bytes(made, {"cut from": face.picture.name}))


def read_sexes(path: Path) -> dict[str, str]:
    """CelebA's list of attributes: "man" or "woman" for each picture's name without ending. Raises SowError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        column = lines[1].split().index("Male")
        rows = [line.split() for line in lines[2:] if line.strip()]
        return {Path(row[0]).stem: "man" if row[column + 1] == "1" else "woman" for row in rows}
    except (OSError, UnicodeDecodeError, ValueError, IndexError) as error:
        text = f"Cannot read {path} as CelebA's list of attributes, with a column Male ({str(error)[:80]})."
        raise SowError(text) from None


def _pictures(folder: Path) -> list[Path]:
    try:
        found = [p for p in folder.iterdir() if p.suffix.lower() in ENDINGS]
    except OSError as error:
        raise SowError(f"Cannot read the folder {folder}: {error.strerror or error}.") from error
    return sorted(found, key=lambda p: (int(p.stem) if p.stem.isdecimal() else -1, p.name))


def _masks(folder: Path) -> tuple[dict[str, dict[str, Path]], dict[str, Path]]:
    """By face, CelebAMask-HQ's parts (in the folder or one below it, as published); by stem, every other picture."""
    parts: dict[str, dict[str, Path]] = defaultdict(dict)
    whole: dict[str, Path] = {}
    own = _pictures(folder)
    below = sorted(p for p in folder.iterdir() if p.is_dir() and p.name.isdecimal())
    for path in (*own, *(p for inner in below for p in _pictures(inner))):
        named = re.fullmatch(r"(\d{5})_(\w+)", path.stem)
        if named and named[2] in PARTS:
            parts[named[1]][named[2]] = path
        else:
            whole[path.stem] = path
    return parts, whole
