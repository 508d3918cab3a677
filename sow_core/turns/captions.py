"""The prompt of the whole picture after a turn: what the model is told, made from what it was told before.

A new thing appears only if the prompt describes all of the picture, so every turn edits the full text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .grammar import COLOURS, PRONOUNS, SHADES, noun
from .things import Thing

WORN = frozenset(
    "hat cap beanie crown helmet glasses sunglasses goggles mask scarf tie necklace earrings coat jacket suit dress "
    "shirt t-shirt hoodie sweater vest gloves headphones".split()
)
HAD = frozenset("beard moustache mustache hair freckles skin eyes face horns wings tail".split())
_UNCOUNTED = frozenset("hair skin snow grass water fog smoke rain fire sand ice light makeup".split())
_GROUPS = (
    COLOURS | SHADES,
    frozenset("serious smiling sad surprised happy angry laughing crying".split()),
    frozenset("young old middle-aged".split()),
    frozenset("short long bald shaved".split()),
    frozenset("straight wavy curly".split()),
    frozenset("big large huge small little tiny".split()),
)
"""Qualities that exclude one another: a new one takes the old one's place."""
_FORMS = {
    "smile": "smiling",
    "laugh": "laughing",
    "cry": "crying",
    "older": "old",
    "younger": "young",
    "bigger": "big",
    "smaller": "small",
    "blonde": "blond",
    "grey": "gray",
    "happier": "happy",
}
PEOPLE = ("man", "woman", "person", "boy", "girl")
_ON = frozenset(
    "beach floor table road street field hill roof stage boat horse bench sofa desk shelf".split()
)
_BY = frozenset("lake sea river fire".split())
_PREPOSITIONS = r"in front of|in|on|at|by|inside|under|near"
_TAIL = re.compile(
    rf"\s(?:{_PREPOSITIONS})\s(?:(?!\b(?:wearing|with|holding)\b|,|\s(?:{_PREPOSITIONS})\s).)*$"
)
_HEAD = re.compile(
    r"^(?:(?:a|an|the)\s)?(?:[\w-]+\s){0,3}?(?:photo|picture|portrait|painting|drawing|sketch|cartoon|"
    r"render|art|illustration)\sof\s"
)


def named(name: str) -> str:
    """The name with the article that a caption gives it: "hat" -> "a hat", "glasses" -> "glasses"."""
    last = name.split()[-1]
    if last in _UNCOUNTED or (last.endswith("s") and not last.endswith("ss")):
        return name
    return ("an " if name[0] in "aeiou" else "a ") + name


def place_words(text: str) -> str:
    """A background as a caption says it: "a forest" -> "in a forest", "beach" -> "on a beach"."""
    words = " ".join(text.split()).lower()
    if re.match(rf"(?:{_PREPOSITIONS})\s", words):
        return words
    bare = noun(words)
    last = bare.split()[-1]
    said = words if words != bare else named(bare)
    return f"{'on' if last in _ON else 'by' if last in _BY else 'in'} {said}"


def _split(prompt: str) -> tuple[str, str]:
    """Body and place of a prompt: "a man wearing a hat", " in a forest"."""
    match = _TAIL.search(prompt)
    return (prompt[: match.start()], match[0]) if match else (prompt, "")


def mentioned(prompt: str) -> list[str]:
    """The things of a prompt that is a mere list of plain ones, each with its article; else none."""
    body, _ = _split(prompt.strip().lower())
    match = _HEAD.match(body)
    parts = re.split(r",\s*(?:and\s+)?|\s+and\s+", body[match.end() if match else 0 :])
    plain = [p for p in parts if re.fullmatch(r"an?(?: (?!with\b|wearing\b|of\b)[\w-]+){1,3}", p)]
    return [noun(p) for p in parts] if len(plain) == len(parts) else []


def listed(prompt: str, things: Sequence[Thing]) -> tuple[str, str] | None:
    """What stands before and after the things, if the prompt is a mere list of exactly these things; else None."""
    body, tail = _split(prompt)
    match = _HEAD.match(body)
    head = match[0] if match else ""
    items = [noun(part) for part in re.split(r",\s*(?:and\s+)?|\s+and\s+", body[len(head) :])]
    return (head, tail) if things and sorted(items) == sorted(t.name for t in things) else None


