"""What a condition's mask tells: where its subject is, and at which edges of the picture it was cut off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

SIDES = ("left", "top", "right", "bottom")

CUT = 0.05
"""Share of an edge that the subject must touch to count as cut off there."""

GRAZES = 0.5
"""Below this ratio of the contact to the subject's width 5 % deeper, a round subject only grazes the edge."""

FLAT = 24
"""Largest difference of a channel, 0..255, within a background that counts as one colour."""

Array = np.ndarray[Any, Any]


class Contact(NamedTuple):
    """Where the subject touches an edge of the picture: fractions of the edge, `share` of it in all."""

    share: float
    start: float
    end: float


@dataclass(frozen=True)
class Silhouette:
    """The subject in fractions of the picture: its bounding box and its contact with the edges it is cut at.

    origin: "mask", "background" (told from a flat background) or "unknown" (the whole picture is assumed).
    """

    left: float
    top: float
    right: float
    bottom: float
    contacts: dict[str, Contact]
    origin: str

    def cut(self, side: str) -> bool:
        return side in self.contacts


def silhouette(image: Array, mask: Array | None) -> Silhouette:
    """image: uint8 [h, w, 3]; mask: [h, w] in 0..1 or None. A mask that is 1 everywhere tells nothing."""
    if mask is not None and not (mask >= 0.5).all():
        return _measure(mask >= 0.5, "mask")
    subject = _off_background(image)
    if subject is not None:
        return _measure(subject, "background")
    return Silhouette(0.0, 0.0, 1.0, 1.0, {}, "unknown")


def _off_background(image: Array) -> Array | None:
    """The pixels that differ from a background of one colour, if the picture has one: at least half of its border
    is that colour, and the rest is neither nothing nor all.
    """
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]).astype(np.int16)
    colour = np.median(border, axis=0)
    if (np.abs(border - colour).max(axis=1) <= FLAT).mean() < 0.5:
        return None
    subject = np.abs(image.astype(np.int16) - colour).max(axis=2) > FLAT
    return subject if 0.02 <= subject.mean() <= 0.98 else None


def _measure(subject: Array, origin: str) -> Silhouette:
    height, width = subject.shape
    rows, columns = np.flatnonzero(subject.any(axis=1)), np.flatnonzero(subject.any(axis=0))
    contacts = {}
    for side in SIDES:
        contact = _contact(subject, side)
        if contact.share > CUT:
            contacts[side] = contact
    return Silhouette(
        float(columns[0] / width),
        float(rows[0] / height),
        float((columns[-1] + 1) / width),
        float((rows[-1] + 1) / height),
        contacts,
        origin,
    )


def _contact(subject: Array, side: str) -> Contact:
    """Of the line nearest to the edge that meets the subject, at most 2 % away: segmentations often end a pixel or
    two before the picture does. Something round that only grazes the edge widens quickly and is no contact.
    """
    lines = {"top": subject, "bottom": subject[::-1], "left": subject.T, "right": subject.T[::-1]}[side]
    depth, length = lines.shape
    met = np.flatnonzero(lines[: max(round(0.02 * depth), 1)].any(axis=1))
    if met.size == 0:
        return Contact(0.0, 0.0, 0.0)
    first = int(met[0])
    touched = np.flatnonzero(lines[first])
    deeper = np.flatnonzero(lines[min(first + max(round(0.05 * depth), 1), depth - 1)])
    start, end = int(touched[0]), int(touched[-1]) + 1
    if deeper.size and end - start < GRAZES * (deeper[-1] + 1 - deeper[0]):
        return Contact(0.0, 0.0, 0.0)
    return Contact(touched.size / length, start / length, end / length)
