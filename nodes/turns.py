"""Turns on the host's own models: the history that travels between nodes, and one turn of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ..sow_core.errors import SowError
from ..sow_core.method.advice import Advice
from ..sow_core.method.box import Box
from ..sow_core.turns.painting import (
    Canvas,
    check_free,
    free_mask,
    laid_back,
    make_canvas,
    make_edit_layout,
    measured,
)
from ..sow_core.turns.presets import edit_config, edit_options
from ..sow_core.turns.resolve import Locate, Scene, Turn, elsewhere, resolve
from ..sow_core.turns.rounds import Round, best_round, check_rounds
from ..sow_core.turns.things import Thing
from ..sow_core.turns.window import AUTO, OFF, cropping
from .draw import draw_turn, from_picture
from .find import clip_folders
from .layout import picture_of, to_image

if TYPE_CHECKING:
    from ..sow_core.turns.match import Match

BY_MATCH = -1
"""The value of `pick` that leaves the choice to a match."""
OWN, DEMO = "own", "demo"
"""Matches: the model that paints, and one that was learned for the demo world; others are the host's CLIP folders."""
CROPS = (AUTO, OFF, "1.5", "2", "3", "4")
"""What the node offers of `window.find_window`."""


class Step(NamedTuple):
    """One turn of a history: what was said, and the picture [3, H, W] after it."""

    label: str
    picture: Tensor


@dataclass(frozen=True)
class History:
    """What a SOW_HISTORY carries: the scene after the last turn, and every picture with its instruction."""

    scene: Scene
    steps: tuple[Step, ...]


class Planned(NamedTuple):
    """What a SOW_TURN carries: a turn that is not painted yet. free [H, W]: what may change, instead of its regions."""

    history: History
    turn: Turn
    free: Tensor | None


class Made(NamedTuple):
    """images [N, H, W, 3]: the candidates, the picked one first, or the match's choice alone; mask [1, H, W]: free."""

    images: Tensor
    history: History
    mask: Tensor
    prompt: str
    report: str


def read_things(text: str) -> tuple[Thing, ...]:
    """One a line: "blue sphere=24,40,36,36". Raises SowError."""
    return tuple(Thing.parse(line) for line in text.splitlines() if line.strip())


def read_regions(text: str) -> tuple[Box, ...]:
    """One box a line, x,y,width,height in px. Raises SowError."""
    return tuple(Box.parse(line, "region") for line in text.splitlines() if line.strip())


def free_of(mask: Tensor | None, frame: tuple[int, int]) -> Tensor | None:
    """A host MASK as what may change [H, W]; Load Image's empty 64 x 64 mask counts as none. Raises SowError."""
    if mask is None:
        return None
    plane = mask.reshape(-1, *mask.shape[-2:])[0].float().cpu()
    if tuple(plane.shape) == (64, 64) != (frame[1], frame[0]) and not plane.any():
        return None
    if tuple(plane.shape) != (frame[1], frame[0]):
        got = f"{plane.shape[1]}x{plane.shape[0]}"
        raise SowError(f"Bad mask size. Expected {frame[0]}x{frame[1]}, as the picture, got {got}.")
    return plane


def begin(image: Tensor, prompt: str, things: Sequence[Thing], history: History | None) -> History:
    """The history up to this turn. Raises SowError where it does not fit the picture."""
    picture = picture_of(image, "image", "pick one picture of the batch")
    height, width = picture.shape[-2:]
    if width % 8 or height % 8:
        raise SowError(f"Bad image size {width}x{height}: expected multiples of 8; scale or crop the picture first.")
    for thing in things:
        if thing.box is not None and not thing.box.inside(width, height):
            raise SowError(f"The box {thing.box} of the {thing.name} leaves the {width}x{height} picture.")
    if history is None:
        first = Step(prompt.strip() or "a picture", picture)
        return History(Scene((width, height), prompt.strip(), tuple(things)), (first,))
    if history.scene.frame != (width, height):
        expected = "x".join(map(str, history.scene.frame))
        raise SowError(f"Bad image size. Expected {expected}, as the history, got {width}x{height}.")
    named = {t.name for t in things}
    if not torch.equal(history.steps[-1].picture, picture):  # another node has worked on it in between
        history = replace(history, steps=(*history.steps[:-1], Step(history.steps[-1].label, picture)))
    known = (*(t for t in history.scene.things if t.name not in named), *things)
    return replace(history, scene=Scene(history.scene.frame, prompt.strip() or history.scene.prompt, known))