def as_list(things: Sequence[Thing], head: str, tail: str) -> str:
    """The list prompt of things, from left to right where their places are known."""
    row = sorted(things, key=lambda t: t.box.center[0] if t.box else 1e9)
    parts = [named(t.name) for t in row]
    text = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
    return head + text + tail


def with_thing(prompt: str, name: str) -> str:
    """The prompt with a new thing: worn, had, or standing there."""
    body, tail = _split(prompt)
    last, said = name.split()[-1], named(name)
    if last in WORN:
        return _attached(body, " wearing ", said, len(body)) + tail
    if last in HAD:
        wearing = body.find(" wearing ")
        return _attached(body, " with ", said, wearing if wearing >= 0 else len(body)) + tail
    return f"{body} and {said}{tail}" if body.strip() else said + tail


def _attached(body: str, word: str, said: str, end: int) -> str:
    """`said` as the first of the list after `word`, or in a list of its own at `end`."""
    at = body.find(word)
    if at < 0:
        return body[:end] + word + said + body[end:]
    start = at + len(word)
    rest = re.split(r" (?:wearing|with|holding) ", body[start:])[0]
    joint = ", " if " and " in rest else " and "
    return body[:start] + said + joint + body[start:]


def _phrase(name: str) -> str:
    """A regex for a thing with its article and the qualities between."""
    words = re.escape(name).replace(r"\ ", r"\s+")
    return rf"(?:\b(?:a|an|the|some)\s+(?:(?!(?:and|of|in|on|with|wearing)\b)[\w-]+\s+){{0,3}}?)?\b{words}\b"


def without_thing(prompt: str, name: str) -> str:
    """The prompt that no longer names the thing; unchanged if it does not."""
    phrase = _phrase(name)
    for pattern, new in (
        (rf"(, (?:(?!,| and ).)+) and {phrase}", r" and\1"),  # x, y and it -> x and y
        (rf" and {phrase}", ""),
        (rf"{phrase}(?: and |, )", ""),
        (rf",? (?:wearing|with|holding) {phrase}", ""),
        (rf"(?:^|(?<= )){phrase} ?", ""),
    ):
        changed, count = re.subn(pattern, new, prompt, count=1)
        if count:
            return " ".join(changed.replace(" and, ", " and ").split())
    return prompt


def with_other(prompt: str, name: str, new: str) -> str:
    """The prompt with one thing's words in place of another's; the new thing is added if the old is not named."""
    changed, count = re.subn(_phrase(name), named(new), prompt, count=1)
    return changed if count else with_thing(prompt, new)


def qualified(name: str, quality: str) -> str:
    """A thing's name with a quality: ("short brown hair", "blond") -> "short blond hair"."""
    words = [_FORMS.get(w, w) for w in quality.split()]
    rivals = frozenset().union(*(g for g in _GROUPS if any(w in g for w in words)))
    *before, last = name.split()
    return " ".join([*(w for w in before if w not in rivals), *words, last])


def with_quality(prompt: str, name: str, quality: str) -> str:
    """The prompt in which the thing has the quality."""
    if name in PRONOUNS:
        name = next((p for p in PEOPLE if re.search(rf"\b{p}\b", prompt)), "person")
    match = re.search(
        rf"\b(?:(?:a|an|the)\s+)?(?:(?!(?:and|of|in|on|with|wearing|a|an|the)\b)[\w-]+\s+){{0,4}}?"
        rf"{re.escape(name.split()[-1])}\b",
        prompt,
    )
    if match is None:
        return with_thing(prompt, qualified(name, quality))
    article = re.match(r"(?:a|an|the)\s+", match[0])
    bare = match[0][article.end() :] if article else match[0]
    changed = qualified(bare, quality)
    if article:
        changed = f"the {changed}" if article[0].startswith("the") else named(changed)
    return prompt[: match.start()] + changed + prompt[match.end() :]


def with_background(prompt: str, words: str) -> str:
    """The prompt in another place."""
    return f"{_split(prompt)[0]} {place_words(words)}"
