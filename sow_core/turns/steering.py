"""Guidance of a turn's painting by the gradient of a match, after CDD-ICM (arXiv 2304.02192).

While the picture is painted, what the model thinks it will become is decoded, laid into the picture before as the
finished one will be, and moved in the region toward a higher score. Off by default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from ..method.steering import Steering, Toward
from .painting import Canvas, laid_back

if TYPE_CHECKING:
    from ..backends.base import ModelBackend
    from .match import GuidingMatch
    from .resolve import Turn


class Guide(NamedTuple):
    """Who guides a turn, and how."""

    match: GuidingMatch
    settings: Steering


def toward(backend: ModelBackend, canvas: Canvas, turn: Turn, guide: Guide, feather: int) -> Toward:
    """The gradient of the match's score of the finished picture, as a function of the clean latents [N, C, h, w].

    The paper takes that of the log-similarity, which is the score times a temperature: only the direction is used, and
    it is the same. Raises SowError where the VAE cannot be differentiated.
    """
    score = guide.match.likeness(canvas.picture, turn)

    def worth(picture: Tensor) -> Tensor:
        return score(laid_back(canvas, picture.cpu(), feather))

    return lambda x0: backend.picture_slope(x0, worth)
