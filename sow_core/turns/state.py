"""The history of a picture: a tree of turns in FILE.turns.json, their pictures in FILE.turns/ named by their hash.

Everything is written whole or not at all, pictures first: a turn that is broken off leaves the state as it was.
One writer at a time; a second one is told.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from ..errors import SowError
from ..files import atomic_write, check_writable
from ..method.box import Box
from ..outside.reading import read_file, read_json_file
from ..outside.records import read_record
from .things import Thing

VERSION = 1
"""Of the file, in its key `sow_turns`. Readers accept this and older ones."""
SUFFIX = ".turns.json"
MOST_BYTES = 64 * 2**20
"""Of a state, and of a picture."""
MOST_TURNS = 10_000


@dataclass(frozen=True)
class Place:
    """A thing as it is written down: box as X, Y, W, H, or None."""

    name: str
    box: tuple[int, ...] | None = None

    @classmethod
    def of(cls, thing: Thing) -> Place:
        box = thing.box
        return cls(thing.name, None if box is None else (box.x, box.y, box.width, box.height))

    def thing(self) -> Thing:
        return Thing(self.name, None if self.box is None else Box.parse(self.box))


@dataclass(frozen=True)
class Record:
    """One turn as it happened: enough to make it again.

    picture, mask: sha256 of PNG files in the state's folder. seed: of the picture that was chosen; candidates: how
    many there were. config: the run's settings; feather, most: see `EditOptions`. planner: who read the instruction.
    match: who chose, and guided where `steering` has settings (see `method.steering`).
    window: the part of the picture that was painted and at which size, see `Window.numbers`; (): all of it, as it was.
    """

    id: int
    parent: int | None
    instruction: str
    prompt: str
    picture: str
    seed: int = 0
    first_seed: int = 0
    candidates: int = 1
    match: str = "none"
    regions: tuple[tuple[int, ...], ...] = ()
    spared: tuple[tuple[int, ...], ...] = ()
    outside: bool = False
    mask: str | None = None
    fresh: str = ""
    things: tuple[Place, ...] = ()
    before: tuple[Place, ...] = ()
    planner: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    feather: int = 8
    most: int = 0
    notes: tuple[str, ...] = ()
    steering: dict[str, Any] = field(default_factory=dict)
    window: tuple[int, ...] = ()


@dataclass(frozen=True)
class State:
    """A tree of turns; `current` is the one that the next turn follows."""

    sow_turns: int
    model: str
    size: tuple[int, ...]
    negative: str
    current: int
    turns: tuple[Record, ...]
    model_config: str | None = None
    version: str = ""

    def __post_init__(self) -> None:
        ids = [t.id for t in self.turns]
        if not self.turns or len(ids) > MOST_TURNS:
            raise SowError(f"it has {len(ids)} turns, expected 1 to {MOST_TURNS}.")
        if len(self.size) != 2 or not all(0 < n <= 8192 for n in self.size):
            raise SowError(f"its size is {list(self.size)}, expected width and height.")
        for turn in self.turns:
            if turn.parent is not None and (turn.parent not in ids or turn.parent >= turn.id):
                raise SowError(f"turn {turn.id} follows turn {turn.parent}, which is not before it.")
            for name in filter(None, (turn.picture, turn.mask)):
                if len(name) != 64 or not set(name) <= set("0123456789abcdef"):
                    raise SowError(f"turn {turn.id} names no picture by its hash.")
        if len(set(ids)) < len(ids) or self.current not in ids:
            raise SowError("its turns' numbers are not right.")

    def turn(self, number: int) -> Record:
        """Raises SowError, with the turns there are, for an unknown one."""
        found = next((t for t in self.turns if t.id == number), None)
        if found is None:
            known = ", ".join(str(t.id) for t in self.turns[:20])
            raise SowError(f"There is no turn {number}: expected one of {known}.")
        return found

    @property
    def now(self) -> Record:
        return self.turn(self.current)

    def path_to(self, number: int) -> list[Record]:
        """The turns from the first to this one."""
        path = [self.turn(number)]
        while path[-1].parent is not None:
            path.append(self.turn(path[-1].parent))
        return path[::-1]

    def with_turn(self, record: Record) -> State:
        return replace(self, turns=(*self.turns, record), current=record.id)

    @property
    def next_id(self) -> int:
        return max(t.id for t in self.turns) + 1


def state_path(path: str | os.PathLike[str]) -> Path:
    """The path of a state file. Raises SowError unless its name ends as it must: its folder is called after it."""
    target = Path(path)
    if not target.name.endswith(SUFFIX) or target.name == SUFFIX:
        raise SowError(
            f"Bad name {target.name!r}: expected a file that ends in {SUFFIX}, for example room{SUFFIX}."
        )
    return target


def folder_of(path: Path) -> Path:
    """Where the pictures of a state lie: room.turns.json has room.turns beside it."""
    return path.with_name(path.name[: -len(".json")])


def read_state(path: Path) -> State:
    """Raises SowError if the file is missing, damaged, of another kind or of a newer version; changes nothing."""
    values = read_json_file(path, "the turns", most_bytes=MOST_BYTES)
    if not isinstance(values, dict) or "sow_turns" not in values:
        raise SowError(
            f"{path} holds no turns: expected a file that `sow turns new` wrote. It was left as it is."
        )
    number = values["sow_turns"]
    if isinstance(number, int) and not isinstance(number, bool) and number > VERSION:
        raise SowError(
            f"{path} is of a newer version ({number}, this is {VERSION}); update SOW. It was left as it is."
        )
    try:
        return read_record(State, values)
    except SowError as error:
        raise SowError(
            f"{path} is damaged: {str(error)[:1].lower()}{str(error)[1:]} It was left as it is."
        ) from error


def write_state(path: Path, state: State) -> None:
    """Atomically. Raises SowError if the disk refuses."""
    atomic_write(path, json.dumps(asdict(state), indent=1, ensure_ascii=False) + "\n")


def keep_picture(path: Path, png: bytes) -> str:
    """Put a PNG into the state's folder; its hash, which is its name there."""
    name = hashlib.sha256(png).hexdigest()
    target = folder_of(path) / f"{name}.png"
    if not target.is_file():
        atomic_write(target, png)
    return name


def kept_picture(path: Path, name: str) -> bytes:
    """The PNG of that hash. Raises SowError if it is missing or is another picture."""
    target = folder_of(path) / f"{name}.png"
    if not target.is_file():
        raise SowError(f"The picture {target} of these turns is missing; put it back, or go to another turn.")
    content = read_file(target, "the picture", most_bytes=MOST_BYTES)
    if hashlib.sha256(content).hexdigest() != name:
        raise SowError(f"The picture {target} of these turns has been changed; put the old one back.")
    return content


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Hold the state for writing; the lock ends with the process, however that ends.

    Raises SowError if another has it.
    """
    folder = folder_of(path)
    check_writable(path)
    try:
        folder.mkdir(exist_ok=True)
        lock = (folder / ".lock").open("a+b")
    except OSError as error:
        raise SowError(f"Cannot write in {folder}: {error.strerror or error}.") from error
    with lock:
        if not _locked(lock):
            raise SowError(f"Another command is working on {path}; wait until it has ended.")
        yield


def _locked(file: IO[bytes]) -> bool:
    """Whether this process now holds the file alone."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
