"""What is asked of every method: a picture to keep, where it goes, a text, and what is true of the answer.

A case's seed fixes its person, its scene, its text and its noise. Tuning looks at the split "val" only, reports
at "test" only; both are seeds that neither the demo model nor its judges were trained on.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sow_core.method.box import CELL, Box
from sow_core.method.condition import Condition
from tools.demo_model import figure, visible, world
from tools.demo_model.attributes import BACKGROUNDS, CLOTHES, CLOTHES_COLORS, MOUTHS, Portrait
from tools.demo_model.captions import MOUTH_WORDS, PLACE_WORDS, STYLE_WORDS, portrait_caption
from tools.demo_model.world import HELD_OUT, VALIDATION

SETTINGS = ("normal", "style", "attribute", "small")
"""The paper's three tasks: a new scene; a new scene in another style; a new scene and a change within the picture.
And the first with a small box far from the middle, where a body is easily left out."""
OFFSETS = {"normal": 0, "style": 10_000, "attribute": 20_000, "small": 40_000}
"""Of a setting's seeds from its split's first."""
SPLITS = {"val": VALIDATION[0] + 50_000, "test": HELD_OUT[0] + 200_000}
SIZE = 128
CROP = 64
SMALL = 40
"""Side of the boxes of the setting "small", px."""
HARD_EVERY, HARD_SCALE = 4, 0.75
"""Every fourth case has a smaller face than the model has seen: there outlines break more easily."""
EDITS = ("mouth", "glasses", "age")
STYLES = ("pencil", "watercolor", "pixel")


@dataclass(frozen=True)
class Case:
    """One question. Pictures are [3, 128, 128] in 0..1, boxes px of the canvas.

    source: the picture that the condition was cut from, source_face: the face in it, x0, y0, x1, y1;
    face: where the kept face lies on the canvas;
    prompt: the full text; plain_prompt: what a user would type (without prompt intensification);
    elsewhere: a box drawn by lot (without position planning); outside, inside: attribute -> value that the text
    asks for around the condition and within it; truth: the picture that the text describes, where there is one.
    """

    id: str
    setting: str
    seed: int
    source: Tensor
    source_face: tuple[float, float, float, float]
    condition: Condition
    face: tuple[float, float, float, float]
    prompt: str
    plain_prompt: str
    elsewhere: Box
    outside: dict[str, str]
    inside: dict[str, str] = field(default_factory=dict)
    truth: Tensor | None = None
    hard: bool = False

    @property
    def fingerprint(self) -> str:
        """Changes with anything that a method is given."""
        c = self.condition
        told = [self.id, self.seed, self.prompt, self.plain_prompt, str(c.box), [str(r) for r in c.related],
                str(self.elsewhere)]  # fmt: skip
        digest = hashlib.sha256(json.dumps(told).encode())
        for x in (c.image, c.mask):
            digest.update((x * 255).round().to(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def source_corner(self) -> tuple[int, int]:
        """Where the condition's upper left corner was in the source, px."""
        x0, y0, x1, y1 = self.source_face
        h, w = self.condition.mask.shape
        return (
            int(np.clip(round((x0 + x1 - w) / 2), 0, SIZE - w)), int(np.clip(round((y0 + y1 - h) / 2), 0, SIZE - h))
        )  # fmt: skip

    def place(self, position: bool) -> tuple[Condition, tuple[float, float, float, float]]:
        """The condition and the face's box, as planned or at the box drawn by lot (then without related boxes)."""
        if position:
            return self.condition, self.face
        old, new = self.condition.box, self.elsewhere
        dx, dy = new.x - old.x, new.y - old.y
        x0, y0, x1, y1 = self.face
        return replace(self.condition, box=new, related=()), (x0 + dx, y0 + dy, x1 + dx, y1 + dy)


def render_cases(setting: str, split: str, count: int) -> list[Case]:
    """The first `count` cases of a setting, out of renders of the demo world."""
    start = SPLITS[split] + OFFSETS[setting]
    return [render_case(setting, split, start + n, n) for n in range(count)]


