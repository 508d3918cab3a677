"""A turn is painted until it is believed: the model looks at what it has painted, and tries again elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from ..errors import SowError
from .match import Match
from .painting import Canvas, measured
from .resolve import Turn

MOST_CANDIDATES, MOST_RETRIES = 16, 8
FILLED, HIDDEN = 0.6, 1.0
"""Share of its place that a new thing fills unless it is half hidden; what the score loses per share below."""

Paint = Callable[[Turn, Sequence[int]], tuple[Tensor, Canvas]]
"""The pictures [N, 3, H, W] of a turn, one a seed, and the canvas that they were painted on."""


@dataclass(frozen=True)
class Round:
    """One turn painted with several seeds: images [N, 3, H, W], a score each (none where nobody was asked)."""

    turn: Turn
    canvas: Canvas
    images: Tensor
    seeds: tuple[int, ...]
    scores: tuple[float, ...] = ()
    best: int = 0
    judge: str = "none"
    believed: bool = True
    """Whether the judge sees in the best one what was asked, if it can tell."""

    earlier: tuple[Round, ...] = ()
    """Those that were not believed."""

    @property
    def score(self) -> float:
        return self.scores[self.best]

    @property
    def told(self) -> list[str]:
        """What the judge said, a line a round, and what was taken; nothing where nobody was asked."""
        lines = []
        for number, tried in enumerate(sorted((*self.earlier, self), key=lambda r: r.seeds)):
            if tried.scores:
                said = ", ".join(f"seed {s}: {v:.3f}" for s, v in zip(tried.seeds, tried.scores, strict=True))
                lines.append(f"{f'try {number + 1}' if self.earlier else 'candidates'}: {said}")
        doubt = "" if self.believed else "; the model does not see in it what was asked"
        return [*lines, f"taken: seed {self.seeds[self.best]}{doubt}"] if lines else []


def _missing(turn: Turn, canvas: Canvas, image: Tensor) -> float:
    """What a picture loses where its fresh thing fills little of the place that the rules chose: it is half hidden."""
    if not turn.movable:
        return 0.0
    planned, found = turn.fresh_thing, measured(turn, canvas, image).fresh_thing
    if planned is None or planned.box is None or found is None or found.box is None:
        return 0.0
    return HIDDEN * max(FILLED - found.box.intersect(planned.box).area / max(planned.box.area, 1), 0.0)


def check_rounds(candidates: int, retries: int, match: Match | None = None) -> None:
    """Raises SowError for numbers out of their ranges, and for retries with a match (None: the model itself) that
    cannot tell when to stop."""
    for name, value, low, high in (
        ("candidates", candidates, 1, MOST_CANDIDATES),
        ("retries", retries, 0, MOST_RETRIES),
    ):
        if not low <= value <= high:
            raise SowError(f"Bad --{name} {value}: expected {low} to {high}.")
    if retries and match is not None and match.enough is None:
        raise SowError(
            f"Only the model's own check knows when to try again: leave out --match {match.name}, or --retries."
        )


def best_round(
    turn: Turn,
    paint: Paint,
    judge: Callable[[Canvas], Match],
    seeds: Sequence[int],
    retries: int = 0,
    elsewhere: Callable[[Turn, Sequence[Turn]], Turn] = lambda turn, tried: turn,
) -> Round:
    """The round that the judge likes best, of the first that it believes and those before.

    seeds: of the first round; each round takes as many further ones. retries: rounds after the first, each where
    `elsewhere` puts it, as long as the best candidate is not believed.
    """
    rounds: list[Round] = []
    for number in range(retries + 1):
        at = elsewhere(turn, [r.turn for r in rounds]) if rounds else turn
        own = tuple(seed + number * len(seeds) for seed in seeds)
        images, canvas = paint(at, own)
        if len(seeds) == 1 and not retries:
            return Round(at, canvas, images, own)
        match = judge(canvas)
        seen = match.scores(canvas.picture, at, images).tolist()
        scores = [s - _missing(at, canvas, image) for s, image in zip(seen, images, strict=True)]
        best = max(range(len(scores)), key=scores.__getitem__)
        believed = match.enough is None or scores[best] >= match.enough
        rounds.append(Round(at, canvas, images, own, tuple(scores), best, match.name, believed))
        if believed:
            break
    chosen = max(rounds, key=lambda r: r.score)
    return replace(chosen, earlier=tuple(r for r in rounds if r is not chosen))
