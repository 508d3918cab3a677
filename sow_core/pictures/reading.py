"""Reading pictures and masks from files, with PIL and numpy alone: planning shares this with the engine."""

from __future__ import annotations

import io
import os
import warnings
import weakref
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import SowError
from ..outside.reading import open_file
from ..outside.text import one_line

Source = str | os.PathLike[str] | Image.Image
"""A picture: its file, or one that is in memory already."""

KEEP = 128
"""Values of a mask from here on up, of 255, are kept."""
MOST_PIXELS = 100_000_000
"""Of a picture that is read: its decoding takes 3 to 4 bytes each, and more for 16 bits."""
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
"""What is decoded, whatever a file is called. Pillow would also start other programs (Ghostscript for EPS) or read
metafiles and fonts; nobody has a condition in those."""
ORIENTATION = 0x0112
"""The EXIF tag that says how a camera was held."""


@dataclass(frozen=True, eq=False)
class Kept:
    """A picture (RGB) and what to keep of it: a gray picture of its size, white = keep, or None: all of it.

    Unpacks like a pair, which it would be if a weak reference to a pair were possible.
    """

    picture: Image.Image
    mask: Image.Image | None

    def __iter__(self) -> Iterator[Any]:
        return iter((self.picture, self.mask))

    def planes(self) -> list[np.ndarray[Any, Any]]:
        """Red, green and blue, uint8 [h, w] each."""
        pixels = np.asarray(self.picture)
        return [pixels[..., channel] for channel in range(3)]

    def weights(self) -> np.ndarray[Any, Any] | None:
        """The mask, uint8 [h, w]."""
        return None if self.mask is None else np.asarray(self.mask)


_read: weakref.WeakValueDictionary[tuple[Any, ...], Kept] = weakref.WeakValueDictionary()
"""Pictures that somebody still holds, so that a run which keeps its conditions decodes each of them once."""


def open_picture(source: str | os.PathLike[str] | bytes) -> Image.Image:
    """A picture file, or its bytes, decoded, its other data in `.info` and `.text`.

    Raises SowError if it is none of `FORMATS`, damaged, or larger than `MOST_PIXELS`.
    """
    name = "the picture" if isinstance(source, bytes) else one_line(source)
    Image.init()  # asked for a format that it has not registered, Pillow raises a KeyError
    known = [f for f in FORMATS if f in Image.OPEN]
    try:
        # Pillow's warning of an attack begins below our limit; its error comes at a higher one.
        opened = io.BytesIO(source) if isinstance(source, bytes) else open_file(source, "the picture")
        with closing(opened) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(file, formats=known)
            if picture.width * picture.height > MOST_PIXELS:
                raise _too_large(name)
            picture.load()
            return picture
    except SowError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(name) from None
    except UnidentifiedImageError:
        raise SowError(f"Cannot read {name} as a picture (no format read here); give a PNG, JPEG or WebP.") from None
    except MemoryError:
        raise SowError(f"Cannot read {name}: it does not fit into memory; make it smaller.") from None
    except Exception as error:  # what decoders raise for damaged files is not documented: struct.error, KeyError, ...
        reason = one_line(error, 120) or type(error).__name__
        raise SowError(f"Cannot read {name} as a picture ({reason}); give a PNG, JPEG or WebP.") from error


def _too_large(name: str) -> SowError:
    return SowError(f"{name} is too large: expected at most {MOST_PIXELS // 10**6} megapixels; make it smaller.")


def load_picture(path: Source) -> tuple[Image.Image, Image.Image | None]:
    """An RGB picture and its alpha as a mask (None without one), upright, from any mode PIL reads.

    16-bit pictures are scaled to 8 bits, palettes, CMYK and gray converted. Raises SowError if there is no
    such file or it is no picture.
    """
    picture = path if isinstance(path, Image.Image) else open_picture(path)
    try:
        if picture.getexif().get(ORIENTATION, 1) != 1:
            picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I") or picture.mode == "F":
            picture = _eight_bits(picture)
        alpha = None
        if "A" in picture.getbands() or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            alpha = picture.getchannel("A")
            if alpha.getextrema() == (255, 255):
                alpha = None
        return (picture if picture.mode == "RGB" else picture.convert("RGB")), alpha
    except SowError as error:
        raise SowError(f"Cannot use {named(path)}: {error}") from None
    except MemoryError:
        raise SowError(f"Cannot read {named(path)}: it does not fit into memory; make it smaller.") from None
    except Exception as error:  # EXIF data and colour modes of all kinds, as above
        reason = one_line(error, 120) or type(error).__name__
        raise SowError(f"Cannot read {named(path)} as a picture ({reason}); save it as an 8-bit PNG.") from error


