"""Good and broken pictures made on purpose, out of renders: what the measure of failure is fitted and tested on.

Good: the render itself. Broken: the face alone in an empty place, the head alone, the face beside somebody else
(no body joined below it); the face of another person pasted on, the face of a photo pasted into another style, a
gray halo, a shifted face (a visible seam).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageFilter

from tools.demo_model import figure, world
from tools.demo_model.attributes import Portrait, sample_portrait

NO_BODY = ("face_alone", "head_alone", "beside")
SEAM = ("other_face", "style_paste", "gray_halo", "shifted")
KINDS = ("good", *NO_BODY, *SEAM)


@dataclass(frozen=True)
class Specimen:
    """image uint8 [128,128,3]; mask bool [128,128] of the kept face; face: its box x0, y0, x1, y1."""

    kind: str
    image: np.ndarray
    mask: np.ndarray
    face: tuple[float, float, float, float]

    @property
    def no_body(self) -> bool:
        return self.kind in NO_BODY

    @property
    def seam(self) -> bool:
        return self.kind in SEAM


def specimens(seed: int) -> list[Specimen]:
    """One portrait of a seed, good and broken in every way."""
    rng = world.rng_of(seed, 8)
    p = sample_portrait(rng, hat="none")
    image, mask = _drawn(p)
    face = figure.boxes(p)["face"]
    empty, _ = world.draw_portrait(p, person=False)
    made = {
        "good": image,
        "face_alone": _laid(empty, image, mask),
        "head_alone": _laid(empty, image, _above_chin(p, mask)),
        "gray_halo": _halo(image, mask, rng),
    }
    other = sample_portrait(rng, style=p.style, x=p.x, y=p.y, scale=p.scale, hat="none")
    stranger, stranger_mask = _drawn(other)
    made["other_face"] = _laid(stranger, image, mask) if _apart(p, other) else _laid(stranger, _tinted(image), mask)
    away = replace(other, x=p.x + 44 if p.x < 64 else p.x - 44)
    made["beside"] = _laid(_drawn(away)[0], image, mask)
    style = str(rng.choice(("pencil", "watercolor", "pixel"))) if p.style in ("photo", "flat") else "photo"
    made["style_paste"] = _laid(_drawn(replace(p, style=style))[0], image, mask)
    dx, dy = int(rng.choice((-1, 1)) * rng.integers(7, 13)), int(rng.integers(-12, 6))
    moved = np.roll(image, (dy, dx), (0, 1))
    moved_mask = np.roll(mask, (dy, dx), (0, 1))
    x0, y0, x1, y1 = face
    out = [Specimen(kind, picture, mask, face) for kind, picture in made.items()]
    out.append(
        Specimen("shifted", _laid(image, moved, moved_mask), moved_mask, (x0 + dx, y0 + dy, x1 + dx, y1 + dy))
    )
    return out


def _drawn(p: Portrait) -> tuple[np.ndarray, np.ndarray]:
    image, mask = world.draw_portrait(p)
    return image, mask > 127


def _laid(under: np.ndarray, over: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.where(mask[..., None], over, under)


def _apart(a: Portrait, b: Portrait) -> bool:
    """Do the two skins differ enough for a seam to be seen?"""
    one, two = figure.SKIN[a.skin], figure.SKIN[b.skin]
    return max(abs(x - y) for x, y in zip(one, two, strict=True)) > 40


def _tinted(image: np.ndarray) -> np.ndarray:
    """The same picture under another light: darker and bluish."""
    return (image * np.array([0.62, 0.72, 0.85])).astype(np.uint8)


def _above_chin(p: Portrait, mask: np.ndarray) -> np.ndarray:
    """Face and hair, without neck and body."""
    x0, y0, x1, y1 = figure.boxes(p)["hair"]
    out = mask.copy()
    chin = int(figure.boxes(p)["face"][3]) - 4
    out[int(y0) : min(int(y1), chin), int(x0) : int(x1)] = True
    return out


def _halo(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A ring of the canvas's gray around the face, 3 to 8 px wide, sharp or soft."""
    width = int(rng.integers(3, 9))
    grown = np.asarray(Image.fromarray(mask).convert("L").filter(ImageFilter.MaxFilter(2 * width + 1))) > 127
    soft = Image.fromarray(grown).convert("L").filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.5))))
    weight = (np.asarray(soft) / 255.0 * ~mask)[..., None]
    return (image * (1 - weight) + 128 * weight).astype(np.uint8)
