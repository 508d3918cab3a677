"""The instructions that are read without a language model, as data. Words only: no picture, no history."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ..errors import SowError

Kind = Literal["add", "remove", "move", "replace", "make", "background"]

LONGEST = 400
"""Characters of an instruction."""
FORMS = (
    "add a red cube left of the blue sphere",
    "add a hat",
    "remove the hat",
    "move the cube to the right",
    "replace the cube with a sphere",
    "make the hair blond",
    "change the background to a forest",
)
"""One example of everything that can be read; the error and the help page show them."""
COLOURS = frozenset(
    "red blue green yellow purple cyan orange pink brown black white gray grey blond blonde golden silver beige "
    "turquoise violet magenta teal navy maroon olive auburn ginger".split()
)
PRONOUNS = frozenset("him her them".split())
SHADES = frozenset("dark light bright pale deep".split())


@dataclass(frozen=True)
class Relation:
    """Where something is as seen from others: left, right, front, behind, above, below, on, next; between two."""

    kind: str
    anchors: tuple[str, ...]


@dataclass(frozen=True)
class Instruction:
    """One readable instruction.

    thing: what it is about, without its article ("red cube"); new: what it becomes: the replacement, the quality or
    the background; places: words of the canvas (left, right, top, bottom, middle); relations: to known things.
    """

    kind: Kind
    thing: str = ""
    new: str = ""
    places: tuple[str, ...] = ()
    relations: tuple[Relation, ...] = ()


_ARTICLE = r"(?:(?:a|an|the|some|one|another|his|her|its|their|my)\s+)?"
_VERBS: tuple[tuple[Kind, str], ...] = (
    (
        "background",
        r"(?:change|set|make|turn|replace)\s+the\s+background\s+(?:to|into|with|by)?\s*(?:be\s+)?(?P<new>.+)",
    ),
    ("background", r"put\s+(?:it|him|her|them|everything)\s+(?P<new>(?:in|on|at|by)\s+.+)"),
    ("remove", r"(?:remove|delete|erase|take\s+away|get\s+rid\s+of)\s+(?P<thing>.+)"),
    ("replace", r"(?:replace|swap|exchange)\s+(?P<thing>.+?)\s+(?:with|by|for)\s+(?P<new>.+)"),
    ("make", r"change\s+the\s+colou?r\s+of\s+(?P<thing>.+?)\s+to\s+(?P<new>.+)"),
    ("replace", r"(?:turn|change|make)\s+(?P<thing>.+?)\s+(?:into|to)\s+(?P<new>.+)"),
    ("make", r"(?:make|paint|colou?r|dye|turn)\s+(?P<thing>.+)"),
    ("move", r"(?:move|shift|bring|put)\s+(?P<thing>the\s+.+)"),
    ("add", r"(?:add|put|place|insert|draw|give\s+(?:him|her|it|them))\s+(?P<thing>.+)"),
)
_SIDES = r"(?:top|upper|back|bottom|lower|front|left|right|cent(?:er|re)|middle)"
_CANVAS = r"(?:\s+(?:corner|side|edge|half))?(?:\s+(?:of|in)\s+the\s+(?:picture|image|canvas|scene|photo))?"
_MARKERS = re.compile(
    r"\b(?:"
    r"(?P<left>(?:(?:on|to|at)\s+the\s+)?left(?:\s+side)?\s+of(?!\s+the\s+(?:picture|image|canvas|scene|photo)\b))|"
    r"(?P<right>(?:(?:on|to|at)\s+the\s+)?right(?:\s+side)?\s+of(?!\s+the\s+(?:picture|image|canvas|scene|photo)\b))|"
    r"(?P<front>in\s+front\s+of)|(?P<behind>behind|in\s+back\s+of)|"
    rf"(?P<place>(?:(?:in|on|at|to|into)\s+)?the\s+{_SIDES}(?:[\s-]+{_SIDES})?{_CANVAS}(?=\s*(?:,|and\b|$)))|"
    r"(?P<above>above|over)|(?P<below>below|under(?:neath)?|beneath)|(?P<between>(?:in\s+)?between)|"
    r"(?P<next>next\s+to|beside|near)|(?P<on>(?:on\s+top\s+of|on|onto)(?=\s+(?:the|his|her|its|their)\b))"
    r")\b"
)
_CANONICAL = {
    "upper": "top",
    "back": "top",
    "lower": "bottom",
    "front": "bottom",
    "center": "middle",
    "centre": "middle",
}


def read_instruction(text: str) -> Instruction:
    """What an instruction asks for. Raises SowError, with what can be read, for anything else."""
    plain = " ".join(text.split()).strip(" .!").lower()
    if not plain:
        raise SowError(f"No instruction: expected, for example, {FORMS[0]!r}.")
    if len(plain) > LONGEST:
        raise SowError(
            f"The instruction has {len(plain)} characters; expected at most {LONGEST}, one change a turn."
        )
    plain = plain.removeprefix("please ").removeprefix("now ")
    for kind, form in _VERBS:
        match = re.fullmatch(form, plain)
        made = _read(kind, match.groupdict()) if match else None
        if made is not None:
            return made
    raise _unreadable(text)


def _unreadable(text: str) -> SowError:
    forms = "; ".join(FORMS)
    return SowError(
        f"Cannot read the instruction {' '.join(text.split())[:80]!r}; expected a form such as: {forms}."
    )


def _read(kind: Kind, said: dict[str, str]) -> Instruction | None:
    """The instruction in the parts of a matched form, or None if a part does not read."""
    if kind == "background":
        return Instruction(kind, new=said["new"].strip())
    if kind == "make":
        thing, quality = _quality(said["thing"]) if "new" not in said else (noun(said["thing"]), said["new"])
        return (
            Instruction(kind, thing, quality) if thing and quality and not _MARKERS.search(quality) else None
        )
    if kind == "replace" and _is_colour(said["new"]):
        return Instruction("make", noun(said["thing"]), said["new"])
    if kind in ("remove", "replace"):
        made = Instruction(kind, noun(said["thing"]), noun(said.get("new") or ""))
        return made if made.thing and (made.new or kind == "remove") else None
    return _placed(kind, said["thing"])


def noun(text: str) -> str:
    """A thing's name without its article: "the red cube" -> "red cube"."""
    return re.sub(rf"^{_ARTICLE}", "", text.strip(" ,"), count=1).strip()


