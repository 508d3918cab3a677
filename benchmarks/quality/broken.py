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
    image, outline = _drawn(p)
    face = figure.boxes(p)["face"]
    mask = _kept(outline, face, rng)
    pasted = _cells(mask) if rng.random() < 0.5 else mask
    empty, _ = world.draw_portrait(p, person=False)
    made = {
        "good": image,
        "face_alone": _laid(empty, image, pasted),
        "head_alone": _laid(empty, image, _above_chin(p, outline)),
        "gray_halo": _halo(image, mask, rng),
    }
    other = sample_portrait(rng, style=p.style, x=p.x, y=p.y, scale=p.scale, hat="none")
    stranger, _ = _drawn(other)
    made["other_face"] = _laid(stranger, image if _apart(p, other) else _tinted(image), pasted)
    away = replace(other, x=p.x + 44 if p.x < 64 else p.x - 44)
    made["beside"] = _laid(_drawn(away)[0], image, pasted)
    style = str(rng.choice(("pencil", "watercolor", "pixel"))) if p.style in ("photo", "flat") else "photo"
    made["style_paste"] = _laid(_drawn(replace(p, style=style))[0], image, pasted)
    dx, dy = int(rng.choice((-1, 1)) * rng.integers(7, 13)), int(rng.integers(-12, 6))
    moved, moved_mask = np.roll(image, (dy, dx), (0, 1)), np.roll(mask, (dy, dx), (0, 1))
    moved_pasted = _cells(moved_mask) if pasted is not mask else moved_mask
    x0, y0, x1, y1 = face
    out = [Specimen(kind, picture, mask, face) for kind, picture in made.items()]
    out.append(
        Specimen("shifted", _laid(image, moved, moved_pasted), moved_mask, (x0 + dx, y0 + dy, x1 + dx, y1 + dy))
    )
    return out


def _drawn(p: Portrait) -> tuple[np.ndarray, np.ndarray]:
    image, mask = world.draw_portrait(p)
    return image, mask > 127


def _kept(
    outline: np.ndarray, face: tuple[float, float, float, float], rng: np.random.Generator
) -> np.ndarray:
    """What a user would mask: the face's outline, somewhat less of it, or an ellipse within it."""
    lot = rng.random()
    if lot < 0.4:
        return outline
    if lot < 0.7:
        less = 2 * int(rng.integers(1, 4)) + 1
        return np.asarray(Image.fromarray(outline).convert("L").filter(ImageFilter.MinFilter(less))) > 127
    x0, y0, x1, y1 = face
    ys, xs = np.mgrid[0:128, 0:128] + 0.5
    wide, high = (x1 - x0) / 2 * rng.uniform(0.85, 1.0), (y1 - y0) / 2 * rng.uniform(0.8, 1.0)
    down = (y0 + y1) / 2 + rng.uniform(-2, 4)
    return ((xs - (x0 + x1) / 2) / wide) ** 2 + ((ys - down) / high) ** 2 < 1


def _cells(mask: np.ndarray) -> np.ndarray:
    """The mask on the latent's 8-px cells, as a latent method pastes it."""
    share = mask.reshape(16, 8, 16, 8).mean(axis=(1, 3)) >= 0.5
    return share.repeat(8, axis=0).repeat(8, axis=1)


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