@contextmanager
def words_of_widgets() -> Iterator[None]:
    """Errors name the node's inputs where the engine's name the command line's options."""
    try:
        yield
    except SowError as error:
        if type(error) is not SowError:  # a planner's, which says more than its words
            raise
        told = re.sub(r"--(thing|region)\b", r"\1s", str(error)).replace("--prompt TEXT", "prompt")
        told = re.sub(r"--(match|retries|candidates)\b", r"\1", told)
        raise SowError(told) from error


def on_picture(planned: Planned, image: Tensor) -> Planned:
    """A plan for the picture at hand, which may not be the one that it was made on. Raises SowError."""
    return planned._replace(history=begin(image, "", (), planned.history))


def looking(model: Any, clip: Any, vae: Any, history: History) -> Locate | None:
    """How things are found that nobody knows: by the model's own attention. None if one of its parts is missing."""
    if model is None or clip is None or vae is None:
        return None

    def locate(word: str) -> Box:
        from .native.looking import locate

        return locate(model, clip, vae, history.steps[-1].picture, history.scene.prompt, word)

    return locate


def plan(
    history: History, instruction: str, regions: Sequence[Box], new_prompt: str, planner: str, profile: str,
    masked: bool, locate: Locate | None = None,
) -> Turn:
    """What the instruction means, by the rules or by a language model. Raises SowError."""
    if not instruction.strip():
        raise SowError("No instruction: write one change, for example: add a hat.")
    if planner == "offline":
        return resolve(instruction, history.scene, regions, new_prompt, locate, masked)
    from comfy import model_management

    from ..sow_core.method.condition import to_picture
    from ..sow_core.planning.errors import PlannerError
    from ..sow_core.turns.asking import ask_turn
    from .planning import host_config

    try:
        return ask_turn(history.scene, instruction, to_picture(history.steps[-1].picture),
                        "gemini" if planner == "gemini" else profile, regions, new_prompt, masked, host_config(),
                        model_management.processing_interrupted)  # fmt: skip
    except PlannerError as error:
        if error.kind == "cancelled":
            model_management.throw_exception_if_processing_interrupted()
        raise


def take_turn(
    model: Any,
    clip: Any,
    vae: Any,
    planned: Planned,
    advice: Advice | None,
    seeds: Sequence[int],
    cfg: float,
    feather: int,
    pick: int,
    match: str = OWN,
    retries: int = 0,
    crop: str = AUTO,
) -> Made:
    """Paint a turn on the host's model. Raises SowError."""
    from ..sow_core.turns.own_match import OwnMatch
    from .native import grid_of, sample_layout
    from .native.sizes import trained_size

    history, turn, mask = planned
    before = history.steps[-1].picture
    told = advice or Advice()
    config = edit_config(told, [f"guidance={cfg}"])
    options = edit_options(told, history.scene.frame, feather, None)
    grid = grid_of(model)
    window = cropping(crop, history.scene.frame, trained_size(model), grid[1])

    def prompt(text: str) -> Any:
        return clip.encode_from_tokens_scheduled(clip.tokenize(text))

    def paint(turn: Turn, seeds: Sequence[int]) -> tuple[Tensor, Canvas]:
        canvas = make_canvas(before, turn, options, mask, window)
        rows = prompt(canvas.prompt), prompt(options.negative)
        layout = make_edit_layout(canvas, config, grid)
        made = sample_layout(model, *rows, vae, layout, config, list(seeds)).images
        return laid_back(canvas, made.movedim(-1, 1).float().cpu(), options.feather), canvas

    if pick != BY_MATCH and not retries:
        images, canvas = paint(turn, seeds)
        return finish(history, Round(turn, canvas, images, tuple(seeds)), pick)

    chooser = None if match == OWN else match_of(match)
    with words_of_widgets():
        check_rounds(len(seeds), retries, chooser)

    def judge(canvas: Canvas) -> Match:
        from .native.judging import prompt_errors

        return chooser or OwnMatch(partial(prompt_errors, model, clip, vae), canvas, told.believed)

    locate = looking(model, clip, vae, history)

    def moved(turn: Turn, tried: Sequence[Turn]) -> Turn:
        return elsewhere(turn, history.scene, tried, locate)

    found = best_round(turn, paint, judge, seeds, retries, moved)
    return finish(history, found, BY_MATCH)


