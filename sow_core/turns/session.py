"""Making, editing and replaying a history of turns with a loaded model. What the commands do, without arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from .. import __version__
from ..errors import SowError
from ..memory import is_out_of_memory
from ..method import prompt_syntax
from ..method.box import Box
from ..method.condition import Condition, check_size, make_layout, to_picture, to_tensor
from ..method.config import SowConfig
from ..method.steering import MOST_STRENGTH, Steering
from ..pictures.reading import Source, load_mask, load_picture, open_picture
from ..pipeline.quiet import quiet_libraries
from ..settings import png_bytes
from . import grounding
from .captions import mentioned
from .match import GuidingMatch, Match, open_match
from .own_match import OwnMatch
from .painting import Canvas, EditOptions, make_canvas, measured, paint
from .presets import edit_config, edit_options, text_plan
from .resolve import Locate, Scene, Turn, elsewhere, resolve
from .rounds import best_round, check_rounds
from .state import VERSION, Place, Record, State, keep_picture, kept_picture, read_state, write_state, writing
from .steering import Guide, toward
from .things import Thing
from .window import AUTO, Crop, Window, check_crop, cropping

if TYPE_CHECKING:
    from ..method.trace import Event
    from ..pipeline.model import Model

Progress = Callable[["Event"], object]


@dataclass(frozen=True)
class Wanted:
    """One turn as it was asked for; empty: to be found. mask: white = what may change, instead of regions.

    match: who chooses among several candidates; None: the model itself. match_guidance: how strongly the match guides
    the painting too (see `Steering.strength`), 0: not. retries: how often it is painted again, elsewhere where the
    place was not given, as long as the model itself does not see in the picture what was asked. crop: "auto",
    "off" or a number, see `window.find_window`.
    """

    instruction: str
    regions: tuple[Box, ...] = ()
    mask: Source | None = None
    prompt: str = ""
    seed: int = 0
    candidates: int = 1
    settings: tuple[str, ...] = ()
    feather: int | None = None
    things: tuple[Thing, ...] = ()
    planner: str = "offline"
    match: GuidingMatch | None = None
    match_guidance: float = 0.0
    retries: int = 0
    crop: str = AUTO

    def __post_init__(self) -> None:
        check_crop(self.crop)
        if not self.instruction.strip():
            raise SowError("No instruction: give --instruction TEXT, for example 'add a hat'.")
        check_rounds(self.candidates, self.retries, self.match)
        if self.regions and self.mask is not None:
            raise SowError("Give --region or --mask, not both: each says what may change.")
        if not 0 <= self.match_guidance <= MOST_STRENGTH:
            raise SowError(f"Bad --match-guidance {self.match_guidance}: expected 0 (off) to {MOST_STRENGTH:g}.")
        if self.match_guidance and self.match is None:
            raise SowError(
                "--match-guidance needs --match demo or a CLIP folder: the model itself (own) guides by its prompt."
            )


def start(
    path: Path,
    model: Model,
    *,
    image: Source | None = None,
    prompt: str = "",
    things: Sequence[Thing] = (),
    size: tuple[int, int] | None = None,
    seed: int = 0,
    negative: str | None = None,
    settings: Sequence[str] = (),
    progress: Progress | None = None,
) -> State:
    """A new history, from a picture (fitted to `size`) or from words. Raises SowError; an existing file is kept."""
    with writing(path):
        if path.exists():
            raise SowError(f"{path} is there already; choose another name, or go on with `turns edit`.")
        advice = model.backend.parts.recommended
        told = advice.negative or "" if negative is None else negative
        config = edit_config(advice, settings)
        if image is None:
            made = _from_words(model, prompt, told, size or model.size, config, seed, progress)
        else:
            made = _fitted(load_picture(image)[0], size, model.backend.parts.snap)
        png = png_bytes(made)
        width, height = made.size
        things = tuple(things) or tuple(Thing(name) for name in mentioned(prompt))
        _check_things(things, (width, height))
        record = Record(
            0,
            None,
            "",
            prompt.strip(),
            keep_picture(path, png),
            seed,
            seed,
            things=tuple(map(Place.of, things)),
            config=config.as_dict(),
        )
        state = State(
            VERSION,
            model.asked["model"],
            (width, height),
            told,
            0,
            (record,),
            model.asked.get("model_config"),
            __version__,
        )
        write_state(path, state)
    return state


def _from_words(
    model: Model,
    prompt: str,
    negative: str,
    size: tuple[int, int],
    config: SowConfig,
    seed: int,
    progress: Progress | None,
) -> Image.Image:
    from ..backends.painting import paint as paint_layout

    parts = model.backend.parts
    check_size(*size, parts.snap)
    side = parts.snap
    blank = Condition(torch.full((3, side, side), 0.5), torch.ones(side, side), Box(0, 0, side, side))
    model.backend.set_prompts({"positive": prompt, "negative": negative})
    with quiet_libraries():
        layout = make_layout([blank], *size, cell=parts.cell, snap=parts.snap)
        made = paint_layout(text_plan(config), model.backend, layout, [seed], progress)
    return to_picture(made.images[0])


def _fitted(picture: Image.Image, size: tuple[int, int] | None, snap: int) -> Image.Image:
    """The picture at a size that the model can work at: as asked for, else its own, cut to multiples of `snap` px."""
    if size is not None and size != picture.size:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    width, height = (n // snap * snap for n in picture.size)
    check_size(width, height, snap)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def _check_things(things: Sequence[Thing], frame: tuple[int, int]) -> None:
    for thing in things:
        if thing.box is not None and not thing.box.inside(*frame):
            raise SowError(
                f"The box {thing.box} of the {thing.name} leaves the {frame[0]}x{frame[1]} picture."
            )


def edit(
    path: Path,
    model: Model,
    wanted: Wanted,
    progress: Progress | None = None,
    say: Callable[[str], object] = lambda text: None,
) -> tuple[State, bytes]:
    """One more turn after the current one: the state, written, and the new picture's PNG.

    Raises SowError, and leaves the state as it was, for whatever the turn cannot mean; so does every interruption.
    """
    with writing(path):
        state = read_state(path)
        record, png = next_turn(path, state, model, wanted, progress, say)
        keep_picture(path, png)
        state = state.with_turn(record)
        write_state(path, state)
    return state, png


def next_turn(
    path: Path,
    state: State,
    model: Model,
    wanted: Wanted,
    progress: Progress | None,
    say: Callable[[str], object],
) -> tuple[Record, bytes]:
    """The record and the PNG of the turn that is wanted; nothing of the state is written."""
    before = open_png(kept_picture(path, state.now.picture))
    frame = (before.shape[-1], before.shape[-2])
    if frame != tuple(state.size):
        raise SowError(
            f"Bad picture size. Expected {state.size[0]}x{state.size[1]}, as these turns, got {frame[0]}x{frame[1]}."
        )
    _check_things(wanted.things, frame)
    known = [p.thing() for p in state.now.things if p.name not in {t.name for t in wanted.things}]
    scene = Scene(frame, state.now.prompt, (*known, *wanted.things))
    mask = None if wanted.mask is None else _mask(wanted.mask, frame)
    backend = model.backend
    with quiet_libraries():

        def locate(word: str) -> Box:
            return grounding.locate(backend, before, scene.prompt, word)

        turn = plan_turn(scene, wanted, before, locate)
        config = edit_config(backend.parts.recommended, wanted.settings)
        options = edit_options(backend.parts.recommended, frame, wanted.feather, state.negative)
        seeds = [wanted.seed + n for n in range(wanted.candidates)]
        guide = None
        crop = cropping(wanted.crop, frame, model.size, backend.parts.snap)
        if wanted.match_guidance and wanted.match is not None:
            guide = Guide(wanted.match, Steering(wanted.match_guidance))

        def painting(turn: Turn, seeds: Sequence[int]) -> tuple[Tensor, Canvas]:
            return painted(backend, before, turn, mask, config, options, seeds, progress, guide, crop)

        def judge(canvas: Canvas) -> Match:
            return wanted.match or OwnMatch.of(backend, canvas)

        def moved(turn: Turn, tried: Sequence[Turn]) -> Turn:
            return elsewhere(turn, scene, tried, locate)

        found = best_round(turn, painting, judge, seeds, wanted.retries, moved)
    for line in found.told:
        say(line)
    turn = measured(found.turn, found.canvas, found.images[found.best])
    if found.canvas.cropped:
        say(f"window: {found.canvas.window}")
    for note in turn.notes:
        say(f"note: {note}")
    if said := prompt_syntax.note({"the prompt": turn.prompt}):
        say(said)
    png = png_bytes(to_picture(found.images[found.best]))
    record = Record(
        state.next_id,
        state.current,
        turn.instruction,
        turn.prompt,
        _hash(png),
        found.seeds[found.best],
        found.seeds[0],
        len(found.seeds),
        found.judge if guide is None else guide.match.name,
        tuple(map(_numbers, turn.regions)),
        tuple(map(_numbers, turn.spared)),
        turn.outside,
        None if mask is None else keep_picture(path, _mask_png(mask)),
        turn.fresh,
        tuple(map(Place.of, turn.things)),
        tuple(map(Place.of, scene.things)),
        wanted.planner,
        config.as_dict(),
        options.feather,
        options.most,
        turn.notes,
        steering={} if guide is None else asdict(guide.settings),
        window=found.canvas.window.numbers if found.canvas.cropped else (),
    )
    return record, png


def plan_turn(scene: Scene, wanted: Wanted, before: Tensor, locate: Locate) -> Turn:
    """What the instruction means, by the rules or by a language model."""
    masked = wanted.mask is not None
    if wanted.planner != "offline":
        from .asking import ask_turn

        return ask_turn(
            scene,
            wanted.instruction,
            to_picture(before),
            wanted.planner,
            wanted.regions,
            wanted.prompt,
            masked,
        )

    return resolve(wanted.instruction, scene, wanted.regions, wanted.prompt, locate, masked)


def painted(
    backend: Any,
    before: Tensor,
    turn: Turn,
    mask: Tensor | None,
    config: SowConfig,
    options: EditOptions,
    seeds: Sequence[int],
    progress: Progress | None = None,
    guide: Guide | None = None,
    crop: Crop | None = None,
) -> tuple[Tensor, Canvas]:
    """The candidates [N, 3, H, W] of a turn and the canvas they were painted on. Raises SowError."""
    canvas = make_canvas(before, turn, options, mask, crop)
    backend.set_prompts({"positive": canvas.prompt, "negative": options.negative})
    steering = None if guide is None else guide.settings
    aim = None if guide is None else toward(backend, canvas, turn, guide, options.feather)
    try:
        grid = backend.parts.cell, backend.parts.snap
        return paint(backend, canvas, config, options, seeds, progress, steering, aim, grid), canvas
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise SowError(
            f"Out of memory with {len(seeds)} pictures on {backend.device}; lower --candidates, or try --dtype float16."
        ) from None


def back(path: Path, number: int | None) -> State:
    """Make another turn the current one (default: the one before). Raises SowError for an unknown one."""
    with writing(path):
        state = read_state(path)
        target = state.now.parent if number is None else state.turn(number).id
        if target is None:
            raise SowError("This is the first picture; there is no turn before it.")
        state = replace(state, current=target)
        write_state(path, state)
    return state


def replay(
    path: Path, state: State, model: Model, progress: Progress | None = None
) -> list[tuple[Record, bytes, bool]]:
    """Every turn made again from the picture before it as it is kept: record, PNG, and whether it is the same file."""
    made = []
    opened = cache(open_match)
    guides = {record.id: _guide_of(record, opened) for record in state.turns}
    for record in state.turns:
        if record.parent is None:
            png = kept_picture(path, record.picture)
        else:
            before = open_png(kept_picture(path, state.turn(record.parent).picture))
            mask = None if record.mask is None else _mask_tensor(kept_picture(path, record.mask))
            turn = Turn(
                record.instruction,
                tuple(map(Box.parse, record.regions)),
                record.prompt,
                tuple(p.thing() for p in _planned(record)),
                tuple(map(Box.parse, record.spared)),
                record.outside,
                record.fresh,
                told=state.turn(record.parent).prompt,
            )
            seeds = [record.first_seed + n for n in range(record.candidates)]
            options = EditOptions(record.feather, record.most, state.negative)
            with quiet_libraries():
                images, _ = painted(
                    model.backend,
                    before,
                    turn,
                    mask,
                    SowConfig.from_dict(record.config),
                    options,
                    seeds,
                    progress,
                    guides[record.id],
                    _same_window(record),
                )
            png = png_bytes(to_picture(images[record.seed - record.first_seed]))
        made.append((record, png, _hash(png) == record.picture))
    return made


def _guide_of(record: Record, opened: Callable[[str], GuidingMatch | None]) -> Guide | None:
    """Who guided a turn, if somebody did. Raises SowError if that match is not there any more."""
    if record.parent is None or not record.steering:
        return None
    try:
        match = opened(record.match)
        if match is None:
            raise SowError(f"{record.match!r} guides nothing.")
        return Guide(match, Steering.from_dict(record.steering))
    except SowError as error:
        raise SowError(f"Turn {record.id} was guided by a match and cannot be made again: {error}") from error


def _same_window(record: Record) -> Crop | None:
    """The window of a turn as it was."""
    return (lambda region: Window.read(record.window)) if record.window else None


def _planned(record: Record) -> tuple[Place, ...]:
    """The things as they were planned: hiding the surplus looks at their places before the turn."""
    old = {p.name: p for p in record.before}
    return tuple(old.get(p.name, p) if p.name != record.fresh else p for p in record.things)


def open_png(content: bytes) -> Tensor:
    """[3, H, W] in 0..1."""
    return to_tensor(open_picture(content).convert("RGB"))


def _mask(source: Source, frame: tuple[int, int]) -> Tensor:
    mask = load_mask(source)
    if mask.size != frame:
        raise SowError(
            f"Bad mask size. Expected {frame[0]}x{frame[1]}, as the picture, got {'x'.join(map(str, mask.size))}."
        )
    return (to_tensor(mask) >= 0.5).float()


def _mask_tensor(content: bytes) -> Tensor:
    return (to_tensor(open_picture(content).convert("L")) >= 0.5).float()


def _mask_png(mask: Tensor) -> bytes:
    return png_bytes(to_picture(mask))


def _hash(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


def _numbers(box: Box) -> tuple[int, ...]:
    return (box.x, box.y, box.width, box.height)
