"""Words of place, size and kind in a scene: what a person would read out of it about where a condition goes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .text import content_words

NEAR, MIDDLE, FAR = 0.27, 0.5, 0.73
"""Of the canvas: the centre of something "on the left", "in the middle", "on the right"."""


@dataclass(frozen=True)
class Place:
    """Centre in fractions of the canvas (None = nothing said) and the words that say so."""

    x: float | None = None
    y: float | None = None
    why: str = ""


_WHERE = r"(?P<%s>upper|lower|top|bottom|left|right|cent(?:er|re)|middle)"
_HAND = r"(?![- ]?(?:hand(?!\s+side)|arm|eye|leg|foot|shoulder|ear|cheek|turn|behind|away|now|out)\b)"
_PLACE = re.compile(
    r"\b(?:(?:on|in|at|to|near|towards?|into)\s+(?:the\s+|its\s+|his\s+|her\s+|your\s+)?(?:very\s+|far\s+|extreme\s+)?"
    + _WHERE % "a"
    + r"(?:[- ]?(?:most\s+)?"
    + _WHERE % "b"
    + r")?\b"
    + _HAND
    + r"(?!\s+of\s+(?!the\s+(?:picture|image|frame|canvas|photo|scene|page)\b|it\b)(?:a|an|the|his|her)\s)"
    + r"|"
    + _WHERE % "c"
    + r"(?:[- ]?"
    + _WHERE % "d"
    + r")?(?:[- ]hand)?\s+(?:side|corner|edge|half|third|part)\b"
    + r"|\b(?P<e>centered|centred)\b)",
    re.I,
)
# "on the left of a tree": beside something, and so on that side of the picture; "in the middle of a street" is no
# place in the picture at all, "at the top of a hill" neither.
_BESIDE = re.compile(
    r"\b(?:on|to|at)\s+the\s+(left|right)(?:[- ]hand)?(?:\s+side)?\s+of\s+(?:a|an|the|his|her)\b", re.I
)
_AHEAD = re.compile(
    r"\b(?:look|gaz|fac|star|driv|run|walk|mov|fly|point|swim|turn|head|glanc|rid|jump)\w*\s+"
    r"(?:(?:to|toward|towards)\s+)?(?:the\s+)?(left|right)\b" + _HAND,
    re.I,
)
_SMALL = re.compile(
    r"\b(full[- ]body|full[- ]length|whole[- ]body|standing|walking|running|dancing|jumping|wide[- ](?:shot|angle|view)"
    r"|landscape|panorama|far away|in the distance|distant|aerial|tiny|small)\b",
    re.I,
)
_LARGE = re.compile(r"\b(close[- ]?up|closeup|portrait|head[- ]?shot|macro|selfie|huge|giant|bust)\b", re.I)
_PERSON = re.compile(
    r"\b(person|people|man|men|woman|women|boy|girl|child|kid|baby|lady|guy|gentleman|human|face|portrait|selfie"
    r"|head[- ]?shot|bride|groom|king|queen|prince|princess|knight|soldier|astronaut|doctor|nurse|chef|wizard|witch"
    r"|warrior|pirate|policeman|policewoman|firefighter|dancer|singer|actor|actress|teacher|student|farmer|worker"
    r"|businessman|businesswoman|monk|nun|priest|samurai|ninja|elf|vampire|superhero|he|she|beard|smiling"
    r"|grandmother|grandfather|mother|father|teenager|cowboy|viking|athlete|player|model|artist|scientist|captain)\b",
    re.I,
)
_ANIMAL = re.compile(
    r"\b(cat|kitten|dog|puppy|horse|pony|lion|tiger|leopard|bear|panda|fox|wolf|rabbit|bunny|hare|cow|bull|sheep|lamb"
    r"|goat|pig|deer|moose|elephant|giraffe|zebra|monkey|gorilla|ape|mouse|hamster|squirrel|owl|eagle|parrot|camel"
    r"|donkey|koala|kangaroo|raccoon|badger|otter|seal|animal|pet)s?\b",
    re.I,
)
_ALOFT = re.compile(
    r"\b(flying|floating|hovering|soaring|levitating|in (?:the )?(?:air|sky|space|orbit)|falling|underwater"
    r"|swimming|in mid-?air|gliding|hanging)\b",
    re.I,
)

_X = {"left": NEAR, "right": FAR, "center": MIDDLE, "centre": MIDDLE, "middle": MIDDLE}
_Y = {"top": NEAR, "upper": NEAR, "bottom": FAR, "lower": FAR}


def is_person(text: str) -> bool:
    return bool(_PERSON.search(text))


def is_animal(text: str) -> bool:
    return bool(_ANIMAL.search(text))


def is_aloft(text: str) -> bool:
    """Whether the scene has the subject off the ground."""
    return bool(_ALOFT.search(text))


def size_word(text: str) -> str:
    """ "large" for close-ups, "small" for wide and full shots, else "". A close-up wins."""
    return "large" if _LARGE.search(text) else "small" if _SMALL.search(text) else ""


def place_in(clause: str) -> Place:
    """The place that one clause names; where something looks or moves to is no place."""
    clause = _AHEAD.sub(" ", clause)
    x = y = None
    why = ""
    if beside := _BESIDE.search(clause):
        x, why = _X[beside[1].lower()], beside[0]
    for match in _PLACE.finditer(clause):
        words = [w.lower() for w in match.groups() if w]
        for word in words:
            x = _X[word] if x is None and word in _X else x
            y = _Y[word] if y is None and word in _Y else y
        if "centered" in words or "centred" in words:
            x = MIDDLE if x is None else x
        if set(words) <= {"center", "centre", "middle", "centered", "centred"}:
            y = MIDDLE if y is None else y
        why = why or match[0]
    return Place(x, y, why=why.strip())


def direction(text: str) -> str:
    """ "left" or "right" if the scene has the subject look or move there, else ""."""
    match = _AHEAD.search(text)
    return match[1].lower() if match else ""


def clauses(scene: str) -> list[str]:
    """The scene in pieces that each speak of one thing."""
    parts = re.split(r"[,;.]|\b(?:and|while|with|but)\b", scene, flags=re.I)
    return [part.strip() for part in parts if part.strip()]


def _of_another(clause: str) -> bool:
    """Whether a later clause brings in a thing of its own: "a tree on the left"."""
    return bool(re.match(r"(?:a|an|the|two|three|some|many|his|her|its|their|another)\s+\w+", clause, re.I))


def find_places(scene: str, names: Sequence[str]) -> list[Place]:
    """A place for each condition, `names` being what the user calls them ("" = unnamed).

    A condition with a name takes the place of the clause that names it. A single unnamed one takes the place of
    the first clause, or of a later one without a thing of its own; a place of another thing sends it to the
    other side. Several unnamed ones take the places in the order of the scene.
    """
    pieces = clauses(scene)
    if len(names) > 1:
        return _several(pieces, names)
    own = names[0]
    other: Place | None = None
    for number, clause in enumerate(pieces):
        place = place_in(clause)
        if place.x is None and place.y is None:
            continue
        about_it = bool(own and content_words(own) & content_words(clause))
        if about_it or number == 0 or not _of_another(clause):
            return [place]
        other = other or place
    if other and other.x in (NEAR, FAR):
        return [Place(x=NEAR + FAR - other.x, why=f"away from {other.why!r}, which is something else")]
    return [Place()]


def _several(pieces: list[str], names: Sequence[str]) -> list[Place]:
    placed = [place_in(clause) for clause in pieces]
    said = [place for place in placed if place.x is not None or place.y is not None]
    result = []
    unnamed = iter(said)
    for name in names:
        if name:
            hits = [p for p, c in zip(placed, pieces, strict=True) if content_words(name) & content_words(c)]
            result.append(next((p for p in hits if p.why), Place()))
        else:
            result.append(next(unnamed, Place()) if len(said) >= len(names) else Place())
    return result
