"""From an instruction and what is known of a picture to the turn: which place changes, and the whole new prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ..errors import SowError
from ..method.box import CELL, Box
from . import captions
from .grammar import PRONOUNS, Instruction, read_instruction
from .places import AIR, GROUND, SHARE, Wish, find_place, grown, obeyed, scale_at
from .things import Thing, find_thing, placed, without

Locate = Callable[[str], Box]
"""The box of a word in the picture at hand, found by the model. Raises SowError if it is not to be found."""

_STANDING = frozenset(
    "floor ground table grass road street beach field desk snow desert carpet stage".split()
)
SMALLEST = 4 * CELL
"""px: a narrower region shows hardly anything."""
BORDER, ROOMY = 0.1, 4 * CELL
"""Of a thing's longer side; px that a region should have at least."""
_BODY = {"hat": (0.1, -0.35, 0.8, 0.6), "glasses": (0.0, 0.25, 1.0, 0.4), "beard": (0.0, 0.55, 1.0, 0.5)}
"""Of a head's box: x, y, width, height of what is worn there."""
_LIKE = (
    dict.fromkeys(("cap", "beanie", "crown", "helmet"), "hat")
    | dict.fromkeys(("sunglasses", "goggles", "mask", "eyes"), "glasses")
    | dict.fromkeys(("moustache", "mustache"), "beard")
)
HEADS = ("face", "head")


@dataclass(frozen=True)
class Scene:
    """A picture as far as it is known: size in px, its full prompt, the things in it."""

    frame: tuple[int, int]
    prompt: str
    things: tuple[Thing, ...] = ()


@dataclass(frozen=True)
class Turn:
    """One turn, ready to be painted.

    regions: boxes of what may change, px; spared: boxes inside them that may not; outside: the regions are what is
    kept, and all else changes (a new background). prompt: of the whole picture afterwards; things: what will be
    there; fresh: the thing that is painted, whose box is read off the result; new: for comparing scores.
    """

    instruction: str
    regions: tuple[Box, ...]
    prompt: str
    things: tuple[Thing, ...]
    spared: tuple[Box, ...] = ()
    outside: bool = False
    fresh: str = ""
    notes: tuple[str, ...] = ()
    movable: bool = False
    """The place of the fresh thing was found by the rules: another may be tried, see `elsewhere`."""
    told: str = ""
    """The prompt of the picture before the turn; empty if there was none."""

    @property
    def fresh_thing(self) -> Thing | None:
        return next((t for t in self.things if t.name == self.fresh), None) if self.fresh else None


def resolve(
    text: str,
    scene: Scene,
    regions: Sequence[Box] = (),
    prompt: str = "",
    locate: Locate | None = None,
    masked: bool = False,
    avoid: Sequence[Box] = (),
) -> Turn:
    """The turn that an instruction means. Raises SowError in one line for everything that it cannot mean.

    regions, prompt: the user's own, which replace what would be found; with both (or a mask and a prompt) any text
    will do as an instruction. masked: the place is given as a mask elsewhere, so that none is looked for.
    locate: asked for things whose box nobody knows. avoid: places that were tried in vain.
    """
    given = bool(regions) or masked
    if not scene.prompt.strip() and not prompt.strip():
        raise SowError("The picture has no prompt: give --prompt TEXT, the whole picture after this turn.")
    try:
        said = read_instruction(text)
    except SowError:
        if not (given and prompt.strip() and text.strip()):
            raise
        turn = Turn(text.strip(), tuple(regions), prompt.strip(), scene.things, told=scene.prompt.strip())
        return checked(turn, scene.frame)
    # The place has to be known before the prompt is made: a list names its things from left to right.
    own = regions[0] if len(regions) == 1 else None
    turn = _Resolver(scene, said, given, locate, own, avoid).turn(text.strip())
    if given:
        turn = replace(turn, regions=tuple(regions), outside=False)
    if prompt.strip():
        turn = replace(turn, prompt=prompt.strip(), movable=False)
    return checked(turn, scene.frame, masked)


def elsewhere(turn: Turn, scene: Scene, tried: Sequence[Turn], locate: Locate | None = None) -> Turn:
    """The same turn with its fresh thing in another place than in those that were tried; itself where its place is
    given, or where there is no other."""
    if not turn.movable:
        return turn
    avoid = [t.box for t in (turn.fresh_thing for turn in tried) if t is not None and t.box is not None]
    known = {t.name: t for t in turn.things if t.box is not None and t.name != turn.fresh}
    scene = replace(scene, things=tuple(known.get(t.name, t) for t in scene.things))
    try:
        return resolve(turn.instruction, scene, locate=locate, avoid=avoid)
    except SowError:
        return turn