def render_case(setting: str, split: str, seed: int, number: int) -> Case:
    """A portrait photo of a seed, its face cut out, and another scene that the same person is asked into."""
    rng = world.rng_of(seed, 7)
    edit = EDITS[number % len(EDITS)] if setting == "attribute" else None
    fixed: dict[str, Any] = {"style": "photo", "hat": "none"}
    if setting == "attribute":
        fixed["glasses"] = "none"
    if edit == "age":
        fixed["age"] = "adult"
    sample = world.render(seed, SIZE, kind="portrait", degraded=False, **fixed)
    before = sample.portrait
    assert before is not None and sample.face_mask is not None
    style = STYLES[number % len(STYLES)] if setting == "style" else "photo"
    hard = number % HARD_EVERY == HARD_EVERY - 1
    scale = SMALL / CROP if setting == "small" else HARD_SCALE if hard else 1.0
    change = {
        "style": style,
        "background": _other(rng, BACKGROUNDS, before.background),
        "clothes": _other(rng, CLOTHES, before.clothes),
        "clothes_color": _other(rng, CLOTHES_COLORS, before.clothes_color),
        "scale": before.scale * scale,
        "scene": int(rng.integers(2**31)),
    } | _edit(rng, edit, before)
    side = round(CROP * scale)
    box, crop, mask, origin = _cut(sample, side)
    # The planned place: as high as it was, at another x. Whole cells, so that nothing moves when it is snapped.
    x = int(np.clip(CELL * rng.integers(1, 9), 0, SIZE - side))
    box = _off_centre(rng) if setting == "small" else Box(x, box.y, side, side)
    face = _moved(sample.boxes["face"], origin, box, scale)
    after = replace(before, **change, x=(face[0] + face[2]) / 2, y=(face[1] + face[3]) / 2)
    parts = figure.boxes(after)
    related = tuple(_whole(parts[name]) for name in ("body", "hair") if _whole(parts[name]).area)
    asked = visible.values(after)
    wanted = ("background", "clothes", "clothes_color", *(("style",) if setting == "style" else ()))
    judged = "old" if edit == "age" else edit
    truth, _ = world.draw_portrait(after, SIZE)
    return Case(
        id=f"{split}-{setting}-{number:03}",
        setting=setting,
        seed=seed,
        source=_tensor(sample.image),
        source_face=sample.boxes["face"],
        condition=Condition(crop, mask, box, related),
        face=face,
        prompt=portrait_caption(after),
        plain_prompt=plain_prompt(after, edit),
        elsewhere=Box(CELL * int(rng.integers(0, (SIZE - side) // CELL + 1)),
                      CELL * int(rng.integers(0, (SIZE - side) // CELL + 1)), side, side),
        outside={k: asked[k] for k in wanted if k in asked},
        inside={judged: asked[judged]} if judged else {},
        truth=_tensor(truth),
        hard=hard,
    )  # fmt: skip


def _off_centre(rng: np.random.Generator) -> Box:
    """A small box near the left or the right edge, anywhere from the top to below the middle."""
    cells = (SIZE - SMALL) // CELL
    x = int(rng.choice((0, 1, 2, cells - 2, cells - 1, cells)))
    return Box(CELL * x, CELL * int(rng.integers(1, 8)), SMALL, SMALL)


def plain_prompt(p: Portrait, edit: str | None = None) -> str:
    """The text without what an intensified prompt adds: no word on the person but what is to be changed."""
    who = p.gender
    if edit == "mouth":
        who = f"{MOUTH_WORDS[p.mouth]} {who}"
    if edit == "age":
        who = f"{p.age} {who}"
    color = "" if p.style == "pencil" else f"{p.clothes_color} "
    wear = [p.glasses] if edit == "glasses" else []
    wear.append(_article(f"{color}{p.clothes}"))
    return f"{STYLE_WORDS[p.style][0]} {_article(who)} wearing {' and '.join(wear)} {PLACE_WORDS[p.background]}"


def _article(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def _other(rng: np.random.Generator, choices: tuple[str, ...], now: str) -> str:
    return str(rng.choice([c for c in choices if c != now]))


def _edit(rng: np.random.Generator, edit: str | None, p: Portrait) -> dict[str, str]:
    if edit == "mouth":
        return {"mouth": _other(rng, MOUTHS, p.mouth)}
    if edit == "glasses":
        return {"glasses": str(rng.choice(("glasses", "sunglasses")))}
    return {"age": "old"} if edit == "age" else {}


def _cut(sample: world.Sample, side: int) -> tuple[Box, Tensor, Tensor, tuple[int, int]]:
    """A CROP-px square around the face: its box once scaled to `side`, the picture, the mask, where it was."""
    x0, y0, x1, y1 = sample.boxes["face"]
    x = int(np.clip(round((x0 + x1 - CROP) / 2), 0, SIZE - CROP))
    y = int(np.clip(round((y0 + y1 - CROP) / 2), 0, SIZE - CROP))
    assert sample.face_mask is not None
    cut = np.s_[y : y + CROP, x : x + CROP]
    mask = torch.from_numpy((sample.face_mask[cut] > 127).astype(np.float32))
    top = int(np.clip(CELL * round((y + (CROP - side) / 2) / CELL), 0, SIZE - side))
    return Box(x, top, side, side), _tensor(sample.image[cut]), mask, (x, y)


def _moved(
    face: tuple[float, float, float, float], origin: tuple[int, int], box: Box, scale: float
) -> tuple[float, float, float, float]:
    (x0, y0, x1, y1), (ox, oy) = face, origin
    return (
        box.x + (x0 - ox) * scale, box.y + (y0 - oy) * scale, box.x + (x1 - ox) * scale, box.y + (y1 - oy) * scale
    )  # fmt: skip


def _whole(b: tuple[float, float, float, float]) -> Box:
    x0, y0, x1, y1 = (round(v) for v in b)
    return Box(x0, y0, max(x1 - x0, 0), max(y1 - y0, 0))


def _tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 255
