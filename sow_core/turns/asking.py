"""A language model reads the instruction: it sees the picture and answers by schema; its answer is never trusted."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Mapping, Sequence
from string import Template
from typing import TYPE_CHECKING, Any

from ..assets import asset_folder
from ..errors import SowError
from ..method.box import Box
from ..planning.config import Config
from ..planning.errors import PlannerError, UnusableAnswer
from ..planning.geometry import read_box
from ..planning.instructions import VERSION, Question
from ..planning.patience import Patience, together
from ..planning.planner import OPENAI_COMPATIBLE, PlannerOptions, connect
from ..planning.request import SENT_SIDE
from ..planning.salvage import find_object
from ..planning.schema import Frame
from ..planning.text import plain
from .resolve import Scene, Turn, checked
from .things import Thing

if TYPE_CHECKING:
    from PIL import Image

MOST_REGIONS, MOST_THINGS = 8, 32
"""Of an answer: more are left out."""
KNOWN = frozenset(("regions", "prompt", "things"))
_BOX = {
    "type": "OBJECT",
    "required": ["x", "y", "width", "height"],
    "properties": {key: {"type": "INTEGER"} for key in ("x", "y", "width", "height")},
}
_THING = {
    "type": "OBJECT",
    "required": ["name", "box"],
    "properties": {"name": {"type": "STRING"}, "box": _BOX},
}
SCHEMA: dict[str, Any] = {
    "type": "OBJECT",
    "required": ["regions", "prompt", "things"],
    "properties": {
        "regions": {"type": "ARRAY", "items": _BOX},
        "prompt": {"type": "STRING"},
        "things": {"type": "ARRAY", "items": _THING},
    },
}


def options_for(planner: str) -> PlannerOptions:
    """By --planner: gemini (or another of the planners' names), else a profile of the config file."""
    if planner in ("gemini", "google-genai", "google-generativeai"):
        return PlannerOptions(planner)
    return PlannerOptions(OPENAI_COMPATIBLE, profile=planner)


def ask_turn(
    scene: Scene,
    instruction: str,
    picture: Image.Image,
    planner: str,
    regions: Sequence[Box] = (),
    prompt: str = "",
    masked: bool = False,
    config: Config | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Turn:
    """The turn that a language model reads out of an instruction; regions and prompt of the user's stay.

    The picture leaves this machine at 512 px at most, without metadata. Raises SowError (PlannerError) if the model
    cannot be asked or answers twice without a plan.
    """
    options = options_for(planner)
    service = connect(options, config if config is not None else Config.load())
    patience = Patience(options.limits)
    fault = ""
    for _ in range(2):
        question = question_of(scene, instruction, picture, fault)
        asked = functools.partial(patience.attempt, functools.partial(service.ask, question))
        answer = together([asked], patience, cancelled)[0]
        try:
            turn = read_turn(answer.text, scene, instruction, given=bool(regions) or masked)
        except UnusableAnswer as unusable:
            fault = str(unusable)
            continue
        own = tuple(regions) or (() if masked else turn.regions)
        made = Turn(turn.instruction, own, prompt.strip() or turn.prompt, turn.things, turn.spared, False, turn.fresh,
                    turn.notes, told=turn.told)  # fmt: skip
        return checked(made, scene.frame, masked)
    raise PlannerError("bad_json", service.access.service, detail=fault.rstrip("."))


def question_of(scene: Scene, instruction: str, picture: Image.Image, fault: str = "") -> Question:
    """What is asked: the task, the instruction, what is known, the picture."""
    width, height = scene.frame
    lines = [f"<instruction>{plain(instruction)}</instruction>", f"<prompt>{plain(scene.prompt)}</prompt>"]
    lines += [f"<thing>{plain(t.name, 80)}: {t.box}</thing>" for t in scene.things if t.box]
    if fault:
        lines.append(_template("again").substitute(fault=fault))
    shown = picture.convert("RGB")
    shown.thumbnail((SENT_SIDE, SENT_SIDE))
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=90)
    system = _template("turn").substitute(width=width, height=height)
    return Question(system, "\n\n".join(lines), (buffer.getvalue(),), SCHEMA)


def read_turn(text: str, scene: Scene, instruction: str, given: bool = False) -> Turn:
    """The turn in a model's answer, clamped to the canvas. Raises UnusableAnswer if it is no plan of one.

    given: the place is the user's own, so that none is needed.
    """
    answer = find_object(text, KNOWN)
    frame = Frame(*scene.frame)
    prompt = plain(answer["prompt"]) if isinstance(answer.get("prompt"), str) else ""
    if not prompt:
        raise UnusableAnswer("it has no prompt.")
    listed = answer.get("regions")
    regions = [
        _box(v, frame, "a region") for v in (listed if isinstance(listed, list) else [])[:MOST_REGIONS]
    ]
    if not regions and not given:
        raise UnusableAnswer("it has no regions.")
    things, notes = _things(answer.get("things"), frame)
    before = {t.name for t in scene.things}
    new = [t.name for t in things if t.name not in before]
    if not things:
        things, notes = scene.things, ("the answer names no things: those of before are kept",)
    fresh = new[0] if len(new) == 1 else ""
    spared = tuple(t.box for t in things if t.box and t.name in before and not _touched(t.box, regions))
    try:
        return checked(
            Turn(plain(instruction), tuple(regions), prompt, things, spared, False, fresh, notes,
                 told=scene.prompt.strip()),  # fmt: skip
            scene.frame,
            given,
        )
    except SowError as error:
        raise UnusableAnswer(f"{str(error)[:1].lower()}{str(error)[1:]}") from error


def _touched(box: Box, regions: Sequence[Box]) -> bool:
    """Whether a region covers half of a thing: then it is what changes."""
    return any(2 * box.intersect(r).area > box.area for r in regions)


def _things(value: Any, frame: Frame) -> tuple[tuple[Thing, ...], tuple[str, ...]]:
    """Named things; a faulty one is left out and noted."""
    things, notes = [], []
    for entry in (value if isinstance(value, list) else [])[:MOST_THINGS]:
        name = plain(entry.get("name", ""), 80).lower() if isinstance(entry, Mapping) else ""
        if not name:
            notes.append("a thing without a name was left out")
            continue
        try:
            things.append(Thing(name, _box(entry.get("box"), frame, f"the box of {name}")))
        except UnusableAnswer as error:
            notes.append(str(error))
    return tuple(things), tuple(notes)


def _box(value: Any, frame: Frame, name: str) -> Box:
    raw = read_box(value, "box", frame, name)
    box = Box(round(raw.x), round(raw.y), max(round(raw.width), 1), max(round(raw.height), 1))
    return box.clip(frame.width, frame.height)


@functools.cache
def _template(name: str) -> Template:
    file = asset_folder("prompts") / VERSION / f"{name}.txt"
    return Template(file.read_text(encoding="utf-8").strip())
