"""What is known to be in a picture: names with boxes, and finding one by the words of an instruction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import SowError
from ..method.box import Box
from .grammar import noun


@dataclass(frozen=True)
class Thing:
    """Something in a picture; box: where, in px, or None if nobody has said or found it yet."""

    name: str
    box: Box | None = None

    @classmethod
    def parse(cls, text: str) -> Thing:
        """From "blue sphere=24,40,36,36". Raises SowError."""
        name, sign, box = text.partition("=")
        if not sign or not noun(name.lower()):
            raise SowError(
                f"Bad --thing {text[:60]!r}: expected NAME=X,Y,W,H, for example 'blue sphere=24,40,36,36'."
            )
        return cls(noun(" ".join(name.lower().split())), Box.parse(box, "--thing"))


def find_thing(things: Sequence[Thing], name: str) -> Thing:
    """The thing that `name` means: all its words are in that thing's name. Raises SowError for none or several."""
    words = set(noun(name).split())
    fitting = [t for t in things if t.name == name] or [t for t in things if words <= set(t.name.split())]
    if len(fitting) == 1:
        return fitting[0]
    known = ", ".join(t.name for t in things) or "nothing yet"
    if not fitting:
        raise SowError(
            f"There is no {name} in this picture that is known of (known: {known}); name one of them, or give the "
            f"place with --thing '{name}=X,Y,W,H' or --region."
        )
    raise SowError(f"{name!r} can mean several things ({known}); say which, or give --region.")


def without(things: Sequence[Thing], thing: Thing) -> tuple[Thing, ...]:
    """All but the first thing that equals `thing`."""
    at = list(things).index(thing)
    return (*things[:at], *things[at + 1 :])


def placed(things: Sequence[Thing], name: str, box: Box) -> tuple[Thing, ...]:
    """The things with the box of the first one of that name set."""
    at = next(i for i, t in enumerate(things) if t.name == name)
    return (*things[:at], replace(things[at], box=box), *things[at + 1 :])
