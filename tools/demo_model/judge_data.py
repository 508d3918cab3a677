"""Pictures and labels for the judges, of their own seeds, with counterexamples and people seen several times."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing import Pool

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import judge_nets as nets
from . import visible, world
from .attributes import CHOICES, IDENTITY, Portrait, sample_portrait, sample_scene
from .cubes import COLORS, SHAPES, Thing
from .progress import bar
from .world import Box

EMPTY_SHARE, BLANK_SHARE = 0.06, 0.06
"""Places without anybody, and people without a face."""
HEADS = {**nets.SCENE_HEADS, **nets.FACE_HEADS}


@dataclass(frozen=True)
class Labelled:
    image: np.ndarray
    labels: tuple[int, ...]
    """Per attribute of HEADS the value's number, -1 where it can't be told."""
    face: Box | None
    things: tuple[Thing, ...]


def labelled(seed: int) -> Labelled:
    """One clean picture with what can be told from it; some show a place only, or a person without a face."""
    lot = world.rng_of(seed, 3).random()
    if lot < EMPTY_SHARE + BLANK_SHARE:
        p = sample_portrait(world.rng_of(seed, 0), glasses="none", beard="no")
        person = lot >= EMPTY_SHARE
        image, _ = world.draw_portrait(p, person=person, blank=True)
        seen = visible.values(p)
        keep = nets.SCENE_HEADS if person else {"style", "background"}
        return Labelled(image, _numbers({k: v for k, v in seen.items() if k in keep}), None, ())
    s = world.render(seed, degraded=False)
    if s.portrait is None:
        return Labelled(s.image, (-1,) * len(HEADS), None, s.things)
    return Labelled(s.image, _numbers(visible.values(s.portrait)), s.boxes["face"], ())


def _numbers(values: dict[str, str]) -> tuple[int, ...]:
    table = {**CHOICES, "old": ("no", "yes")}
    return tuple(table[k].index(values[k]) if k in values else -1 for k in HEADS)


def person(seed: int, views: int) -> list[tuple[np.ndarray, Box]]:
    """The same person in `views` scenes, drawn: picture and face box of each."""
    return [(world.draw_portrait(p)[0], world.figure.boxes(p)["face"]) for p in person_views(seed, views)]


def person_styles(seed: int, views: int) -> list[str]:
    return [p.style for p in person_views(seed, views)]


def person_views(seed: int, views: int) -> list[Portrait]:
    """The same person in `views` scenes: style, expression, glasses, hat, place, position, haircut differ."""
    rng = world.rng_of(seed, 4)
    who = {k: v for k, v in sample_portrait(rng).as_dict().items() if k in IDENTITY}
    out = []
    for _ in range(views):
        look = dict(who)
        if rng.random() < 0.3:
            look["hair_style"] = sample_portrait(rng, gender=who["gender"]).hair_style
        out.append(sample_portrait(rng, **{**look, **sample_scene(rng)}))
    return out


def _labelled_chunk(seeds: range) -> list[Labelled]:
    return [labelled(s) for s in seeds]


def _people_chunk(job: tuple[range, int]) -> list[list[tuple[np.ndarray, Box]]]:
    return [person(s, job[1]) for s in job[0]]


def _parts(split: range, count: int, size: int = 100) -> list[range]:
    return [split[i : min(i + size, count)] for i in range(0, count, size)]


@dataclass
class Pictures:
    images: np.ndarray
    labels: Tensor
    faces: list[Box | None]
    things: list[tuple[Thing, ...]]


def pictures(split: str, count: int, workers: int = 1) -> Pictures:
    """The first `count` pictures of a split."""
    jobs = _parts(world.SPLITS[split], count)
    with Pool(workers) as pool:
        rows = [r for part in bar(pool.imap(_labelled_chunk, jobs), len(jobs), "pictures") for r in part]
    return Pictures(
        np.stack([r.image for r in rows]),
        torch.tensor([r.labels for r in rows]),
        [r.face for r in rows],
        [r.things for r in rows],
    )


def people(split: str, count: int, views: int, workers: int = 1) -> tuple[np.ndarray, Tensor]:
    """Pictures [count,views,128,128,3] of `count` people and their face boxes [count,views,4]."""
    jobs = [(r, views) for r in _parts(world.SPLITS[split], count)]
    with Pool(workers) as pool:
        rows = [r for part in bar(pool.imap(_people_chunk, jobs), len(jobs), "people") for r in part]
    images = np.stack([np.stack([v[0] for v in views_]) for views_ in rows])
    return images, torch.tensor([[v[1] for v in views_] for views_ in rows])


def grid_targets(pics: Pictures, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Targets of the two detectors for some pictures.

    Faces [B,6,16,16]: heat (1 at the centre, -1 around it: don't care), four distances, weight of the distances.
    Things [B,8,16,16]: the same and the numbers of shape and colour.
    """
    faces, things = torch.zeros(len(rows), 6, 16, 16), torch.zeros(len(rows), 8, 16, 16)
    for i, r in enumerate(rows):
        face = pics.faces[r]
        if face:
            _mark(faces[i], face, ())
        for t in pics.things[r]:
            _mark(things[i], t.box, (SHAPES.index(t.shape), COLORS.index(t.color)))
    return faces, things


def _mark(target: Tensor, box: Box, classes: tuple[int, ...]) -> None:
    cx, cy = (box[0] + box[2]) / 2 / nets.CELL, (box[1] + box[3]) / 2 / nets.CELL
    c, r = min(int(cx), 15), min(int(cy), 15)
    for y in range(max(r - 1, 0), min(r + 2, 16)):
        for x in range(max(c - 1, 0), min(c + 2, 16)):
            center = (y, x) == (r, c)
            if target[0, y, x] == 1 and not center:
                continue
            target[0, y, x] = 1 if center else -1
            px, py = (x + 0.5) * nets.CELL, (y + 0.5) * nets.CELL
            target[1:5, y, x] = torch.tensor([px - box[0], py - box[1], box[2] - px, box[3] - py]) / nets.CELL
            target[5, y, x] = 1
            for k, v in enumerate(classes):
                target[6 + k, y, x] = v


def augment(x: Tensor, rng: np.random.Generator) -> Tensor:
    """What a generator does to a picture: softer, noisier, colours a little off. [B,3,H,W] in -1..1."""
    b, _, h, w = x.shape
    if rng.random() < 0.5:
        k = float(rng.uniform(1.2, 2.4))
        small = F.interpolate(x, (int(h / k), int(w / k)), mode="bilinear", antialias=True)
        x = F.interpolate(small, (h, w), mode="bilinear")
    gain = torch.from_numpy(rng.uniform(0.93, 1.07, (b, 3, 1, 1)).astype(np.float32))
    shift = torch.from_numpy(rng.uniform(-0.05, 0.05, (b, 3, 1, 1)).astype(np.float32))
    noise = torch.from_numpy(rng.standard_normal(x.shape, np.float32)) * float(rng.uniform(0, 0.07))
    return x * gain + shift + noise


def jitter(boxes: Tensor, rng: np.random.Generator, amount: float = 0.06) -> Tensor:
    """Boxes [B,4] moved and scaled a little, as a detector's are."""
    side = (boxes[:, 2:] - boxes[:, :2]).mean(1, keepdim=True)
    move = torch.from_numpy(rng.normal(0, amount, (len(boxes), 4)).astype(np.float32))
    return boxes + move * side