def checked(turn: Turn, frame: tuple[int, int], masked: bool = False) -> Turn:
    """The turn with its regions clipped to the canvas. Raises SowError for none, or for all of it."""
    clipped = tuple(b.clip(*frame) for b in turn.regions)
    size = f"{frame[0]}x{frame[1]}"
    for before, box in zip(turn.regions, clipped, strict=True):
        if box.area == 0:
            raise SowError(f"The region {before} lies outside the {size} picture; move it.")
        if not turn.outside and box.width == frame[0] and box.height == frame[1]:
            raise SowError(
                f"The region {before} is the whole {size} picture: nothing would be kept; shrink it."
            )
    notes = turn.notes
    if not masked and not turn.outside and all(min(b.width, b.height) < SMALLEST for b in clipped):
        notes += (f"the region is narrower than {SMALLEST} px: hardly anything fits in",)
    return replace(turn, regions=clipped, notes=notes)


def _body_part(name: str) -> str:
    """Which kind of thing that is worn on a head this is, or the name's last word."""
    last = name.split()[-1] if name else ""
    return _LIKE.get(last, last)


def _under(box: Box, regions: Sequence[Box]) -> bool:
    """Whether a thing is what a region lies on: glasses on a face."""
    return any(2 * box.intersect(region).area > region.area for region in regions)


