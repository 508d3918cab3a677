"""How right the judges are: against the ground truth of renders that nothing was trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import judge_data, visible, world
from .cubes import Thing
from .judges import FoundThing, Judges

MATCH = 10.0
"""px (of 128) within which a found object counts as the true one."""


def as_float(images: np.ndarray) -> Tensor:
    """uint8 [N,H,W,3] to float [N,3,H,W] in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def in_batches(call: Any, images: np.ndarray, size: int = 64) -> list[Any]:
    return [call(as_float(images[i : i + size])) for i in range(0, len(images), size)]


def score(judges: Judges, count: int = 2000, persons: int = 400, split: str = "held_out") -> dict[str, Any]:
    """All scores; `count` pictures (and as many again without a face), `persons` people in four views each."""
    return {
        "attributes": attributes(judges, count, split),
        "faces": faces(judges, count, split),
        "objects": objects(judges, count // 2, split),
        "identity": identity(judges, persons, split),
    }


def attributes(judges: Judges, count: int, split: str) -> dict[str, dict[str, float]]:
    """Accuracy per attribute, over all styles and over photos alone, faces found by the judges themselves."""
    samples = [world.render(s, kind="portrait", degraded=False) for s in world.SPLITS[split][:count]]
    images = np.stack([s.image for s in samples])
    labels = [row for part in in_batches(judges.labels, images) for row in part]
    right: dict[str, list[bool]] = {}
    photo: dict[str, list[bool]] = {}
    for s, told in zip(samples, labels, strict=True):
        assert s.portrait is not None
        for k, v in visible.values(s.portrait).items():
            right.setdefault(k, []).append(told[k] == v)
            if s.portrait.style == "photo":
                photo.setdefault(k, []).append(told[k] == v)
    return {k: {"all": float(np.mean(v)), "photo": float(np.mean(photo.get(k, [0])))} for k, v in right.items()}


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes [N,4], pair by pair."""
    size = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    return size / ((a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - size)


def faces(judges: Judges, count: int, split: str) -> dict[str, float]:
    """Share of faces found, of face-less pictures taken for faces, and the mean IoU of the boxes."""
    pics = [judge_data.labelled(s) for s in world.SPLITS[split][:count]]
    found = in_batches(judges.faces, np.stack([p.image for p in pics]))
    boxes, scores = torch.cat([f.boxes for f in found]), torch.cat([f.scores for f in found])
    there = torch.tensor([p.face is not None for p in pics])
    truth = torch.tensor([p.face or (0, 0, 1, 1) for p in pics])
    hit = scores >= 0.5
    return {
        "recall": float(hit[there].float().mean()),
        "false_alarms": float(hit[~there].float().mean()),
        "iou": float(iou(boxes[there], truth[there].float()).mean()),
    }


def match(found: list[FoundThing], truth: tuple[Thing, ...], distance: float = MATCH) -> tuple[int, list[float]]:
    """(objects of the right shape and colour in the right place, their distances). Greedy, surest first."""
    left, distances = list(truth), []
    for f in found:
        def gap(t: Thing, f: FoundThing = f) -> float:
            cx, cy = (t.box[0] + t.box[2]) / 2, (t.box[1] + t.box[3]) / 2
            return ((f.center[0] - cx) ** 2 + (f.center[1] - cy) ** 2) ** 0.5

        same = [t for t in left if t.shape == f.shape and t.color == f.color and gap(t) <= distance]
        if same:
            best = min(same, key=gap)
            distances.append(gap(best))
            left.remove(best)
    return len(distances), distances


def objects(judges: Judges, count: int, split: str) -> dict[str, float]:
    """Precision, recall and mean distance (px) on cube scenes; shape, colour and place must be right."""
    samples = [world.render(s, kind="cubes", degraded=False) for s in world.SPLITS[split][:count]]
    found = [f for part in in_batches(judges.objects, np.stack([s.image for s in samples])) for f in part]
    hits, distances = 0, []
    for s, f in zip(samples, found, strict=True):
        n, d = match(f, s.things)
        hits += n
        distances += d
    given, told = sum(len(s.things) for s in samples), sum(len(f) for f in found)
    return {
        "precision": hits / max(told, 1),
        "recall": hits / max(given, 1),
        "distance_px": float(np.mean(distances)) if distances else float("nan"),
    }


def equal_error_rate(same: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """(EER, threshold): where as many pairs of the same person fall below as pairs of others above."""
    cuts = np.sort(np.concatenate([same, other]))
    miss = np.searchsorted(np.sort(same), cuts, "left") / len(same)
    false = 1 - np.searchsorted(np.sort(other), cuts, "left") / len(other)
    i = int(np.argmin(np.abs(miss - false)))
    return float((miss[i] + false[i]) / 2), float(cuts[i])


def identity(judges: Judges, persons: int, split: str, views: int = 4) -> dict[str, float]:
    """Equal error rate of "same person?" by the cosine, over pairs of different scenes; photo: both photos or
    flat cartoons (the styles that keep colours and lines)."""
    images, boxes = judge_data.people(split, persons, views)
    n = persons * views
    flat_images, flat_boxes = images.reshape(n, *images.shape[2:]), boxes.reshape(n, 4)
    z = torch.cat(
        [judges.identity(as_float(flat_images[i : i + 64]), flat_boxes[i : i + 64]) for i in range(0, n, 64)]
    ).numpy()
    sim = z @ z.T
    who = np.arange(n) // views
    upper = np.triu(np.ones((n, n), bool), 1)
    same = (who[:, None] == who[None]) & upper
    style = np.array(_styles(split, persons, views))
    clear = np.isin(style, ("photo", "flat"))
    both = clear[:, None] & clear[None]
    eer, cut = equal_error_rate(sim[same], sim[upper & ~same])
    eer_clear, cut_clear = equal_error_rate(sim[same & both], sim[upper & ~same & both])
    return {
        "eer": eer,
        "threshold": cut,
        "eer_photo": eer_clear,
        "threshold_photo": cut_clear,
        "mean_same": float(sim[same].mean()),
        "mean_other": float(sim[upper & ~same].mean()),
    }


def _styles(split: str, persons: int, views: int) -> list[str]:
    return [s for seed in world.SPLITS[split][:persons] for s in judge_data.person_styles(seed, views)]


def table(scores: dict[str, Any]) -> str:
    """The scores as lines of text."""
    rows = [f"{k:14} all {v['all']:.3f}  photo {v['photo']:.3f}" for k, v in scores["attributes"].items()]
    for part in ("faces", "objects", "identity"):
        rows.append(part + "  " + "  ".join(f"{k} {v:.3f}" for k, v in scores[part].items()))
    return "\n".join(rows)