def named(source: Source | None) -> str:
    """What messages call a picture: its file, or that it has none."""
    return "a picture in memory" if source is None or isinstance(source, Image.Image) else one_line(source)


def _eight_bits(picture: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float pictures, which PIL would clip instead of scaling."""
    values = np.asarray(picture).astype(np.float32)
    if not np.isfinite(values).all():
        raise SowError("the picture contains NaN or infinite values; save it as 8-bit PNG.")
    highest = values.max(initial=0)
    top = 1.0 if highest <= 1.0 and picture.mode == "F" else 255.0 if highest <= 255 else 65535.0
    values *= 255.0 / top
    return Image.fromarray(values.clip(0, 255).round().astype(np.uint8))


def load_kept(path: Source, mask: Source | None = None) -> Kept:
    """A picture and what to keep of it: the mask file's, else its alpha, else all.

    Who holds on to the answer and asks again gets the same one, unless a file has changed.
    Raises SowError if a file is missing or no picture, the sizes differ, or the mask keeps nothing.
    """
    if isinstance(path, Image.Image) or isinstance(mask, Image.Image):
        return _load_kept(path, mask)
    key = _state(path), None if mask is None else _state(mask)
    found = _read.get(key)
    if found is None:
        found = _load_kept(path, mask)
        _read[key] = found
    return found


def _state(path: str | os.PathLike[str]) -> tuple[Any, ...]:
    """What changes when a file does."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return (os.fspath(path),)  # opening it will say what is wrong
    return str(Path(path).absolute()), found.st_ino, found.st_size, found.st_mtime_ns


def _load_kept(path: Source, mask: Source | None) -> Kept:
    picture, alpha = load_picture(path)
    kept = load_mask(mask) if mask is not None else alpha and _spread(alpha)
    if kept is None:
        return Kept(picture, None)
    if mask is not None and kept.size != picture.size:
        expected, got = ("x".join(map(str, image.size)) for image in (picture, kept))
        raise SowError(f"Bad mask size. Expected {expected}, as {named(path)}, got {got} from {named(mask)}.")
    highest = int(np.asarray(kept).max())
    if highest < KEEP:
        raise nothing_kept(f"mask {named(mask)}" if mask is not None else f"alpha of {named(path)}", highest / 255)
    return Kept(picture, kept)


def nothing_kept(name: str, highest: float) -> SowError:
    """The refusal of a mask whose highest value, of 1, is below half."""
    return SowError(
        f"The {name} keeps nothing: its brightest value is {round(highest * 255)} of 255, and {KEEP} or more "
        "counts as kept; paint what to keep white."
    )


def load_mask(path: Source) -> Image.Image:
    """A mask file as a gray picture, 255 = keep.

    One rule for gray, palettes and colours: the brightest channel counts, and what is transparent is not kept.
    A picture of one flat colour means its alpha. Where 0 and 1 are the only values, 1 means white.
    """
    picture, alpha = load_picture(path)
    brightest = np.asarray(picture).max(axis=2)
    if alpha is not None:
        opaque = np.asarray(alpha)
        flat = brightest.min() == brightest.max() or not brightest[opaque > 0].any()
        brightest = opaque if flat else np.minimum(brightest, opaque)
    return _spread(Image.fromarray(brightest))


def _spread(mask: Image.Image) -> Image.Image:
    """A mask whose only values are 0 and 1, as label files have them, with 255 for 1."""
    return mask.point([0] + [255] * 255) if mask.getextrema()[1] == 1 else mask