def finish(history: History, found: Round, pick: int) -> Made:
    """A painted turn with its picked candidate first, or with the match's choice alone; the history after it."""
    images, canvas = found.images, found.canvas
    chosen = found.best if pick == BY_MATCH else pick
    if chosen >= len(images):
        raise SowError(f"Bad pick {chosen}: there are {len(images)} candidates, 0 is the first.")
    turn = measured(found.turn, canvas, images[chosen])
    lines = [f"instruction: {turn.instruction}", f"prompt: {turn.prompt}", *found.told]
    lines += [f"region: {region}" for region in turn.regions]
    if canvas.cropped:
        lines.append(f"window: {canvas.window}")
    lines += _known(turn)
    scene = Scene(history.scene.frame, turn.prompt, turn.things)
    after = History(scene, (*history.steps, Step(turn.instruction, images[chosen])))
    others = [] if pick == BY_MATCH else [images[:chosen], images[chosen + 1 :]]
    shown = torch.cat([images[chosen : chosen + 1], *others])
    return Made(shown.movedim(1, -1).contiguous(), after, canvas.free[None], turn.prompt, "\n".join(lines))


def match_of(name: str) -> Match:
    """Raises SowError for a folder that the host does not have."""
    from ..sow_core.turns.match import open_match

    folder = DEMO if name == DEMO else clip_folders().get(name)
    found = None if folder is None else open_match(folder)
    if found is None:
        raise SowError(f"No match {name!r}: expected one of {', '.join(matches())[:200]}.")
    return found


def matches() -> list[str]:
    """The names that the node offers."""
    return [OWN, DEMO, *sorted(clip_folders())]


def told(planned: Planned) -> str:
    """What is going to happen, line by line."""
    turn = planned.turn
    where = "kept" if turn.outside else "region"
    lines = [f"instruction: {turn.instruction}", f"prompt: {turn.prompt}"]
    lines += ["region: the mask"] if planned.free is not None else [f"{where}: {r}" for r in turn.regions]
    return "\n".join([*lines, *_known(turn)])


def _known(turn: Turn) -> list[str]:
    things = [f"{t.name}: {t.box or 'place not known'}" for t in turn.things]
    return things + [f"note: {note}" for note in turn.notes]


def preview(planned: Planned) -> Tensor:
    """IMAGE: the picture before, what may change in its own colours, the rest pale; boxes of the things, as known."""
    history, turn, mask = planned
    regions = () if mask is not None or turn.outside else turn.regions
    return from_picture(draw_turn(history.steps[-1].picture, region(planned), regions, turn.things))


def region(planned: Planned) -> Tensor:
    """[H, W]: 1 where the picture may change. Raises SowError if that is nothing, or all of it."""
    history, turn, mask = planned
    return free_mask(turn, history.scene.frame) if mask is None else check_free(mask)


def sheet(history: History) -> Tensor:
    """IMAGE [1, H, W, 3]: every picture of a history with its instruction."""
    from ..sow_core.method.condition import to_picture, to_tensor
    from ..sow_core.pictures.sheet import contact_sheet

    tiles = [(f"{n} {step.label}", to_picture(step.picture)) for n, step in enumerate(history.steps)]
    return to_image(to_tensor(contact_sheet(tiles)))
