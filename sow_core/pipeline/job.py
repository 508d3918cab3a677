"""The options of `generate`, checked and complete, before a model is loaded."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SowError
from ..files import check_writable
from ..method.box import CELL, Box
from ..method.plan import NEGATIVE_PROMPT, SowConfig, preset
from ..pictures.reading import load_kept, load_picture
from ..settings import override, with_config

if TYPE_CHECKING:
    from PIL import Image

SIZES = (64, 8192)
"""Smallest and largest side of a canvas, px."""


@dataclass
class Job:
    """What `generate` is to do. `boxes` has None where a planner decides; `size` None: the model's own."""

    conditions: list[Path]
    masks: list[Path | None]
    prompt: str
    negative: str
    extra: dict[str, str]
    boxes: list[Box | None]
    related: list[list[Box]]
    background: tuple[float, float, float] | Image.Image | None
    config: SowConfig
    seeds: list[int]
    out: list[Path]
    sheet: Path | None
    report: Path | None
    size: tuple[int, int] | None


def check(args: argparse.Namespace, base: SowConfig | None = None) -> Job:
    """The job that the options describe; `base`: the settings to start from, instead of a preset.

    Raises SowError for everything that can be refused without loading a model.
    """
    conditions, masks = _pictures(args)
    if not (args.prompt or "").strip() and not args.plan:
        raise SowError("No prompt: give --prompt TEXT, the scene to grow around the picture.")
    boxes = _boxes(args, len(conditions))
    related = _related(args.related or [], len(conditions))
    config = _config(args, base)
    extra = {k: v for k, v in (("suppress", args.suppress), ("diverse", args.diverse)) if v is not None}
    if config.extra_rows and len(extra) < 2:
        raise SowError(
            "Four-row guidance needs two prompts: --suppress TEXT (for a face, the predecessor used "
            '"human face") and --diverse TEXT; or switch it off with --set extra_rows=false.'
        )
    count = 1 if args.count is None else args.count
    if not 1 <= count <= 64:
        raise SowError(f"Bad --count {count}: expected 1 to 64.")
    if args.paste_back is not None and not 0 <= args.paste_back <= 256:
        raise SowError(f"Bad --paste-back {args.paste_back}: expected 0 to 256 px.")
    seed = 0 if args.seed is None else args.seed
    size = parse_size(args.size) if args.size else None
    if size:
        check_boxes(size, boxes, related)
    out, sheet, report = _outputs(args, count)
    return Job(
        conditions=conditions,
        masks=masks,
        prompt=args.prompt or "",
        negative=NEGATIVE_PROMPT if args.negative is None else args.negative,
        extra=extra,
        boxes=boxes,
        related=related,
        background=parse_background(args.background) if args.background else None,
        config=config,
        seeds=[seed + n for n in range(count)],
        out=out,
        sheet=sheet,
        report=report,
        size=size,
    )


def _pictures(args: argparse.Namespace) -> tuple[list[Path], list[Path | None]]:
    if not args.condition:
        raise SowError("No condition: give --condition IMG, the picture to keep.")
    conditions = [Path(p) for p in args.condition]
    masks = [Path(p) if p else None for p in args.mask or []]
    if len(masks) > len(conditions):
        raise SowError(f"More masks ({len(masks)}) than conditions ({len(conditions)}).")
    masks += [None] * (len(conditions) - len(masks))
    for picture, mask in zip(conditions, masks, strict=True):
        load_kept(picture, mask)
    if args.plan and not Path(args.plan).is_file():
        raise SowError(f"No such plan: {args.plan}.")
    return conditions, masks


def _boxes(args: argparse.Namespace, conditions: int) -> list[Box | None]:
    boxes: list[Box | None] = [Box.parse(b) for b in args.box or []]
    if len(boxes) > conditions:
        raise SowError(f"More boxes ({len(boxes)}) than conditions ({conditions}).")
    if args.planner == "none" and not args.plan and len(boxes) < conditions:
        raise SowError(f"More conditions ({conditions}) than boxes ({len(boxes)}); give --box for each, in order.")
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


def _config(args: argparse.Namespace, base: SowConfig | None) -> SowConfig:
    config = base if base is not None else preset(args.preset or "normal")
    if args.steps is not None:
        config = with_config(config, steps=args.steps) if args.steps < 1 else config.with_steps(args.steps)
    config = with_config(config, cycles=args.cycles, guidance=args.cfg)
    if args.no_attention:
        config = override(config, ["modulation=none"])
    return override(config, args.assignments)


def _outputs(args: argparse.Namespace, count: int) -> tuple[list[Path], Path | None, Path | None]:
    """Where to write. Raises SowError if that would fail, or overwrite an input or another output."""
    out = Path(args.out or "sow.png")
    outs = [out] if count == 1 else [out.with_stem(f"{out.stem}_{n}") for n in range(1, count + 1)]
    sheet = Path(args.sheet) if args.sheet else None
    report = Path(args.report) if args.report else None
    for option, path in (("--out", out), ("--sheet", sheet)):
        if path is not None and path.suffix.lower() != ".png":
            raise SowError(f"Bad {option} {path}: expected a name that ends in .png.")
    taken = {os.path.realpath(p) for p in [*args.condition, *(args.mask or []), args.plan, args.background] if p}
    for path in (*outs, sheet, report):
        if path is None:
            continue
        check_writable(path)
        place = os.path.realpath(path)
        if place in taken:
            raise SowError(f"Cannot write {path}: it is an input, or another output; choose another name.")
        taken.add(place)
    return outs, sheet, report


def parse_size(text: str) -> tuple[int, int]:
    """(width, height) from "WxH". Raises SowError."""
    parts = text.lower().replace("×", "x").split("x")
    try:
        width, height = (int(p) for p in parts)
    except ValueError:
        raise SowError(f"Bad --size {text!r}: expected WxH, for example 512x512.") from None
    for value in (width, height):
        if value % CELL or not SIZES[0] <= value <= SIZES[1]:
            raise SowError(f"Bad --size {text}: expected multiples of {CELL} from {SIZES[0]} to {SIZES[1]} px.")
    return width, height


def parse_background(text: str) -> tuple[float, float, float] | Image.Image:
    """A colour (0..1) from its name or #rrggbb, or the picture in that file. Raises SowError."""
    from PIL import ImageColor

    if Path(text).exists():
        return load_picture(text)[0]
    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError:
        raise SowError(f"Bad --background {text!r}: expected a colour name, #rrggbb, or a picture.") from None
    return (red / 255, green / 255, blue / 255)


def check_boxes(size: tuple[int, int], boxes: Sequence[Box | None], related: Sequence[Sequence[Box]]) -> None:
    """Raises SowError for a box that leaves the canvas, or a related region that misses it."""
    for box in [b for b in boxes if b is not None]:
        if not box.inside(*size):
            raise SowError(f"The box {box} lies outside the {size[0]}x{size[1]} canvas; move or shrink it.")
    for area in (b for group in related for b in group):
        if area.clip(*size).area == 0:
            raise SowError(f"The related region {area} lies outside the {size[0]}x{size[1]} canvas; move it.")
