"""Cases whose faces the model drew itself (`--source samples`): fair to a model that does not know our renders.

A portrait is sampled by text-to-image in a suit, whose red tie says without a judge where the face is. What the
model drew is kept, so there is no ground truth, and of the person only what the text said is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sow_core.backends.diffusers import DiffusersBackend
from sow_core.box import CELL, Box
from sow_core.condition import Condition, to_picture, to_tensor
from sow_core.engine import generate
from sow_core.errors import SowError
from sow_core.files import atomic_write
from sow_core.pictures import load_picture
from sow_core.settings import png_bytes
from tools.demo_model import world
from tools.demo_model.attributes import BACKGROUNDS, CLOTHES, CLOTHES_COLORS
from tools.demo_model.captions import MOUTH_WORDS, PLACE_WORDS, STYLE_WORDS

from . import peers
from .cases import CROP, HARD_EVERY, HARD_SCALE, SETTINGS, SIZE, SPLITS, STYLES, Case

EDITS = ("mouth", "glasses")
STEPS = 20
KNOT, HALF_WIDTH, HEIGHT = 7.0, 18.0, 42.0
"""px: chin above the knot of the tie, half the width and the height of what is kept of a face."""
TRIES = 9
OFFSET = 5_000
"""These cases draw other seeds than the rendered ones."""


def sampled_cases(
    backend: DiffusersBackend, setting: str, split: str, count: int, guidance: float, folder: Path | None = None
) -> Iterator[Case]:
    """The first `count` cases of a setting; their portraits are kept in `folder`, if given.

    The seed of a portrait whose face is not found is passed over.
    """
    start = SPLITS[split] + 10_000 * SETTINGS.index(setting) + OFFSET
    for number in range(count):
        yield _case(backend, setting, split, start + 10 * number, number, guidance, folder)


def _case(
    backend: DiffusersBackend, setting: str, split: str, seed: int, number: int, guidance: float, folder: Path | None
) -> Case:
    rng = world.rng_of(seed, 7)
    gender = str(rng.choice(("man", "woman")))
    hair = str(rng.choice(("short", "bald") if gender == "man" else ("short", "long")))
    mouth = str(rng.choice(("smiling", "neutral", "sad")))
    person = f"{gender} with {'a bald head' if hair == 'bald' else hair + ' hair'}"
    source = f"a photo of {_a(f'{MOUTH_WORDS[mouth]} {person}')} wearing a black suit {PLACE_WORDS['studio']}"
    image, face = _portrait(backend, source, seed, guidance, folder)
    crop, mask, origin = cut_face(image, face)
    edit = EDITS[number % len(EDITS)] if setting == "attribute" else None
    style = STYLES[number % len(STYLES)] if setting == "style" else "photo"
    hard = number % HARD_EVERY == HARD_EVERY - 1
    scale = HARD_SCALE if hard else 1.0
    side = round(CROP * scale)
    background = str(rng.choice([b for b in BACKGROUNDS if b != "studio"]))
    clothes, color = str(rng.choice(CLOTHES)), str(rng.choice(CLOTHES_COLORS))
    x = CELL * int(rng.integers(2, (SIZE - side) // CELL - 1))
    box = Box(x, CELL * round((origin[1] + (CROP - side) / 2) / CELL), side, side)
    now = str(rng.choice([m for m in ("smiling", "neutral", "sad") if m != mouth])) if edit == "mouth" else mouth
    wear = f"{'glasses and ' if edit == 'glasses' else ''}{_a(f'{color} {clothes}')}"
    plain = f"{MOUTH_WORDS[now]} {gender}" if edit == "mouth" else gender
    begin, end = STYLE_WORDS[style][0], PLACE_WORDS[background]
    placed = (
        box.x + (face[0] - origin[0]) * scale, box.y + (face[1] - origin[1]) * scale,
        box.x + (face[2] - origin[0]) * scale, box.y + (face[3] - origin[1]) * scale,
    )  # fmt: skip
    return Case(
        id=f"{split}-{setting}-{number:03}",
        setting=setting,
        seed=seed,
        source=image,
        source_face=face,
        condition=Condition(crop, mask, box, (_below(placed),)),
        face=placed,
        prompt=f"{begin} {_a(f'{MOUTH_WORDS[now]} {person}')} wearing {wear} {end}",
        plain_prompt=f"{begin} {_a(plain)} wearing {wear} {end}",
        elsewhere=Box(CELL * int(rng.integers(0, (SIZE - side) // CELL + 1)),
                      CELL * int(rng.integers(0, (SIZE - side) // CELL + 1)), side, side),
        outside={"background": background, "clothes": clothes}
        | ({"clothes_color": color} if style != "pencil" else {})
        | ({"style": style} if setting == "style" else {}),
        inside={"mouth": now} if edit == "mouth" else {"glasses": "glasses"} if edit == "glasses" else {},
        hard=hard,
    )  # fmt: skip


def _portrait(
    backend: DiffusersBackend, prompt: str, seed: int, guidance: float, folder: Path | None
) -> tuple[Tensor, tuple[float, float, float, float]]:
    """The first sample of the prompt, from `seed` on, in which a face is found."""
    kept = folder / f"{seed}.png" if folder else None
    if kept is not None and kept.is_file():
        image = to_tensor(load_picture(kept)[0])
        face = find_head(image)
        if face is not None:
            return image, face
    for attempt in range(TRIES):
        image = text_to_image(backend, prompt, seed + attempt, guidance)
        face = find_head(image)
        if face is not None:
            if kept is not None:
                atomic_write(kept, png_bytes(to_picture(image)))
            return image, face
    raise SowError(f"This model drew no suit with a red tie in {TRIES} tries of {prompt!r}: use --source renders.")


def text_to_image(backend: DiffusersBackend, prompt: str, seed: int, guidance: float) -> Tensor:
    """One picture [3, SIZE, SIZE] by plain sampling."""
    backend.set_prompts({"positive": prompt, "negative": ""})
    plan = peers.text_to_image(STEPS, guidance, "empty")
    image = generate(plan, backend, peers.blank_layout(SIZE), [seed]).images[0]
    return (image * 255).round() / 255  # as a PNG would hold it


def find_head(image: Tensor) -> tuple[float, float, float, float] | None:
    """The face above the red tie of the suit: x0, y0, x1, y1, px; None if there is no upright tie.

    The tie's knot sits under the neck and marks the middle of the person; the face's size is the world's average.
    """
    red, green, blue = image
    tie = (red > 0.4) & (green < 0.36) & (blue < 0.4) & (red - green > 0.22)
    tie[:72] = False
    ys, xs = tie.nonzero(as_tuple=True)
    if len(ys) < 60:
        return None
    middle = float(xs.float().median())
    tie[:, (torch.arange(tie.shape[1]) - middle).abs() > 6] = False
    rows = [y for y in range(72, image.shape[1]) if tie[y].sum() >= 2]
    if len(rows) < 16 or rows[-1] - rows[0] > len(rows) + 4:
        return None
    xs = tie.nonzero(as_tuple=True)[1]
    centre, chin = float(xs.float().median()) + 0.5, rows[0] - KNOT
    if not HALF_WIDTH + 4 <= centre <= image.shape[2] - HALF_WIDTH - 4 or not HEIGHT <= chin <= 88:
        return None
    return centre - HALF_WIDTH, chin - HEIGHT, centre + HALF_WIDTH, chin


def cut_face(image: Tensor, face: tuple[float, float, float, float]) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """A CROP-px square around the face, the ellipse of the face in it, and its corner in the picture."""
    x0, y0, x1, y1 = face
    x = int(np.clip(round((x0 + x1 - CROP) / 2), 0, SIZE - CROP))
    y = int(np.clip(round((y0 + y1 - CROP) / 2), 0, SIZE - CROP))
    ys, xs = torch.meshgrid(torch.arange(CROP) + 0.5, torch.arange(CROP) + 0.5, indexing="ij")
    across = (xs + x - (x0 + x1) / 2) / ((x1 - x0) / 2)
    down = (ys + y - (y0 + y1) / 2) / ((y1 - y0) / 2)
    mask = (across.square() + down.square() <= 1).float()
    return image[:, y : y + CROP, x : x + CROP].clone(), mask, (x, y)


def _below(face: tuple[float, float, float, float]) -> Box:
    """Where shoulders and chest belong."""
    x0, _, x1, y1 = face
    left, right = round(max(x0 - (x1 - x0) / 2, 0)), round(min(x1 + (x1 - x0) / 2, SIZE))
    top = min(round(y1), SIZE - CELL)
    return Box(left, top, right - left, SIZE - top)


def _a(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun
