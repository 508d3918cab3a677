"""Options, checked and complete, before a model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..backends.patches import parse_patch
from ..errors import SowError
from ..method.advice import Advice, guided
from ..method.box import Box, check_inside, check_size
from ..method.config import NEGATIVE_PROMPT, SowConfig
from ..method.overrides import override, with_config
from ..method.presets import preset
from ..method.separation import Separation, parse_concepts
from ..pictures.reading import Kept, load_kept, load_picture
from ..settings import digest
from .options import Options

if TYPE_CHECKING:
    from PIL import Image

    from ..planning.schema import LayoutPlan
    from .options import Picture

MOST_PICTURES = 64
"""In one run: they share a batch."""
PLANNERS = ("offline", "gemini", "none")


@dataclass
class Job:
    """What is to be made. `boxes` has None where a planner decides; `size` None: the model's own."""

    options: Options
    conditions: list[Picture]
    masks: list[Picture | None]
    prompt: str
    negative: str
    extra: dict[str, str]
    concepts: tuple[str, ...]
    """Words of the prompt whose things are kept apart."""
    patch: tuple[Path, float] | None
    """A file of weight differences for this run, and how much of it."""
    boxes: list[Box | None]
    related: list[list[Box]]
    background: tuple[float, float, float] | Image.Image | None
    config: SowConfig
    seeds: list[int]
    size: tuple[int, int] | None
    base: SowConfig | None
    """A saved picture's own settings, which no model's recommendation touches."""
    plan: LayoutPlan | str | Path | dict[str, Any] | None
    """To be followed (a plan, or its file), or, as a dict, the record of one that has been."""
    planner: str
    loaded: list[Kept]
    """The decoded conditions and masks: as long as they are held, reading the files again costs nothing."""
    hashes: dict[Path, str] = field(default_factory=dict)
    """sha256 of each file among the pictures, taken before the run: a file may be gone after it."""
    only: int | None = None
    """The one picture of the batch that is wanted, from 0; None: all. In their last bits a batch's pictures differ from
    those made alone."""

    @property
    def wanted(self) -> list[int]:
        """The seed of each picture that is kept."""
        return self.seeds if self.only is None else [self.seeds[self.only]]

    @property
    def preset(self) -> str:
        return self.options.preset or "normal"

    def recommend(self, advice: Advice) -> None:
        """Take a model folder's own recommendations (sow.json) where the user says nothing else."""
        if self.base is not None:
            return
        if self.options.negative is None and advice.negative is not None:
            self.negative = advice.negative
        self.config = _config(self.options, advice.config(self.preset), advice.separate)


def check(options: Options, base: SowConfig | None = None, record: dict[str, Any] | None = None) -> Job:
    """The job that the options describe; `base`: the settings to start from, instead of a preset; `record`: the plan
    that a saved picture followed. Raises SowError for everything that can be refused without loading a model.
    """
    conditions, masks, loaded = _pictures(options)
    if not (options.prompt or "").strip() and not options.plan:
        raise SowError("No prompt: give --prompt TEXT, the scene to grow around the picture.")
    planner = options.planner or "offline"
    if planner not in PLANNERS:
        raise SowError(f"Unknown planner {planner!r}: expected one of {', '.join(PLANNERS)}.")
    boxes = _boxes(options, len(conditions))
    related = _related(options.related or [], len(conditions))
    config = _config(options, base)
    concepts = parse_concepts(options.separate) if options.separate else ()
    if config.separate is not None and config.separate.active and not concepts:
        raise SowError('No things to keep apart: name them, as in --separate "hat, glasses".')
    extra = {k: v for k, v in (("suppress", options.suppress), ("diverse", options.diverse)) if v is not None}
    if config.predecessor.extra_rows and len(extra) < 2:
        raise SowError(
            "Four-row guidance needs two prompts: --suppress TEXT (for a face, the predecessor used "
            '"human face") and --diverse TEXT; or switch it off with --set extra_rows=false.'
        )
    if options.paste_back is not None and not 0 <= options.paste_back <= 256:
        raise SowError(f"Bad --paste-back {options.paste_back}: expected 0 to 256 px.")
    size = parse_size(options.size) if options.size else None
    if size:
        check_inside(*size, boxes, related)
    patch = _patch(options.patch) if options.patch else None
    return Job(
        options=options,
        conditions=conditions,
        masks=masks,
        prompt=options.prompt or "",
        negative=NEGATIVE_PROMPT if options.negative is None else options.negative,
        extra=extra,
        concepts=concepts,
        patch=patch,
        boxes=boxes,
        related=related,
        background=parse_background(options.background) if options.background else None,
        config=config,
        seeds=seeds_of(options),
        size=size,
        base=base,
        plan=options.plan or record,
        planner=planner,
        loaded=loaded,
        hashes=_hashes((*conditions, *masks, options.background, *(patch or ())[:1])),
    )