def _is_colour(text: str) -> bool:
    return all(word in COLOURS | SHADES for word in text.split())


def _quality(text: str) -> tuple[str, str]:
    """ "the hair dark brown" -> ("hair", "dark brown"); without a colour the last word is the quality."""
    words = noun(text).split()
    if len(words) == 1 and len(text.split()) == 2 and text.split()[0] in PRONOUNS:
        return text.split()[0], words[0]
    split = len(words) - 1
    while split > 1 and words[split] in COLOURS and words[split - 1] in COLOURS | SHADES:
        split -= 1
    return " ".join(words[:split]), " ".join(words[split:])


def _placed(kind: Kind, text: str) -> Instruction | None:
    """A thing with the places and relations that follow it."""
    marks = list(_MARKERS.finditer(text))
    thing = noun(text[: marks[0].start()] if marks else text)
    places: list[str] = []
    relations: list[Relation] = []
    for number, mark in enumerate(marks):
        end = marks[number + 1].start() if number + 1 < len(marks) else len(text)
        rest = re.sub(r"^[\s,]*|(?:[\s,]+(?:and|but))?[\s,]*$", "", text[mark.end() : end])
        name = mark.lastgroup or ""
        if name == "place":
            if rest:
                return None
            sides = [_CANONICAL.get(w, w) for w in re.findall(rf"\b{_SIDES}\b", mark[0])]
            places += [s for s in sides if s not in places]
            continue
        anchors = [noun(part) for part in (re.split(r"\s+and\s+", rest) if name == "between" else [rest])]
        if not all(anchors) or len(anchors) != (2 if name == "between" else 1):
            return None
        relations.append(Relation(name, tuple(anchors)))
    where = re.sub(
        r"\s+(?:to|in|into)\s+(?:the|this)\s+(?:picture|image|canvas|scene|photo)$|\s+to$", "", thing
    )
    if {"left", "right"} <= set(places) or {"top", "bottom"} <= set(places):
        return None
    if not where or (kind == "move" and not marks):
        return None
    return Instruction(kind, where, "", tuple(places), tuple(relations))