def border(box: Box) -> int:
    """px that a region reaches beyond its thing: room for a shadow and for the join, and enough cells to draw in."""
    return max(3, round(BORDER * max(box.width, box.height)), (ROOMY - min(box.width, box.height) + 1) // 2)


def _larger(values: Iterable[float]) -> float:
    """The mean of the larger half: what was drawn too small once does not make everything after it smaller."""
    row = sorted(values, reverse=True)
    return sum(row[: (len(row) + 1) // 2]) / ((len(row) + 1) // 2)


class _Resolver:
    def __init__(
        self,
        scene: Scene,
        said: Instruction,
        given: bool,
        locate: Locate | None,
        own: Box | None,
        avoid: Sequence[Box],
    ) -> None:
        self.scene, self.said, self.given, self.locate, self.own = scene, said, given, locate, own
        self.avoid = avoid
        self.searched = False
        self.things = scene.things
        self.notes: list[str] = []
        self.list = captions.listed(scene.prompt, scene.things)

    def turn(self, text: str) -> Turn:
        regions, fresh, prompt = getattr(self, f"_{self.said.kind}")()
        if fresh and self.own is not None:
            self.things = placed(self.things, fresh, self.own)
        if self.list is not None and self.said.kind != "background" and self.things:
            prompt = captions.as_list(self.things, *self.list)
        part = self.said.kind in ("make", "remove") or _body_part(self.said.thing) in _BODY
        spared = tuple(
            t.box
            for t in self.things
            if t.box and t.name != fresh and not (part and _under(t.box, [self.own] if self.own else regions))
        )
        return Turn(
            text,
            tuple(regions),
            prompt,
            self.things,
            spared if self.said.kind != "background" else (),
            self.said.kind == "background",
            fresh,
            tuple(self.notes),
            self.searched,
            self.scene.prompt.strip(),
        )

    # -- one method a kind of instruction: the regions, the name of what is painted, the prompt

    def _add(self) -> tuple[list[Box], str, str]:
        name = self.said.thing
        box = None if self.given else self._new_box(name)
        self.things = (*self.things, Thing(name, box))
        return ([self._around(box)] if box else []), name, captions.with_thing(self.scene.prompt, name)

    def _remove(self) -> tuple[list[Box], str, str]:
        thing, box = self._known(self.said.thing)
        if thing in self.things:
            self.things = without(self.things, thing)
        return (
            ([self._around(box, 2)] if box else []),
            "",
            captions.without_thing(self.scene.prompt, thing.name),
        )

    def _move(self) -> tuple[list[Box], str, str]:
        thing, box = self._known(self.said.thing)
        self.things = without(self.things, thing) if thing in self.things else self.things
        regions, new = [], None
        if box is not None:
            new = self._find((box.width, box.height), [box])
            regions = [self._around(box, 2), self._around(new)]
        self.things = (*self.things, Thing(thing.name, new))
        return regions, thing.name, self.scene.prompt

    def _replace(self) -> tuple[list[Box], str, str]:
        thing, box = self._known(self.said.thing)
        new = self.said.new
        kept = without(self.things, thing) if thing in self.things else self.things
        self.things = (*kept, Thing(new, box))
        return self._here(box), new, captions.with_other(self.scene.prompt, thing.name, new)

    def _make(self) -> tuple[list[Box], str, str]:
        asked = self._person() if self.said.thing in PRONOUNS else self.said.thing
        thing, box = self._known(asked)
        new = captions.qualified(thing.name, self.said.new)
        kept = without(self.things, thing) if thing in self.things else self.things
        self.things = (*kept, Thing(new, box))
        return self._here(box), new, captions.with_quality(self.scene.prompt, asked, self.said.new)

    def _background(self) -> tuple[list[Box], str, str]:
        boxes = [t.box for t in self.things if t.box]
        if not boxes and not self.given:
            boxes = [self._located(self._person())]
        return boxes, "", captions.with_background(self.scene.prompt, self.said.new)

    # -- where

    def _here(self, box: Box | None) -> list[Box]:
        return [self._around(box)] if box else []

    def _around(self, box: Box, times: int = 1) -> Box:
        return grown(box, times * border(box), self.scene.frame)

    def _known(self, name: str) -> tuple[Thing, Box | None]:
        """The thing of the history, with its box; the model is asked for what the history does not know."""
        try:
            thing = find_thing(self.things, name)
        except SowError:
            if self.given or (self.locate is not None and self._in_prompt(name)):
                return Thing(name), None if self.given else self._located(name)
            raise
        if thing.box is None and not self.given:
            box = self._located(thing.name)
            self.things = placed(self.things, thing.name, box)
            return replace(thing, box=box), box
        return thing, thing.box

    def _in_prompt(self, name: str) -> bool:
        return set(name.split()[-1:]) <= set(self.scene.prompt.lower().replace(",", " ").split())

    def _located(self, name: str) -> Box:
        if self.locate is None:
            raise SowError(
                f"Nobody knows where the {name} is; give --thing '{name}=X,Y,W,H' or --region X,Y,W,H."
            )
        box = self.locate(name)
        self.notes.append(f"{name}: found by the model's attention at {box}")
        return box

    def _person(self) -> str:
        words = self.scene.prompt.lower().split()
        return next((p for p in captions.PEOPLE if p in words), "person")

    def _anchor(self, name: str) -> Box:
        box = self._known(name)[1]
        assert box is not None  # only asked where the place is not given
        return box

    def _new_box(self, name: str) -> Box:
        part = _body_part(name)
        if part in _BODY and not self.said.relations and not self.said.places:
            head = next((t.box for t in self.things if t.box and t.name.split()[-1] in HEADS), None)
            head = head or self._located("face")
            x, y, w, h = _BODY[part]
            return Box(
                round(head.x + x * head.width),
                round(head.y + y * head.height),
                round(w * head.width),
                round(h * head.height),
            ).clip(*self.scene.frame)
        return self._find(None, [])

    def _size(self, name: str, standing: bool) -> tuple[float, float]:
        """Of a new thing: as the known ones of its kind, else a square as large as the larger half of all is on its
        longer side; on the ground as if all stood in its middle."""
        width, height = self.scene.frame
        known = [t for t in self.things if t.box]
        if not known:
            return SHARE * width, SHARE * height
        alike = [t for t in known if t.name.split()[-1:] == name.split()[-1:]]
        shares = []
        for box in (t.box for t in alike or known if t.box):
            by = scale_at(box.center[1] / height) if standing else 1.0
            shares.append((box.width / by, box.height / by))
        if alike:
            return _larger(w for w, _ in shares), _larger(h for _, h in shares)
        side = _larger(max(share) for share in shares)
        return side, side

    def _find_all(self) -> None:
        """Boxes for the things that have none, where the model can tell, so that nothing is put on them."""
        for thing in self.things:
            if thing.box is None and self.locate is not None:
                try:
                    self.things = placed(self.things, thing.name, self._located(thing.name))
                except SowError:
                    self.notes.append(f"{thing.name}: nobody knows where it is")

    def _find(self, size: tuple[float, float] | None, leaving: Sequence[Box]) -> Box:
        self._find_all()
        wishes = [Wish(r.kind, tuple(self._anchor(a) for a in r.anchors)) for r in self.said.relations]
        known = [t.box for t in self.things if t.box]
        words = set(self.scene.prompt.lower().replace(",", " ").split())
        standing = bool(words & _STANDING) and not any(w.kind in ("on", "above") for w in wishes)
        if size is None:
            size = self._size(self.said.thing, standing)
        taken = [*known, *leaving]
        frame, said = self.scene.frame, self.said.places
        band = GROUND if standing else AIR
        box = find_place(frame, size, wishes, said, taken, band, standing, self.avoid)
        self.searched = True
        if not obeyed(frame, box, wishes, said):
            self.notes.append("there is no room for all of that at once: a free place beside it was taken")
        return box