def _patch(text: str) -> tuple[Path, float]:
    name, strength = parse_patch(text)
    if not _is(Path.is_file, name):
        raise SowError(f"No such patch: {name}; expected FILE.safetensors[:STRENGTH].")
    return Path(name), strength


def seeds_of(options: Options) -> list[int]:
    """One per picture, as `seeds`, or `seed` and `count`, say. Raises SowError."""
    if options.seeds is not None:
        seeds = list(options.seeds)
        if not 1 <= len(seeds) <= MOST_PICTURES or any(isinstance(s, bool) or not isinstance(s, int) for s in seeds):
            raise SowError(f"Bad seeds {str(seeds)[:60]}: expected 1 to {MOST_PICTURES} whole numbers.")
        return seeds
    count = 1 if options.count is None else options.count
    if not 1 <= count <= MOST_PICTURES:
        raise SowError(f"Bad --count {count}: expected 1 to {MOST_PICTURES}.")
    seed = 0 if options.seed is None else options.seed
    return [seed + n for n in range(count)]


def _pictures(options: Options) -> tuple[list[Picture], list[Picture | None], list[Kept]]:
    if not options.condition:
        raise SowError("No condition: give --condition IMG, the picture to keep.")
    conditions = [_file(p) for p in options.condition]
    masks = [_file(p) if p else None for p in options.mask or []]
    if len(masks) > len(conditions):
        raise SowError(f"More masks ({len(masks)}) than conditions ({len(conditions)}).")
    masks += [None] * (len(conditions) - len(masks))
    loaded = [load_kept(picture, mask) for picture, mask in zip(conditions, masks, strict=True)]
    if isinstance(options.plan, (str, Path)) and options.plan and not _is(Path.is_file, options.plan):
        raise SowError(f"No such plan: {options.plan}.")
    return conditions, masks, loaded


def _hashes(pictures: Sequence[Any]) -> dict[Path, str]:
    return {Path(p): digest(p) for p in pictures if isinstance(p, (str, Path)) and _is(Path.is_file, p)}


def _is(ask: Callable[[Path], bool], path: str | Path) -> bool:
    """An answer about a path; False for a name that no file can have."""
    try:
        return ask(Path(path))
    except (OSError, ValueError):
        return False


def _file(picture: Picture) -> Picture:
    return Path(picture) if isinstance(picture, str) else picture


def _boxes(options: Options, conditions: int) -> list[Box | None]:
    boxes: list[Box | None] = [None if b is None else Box.parse(b) for b in options.box or []]
    if len(boxes) > conditions:
        raise SowError(f"More boxes ({len(boxes)}) than conditions ({conditions}).")
    placed = sum(b is not None for b in boxes)
    if options.planner == "none" and not options.plan and placed < conditions:
        raise SowError(f"More conditions ({conditions}) than boxes ({placed}); give --box for each, in order.")
    return boxes + [None] * (conditions - len(boxes))


def _related(texts: Sequence[str], conditions: int) -> list[list[Box]]:
    related: list[list[Box]] = [[] for _ in range(conditions)]
    for text in texts:
        number, colon, rest = text.rpartition(":")
        if colon and not number.strip().isdecimal():
            raise SowError(f"Bad --related {text!r}: expected N:X,Y,W,H, with N the number of a condition.")
        index = int(number) if colon else 1
        if not 1 <= index <= conditions:
            raise SowError(f"Bad --related {text!r}: there is no condition {index}.")
        related[index - 1].append(Box.parse(rest, "related region"))
    return related


def _config(options: Options, base: SowConfig | None, separate: Separation | None = None) -> SowConfig:
    config = base if base is not None else preset(options.preset or "normal")
    steps = options.steps
    if steps is not None:
        config = with_config(config, steps=steps) if steps < 1 else config.with_steps(steps)
    config = with_config(config, cycles=options.cycles)
    if options.cfg is not None:
        config = guided(config, options.cfg)
    if options.no_attention:
        config = override(config, ["modulation=none"])
    if options.separate and config.separate is None:
        config = with_config(config, separate=separate or Separation())
    return override(config, options.settings)


def parse_size(size: str | tuple[int, int]) -> tuple[int, int]:
    """(width, height) from "WxH" or two numbers. Raises SowError."""
    text = size if isinstance(size, str) else "x".join(map(str, size))
    parts = text.lower().replace("×", "x").split("x")
    try:
        width, height = (int(p) for p in parts)
    except ValueError:
        raise SowError(f"Bad --size {text!r}: expected WxH, for example 512x512.") from None
    check_size(width, height)
    return width, height


def parse_background(given: Picture) -> tuple[float, float, float] | Image.Image:
    """A colour (0..1) from its name or #rrggbb, or a picture. Raises SowError."""
    from PIL import ImageColor

    if not isinstance(given, str) or _is(Path.exists, given):
        return load_picture(given)[0]
    try:
        red, green, blue = ImageColor.getrgb(given)[:3]
    except ValueError:
        raise SowError(f"Bad --background {given!r}: expected a colour name, #rrggbb, or a picture.") from None
    return (red / 255, green / 255, blue / 255)
