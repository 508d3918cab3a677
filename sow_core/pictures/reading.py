"""Reading pictures and masks from files, with PIL and numpy alone: planning shares this with the engine."""

from __future__ import annotations

import os

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import SowError

KEEP = 128
"""Gray values of a mask from here on up are kept."""


Source = str | os.PathLike[str] | Image.Image
"""A picture: its file, or one that is in memory already."""


def load_picture(path: Source) -> tuple[Image.Image, Image.Image | None]:
    """An RGB picture and its alpha as a mask (None without one), upright, from any mode PIL reads.

    16-bit pictures are scaled to 8 bits, palettes, CMYK and gray converted. Raises SowError if there is no
    such file or it is no picture.
    """
    try:
        if isinstance(path, Image.Image):
            picture = ImageOps.exif_transpose(path)
        else:
            with Image.open(path) as file:
                file.load()
                picture = ImageOps.exif_transpose(file)
    except FileNotFoundError:
        raise SowError(f"No such picture: {path}.") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).split("\n")[0][:120]
        raise SowError(f"Cannot read {named(path)} as a picture ({reason}); give a PNG, JPEG or WebP.") from error
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _eight_bits(picture)
    alpha = None
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        alpha = picture.getchannel("A")
        if alpha.getextrema() == (255, 255):
            alpha = None
    return picture.convert("RGB"), alpha


def named(source: Source | None) -> str:
    """What messages call a picture: its file, or that it has none."""
    return "a picture in memory" if source is None or isinstance(source, Image.Image) else os.fspath(source)


def _eight_bits(picture: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float pictures, which PIL would clip instead of scaling."""
    values = np.asarray(picture, dtype=np.float64)
    if not np.isfinite(values).all():
        raise SowError("The picture contains NaN or infinite values; save it as 8-bit PNG.")
    top = (
        1.0
        if values.max(initial=0) <= 1.0 and picture.mode == "F"
        else 255.0
        if values.max() <= 255
        else 65535.0
    )
    return Image.fromarray((values / top * 255.0).clip(0, 255).round().astype(np.uint8))


def load_kept(path: Source, mask: Source | None = None) -> tuple[Image.Image, Image.Image | None]:
    """A picture (RGB) and what to keep of it (gray, of its size): the mask file's, else its alpha, else None: all.

    Raises SowError if a file is missing or no picture, the sizes differ, or the mask keeps nothing.
    """
    picture, alpha = load_picture(path)
    kept = load_mask(mask) if mask is not None else alpha
    if kept is None:
        return picture, None
    if kept.size != picture.size:
        expected, got = ("x".join(map(str, image.size)) for image in (picture, kept))
        raise SowError(f"Bad mask size. Expected {expected}, as {named(path)}, got {got} from {named(mask)}.")
    if np.asarray(kept).max() < KEEP:
        name = f"mask {named(mask)}" if mask is not None else f"alpha of {named(path)}"
        raise SowError(f"The {name} is empty: expected some pixels to keep (white = keep); invert it?")
    return picture, kept


def load_mask(path: Source) -> Image.Image:
    """A mask file: gray, white = keep. A picture with alpha and one flat colour means its alpha."""
    picture, alpha = load_picture(path)
    gray = picture.convert("L")
    flat = gray.getextrema()
    return alpha if alpha is not None and flat[0] == flat[1] else gray
