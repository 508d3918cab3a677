"""What a run leaves: summary.json, table.md and a contact sheet per setting."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sow_core import __version__
from sow_core.files import atomic_write
from sow_core.method.box import Box
from sow_core.method.condition import make_layout, to_tensor
from sow_core.pictures.reading import load_picture
from sow_core.settings import png_bytes

from . import metrics, paired, sheets, tables
from .cases import SIZE, Case
from .judging import Panel, kid
from .methods import GUIDANCE, METHODS, PLAIN
from .running import layout_of
from .summary import add_balance, aggregate

if TYPE_CHECKING:
    from .session import Session

SHEET_ROWS, SHEET_COLUMNS = 8, 12
"""Cases and methods in a contact sheet: the first ones."""
TRUTH = "truth"
KID_CASES = 40
"""Fewest pictures on each side: the estimate of less is noise."""


def write(session: Session) -> list[Path]:
    """Write the report into the run's folder; the paths."""
    summary = summarise(session)
    out = session.options.out
    paths = [
        atomic_write(out / "summary.json", json.dumps(summary, indent=1) + "\n"),
        atomic_write(out / "table.md", markdown(summary)),
    ]
    for setting in session.all_cases:
        picture = _sheet(session, setting)
        if picture is not None:
            paths.append(atomic_write(out / f"sheet_{setting}.png", png_bytes(picture)))
    return paths


def summarise(session: Session) -> dict[str, Any]:
    """Everything that the tables and plots are made of; JSON values."""
    o = session.options
    references = {s: _references(session, cases) for s, cases in session.all_cases.items()}
    records = [*_truths(session), *session.rows]
    if session.panel is not None:
        limits = {s: thresholds(session, session.panel, cases) for s, cases in session.all_cases.items()}
        records = [with_verdicts(r, limits[r["setting"]]) for r in records]
        for setting, values in limits.items():
            references[setting] |= {f"threshold_{k}": v for k, v in values.items()}
    table = aggregate(records)
    others = {m.name: m.against for m in o.methods if m.against}
    if session.panel is not None:
        _add_kid(session, session.panel, table)
        add_balance(table, {s: session.panel.strangers(cases) for s, cases in session.all_cases.items()})
    return {
        "version": __version__,
        "model": session.pictures.model_digest,
        "judges": session.panel.digest if session.panel else None,
        "split": o.split,
        "cases": {s: len(c) for s, c in session.all_cases.items()},
        "guidance": session.advice.guidance or GUIDANCE,
        "negative": session.advice.negative or "",
        "skipped": session.skipped,
        "references": references,
        "methods": {TRUTH: {"group": "reference", "about": "the render that the text describes: what the judges say "
                            "of a right answer", "compare": ""}}
        | {m.name: {"group": m.group, "about": m.about, "compare": m.compare} for m in o.methods},
        "table": table,
        "paired": paired.differences(records, others),
    }


def _truths(session: Session) -> list[dict[str, Any]]:
    """The judges' records of the true pictures of the cases, where there are both."""
    if session.panel is None:
        return []
    method = METHODS["sow"]
    return [
        {"setting": setting, "method": TRUTH, "rows": 0}
        | session.panel.judge(case.truth, layout_of(method, case, session.advice), case, method)
        for setting, cases in session.all_cases.items()
        for case in cases
        if case.truth is not None
    ]


def _add_kid(session: Session, panel: Panel, table: dict[str, Any]) -> None:
    """The distance of each method's pictures from true renders of the same texts, where there are any."""
    for setting, cases in session.all_cases.items():
        truths = [c.truth for c in cases if c.truth is not None]
        if setting not in table:
            continue
        if len(truths) < KID_CASES:
            if truths:
                session.skipped.append(f"KID in the setting {setting}: fewer than {KID_CASES} cases are noise")
            continue
        real = panel.features(torch.stack(truths))
        middle, scale = real.mean(0), real.std(0).clamp(min=1e-3)
        for method in session.options.methods:
            paths = [session.pictures.path(method, c) for c in cases if session.pictures.have(method, c)]
            if len(paths) == len(truths):
                made = torch.stack([to_tensor(load_picture(p)[0]) for p in paths])
                distance = kid((panel.features(made) - middle) / scale, (real - middle) / scale, paired=True)
                table[setting][method.name]["kid"] = {"mean": distance, "n": len(paths)}


def _references(session: Session, cases: list[Case]) -> dict[str, float]:
    """What the numbers can be at best: region_rms of the autoencoder alone, the seam that the face's own outline
    has in the picture it came from, and the seam of the hard paste on gray."""
    floor, own, pasted = [], [], []
    for case in cases:
        layout = make_layout([case.condition], SIZE, SIZE)
        floor.append(metrics.autoencoder(session.backend, layout))
        pasted.append(metrics.region(layout.canvas, layout)["seam_contrast"])
        own.append(_own_seam(case))
    return {k: sum(v) / len(v) for k, v in (("autoencoder_rms", floor), ("own_seam", own), ("pasted_seam", pasted))}


def _own_seam(case: Case) -> float:
    """Seam contrast of the given face where it was, at the size it had."""
    c = case.condition
    (x, y), side = case.source_corner, c.image.shape[-1]
    window = make_layout([replace(c, box=Box(0, 0, side, side), related=())], side, side)
    return metrics.region(case.source[:, y : y + side, x : x + side], window)["seam_contrast"]


def thresholds(session: Session, panel: Panel, cases: list[Case]) -> dict[str, float]:
    """What counts as broken in a setting: more so than nearly all of the model's own plain samples."""
    if panel.failure is None:
        return {}
    plain = METHODS[PLAIN]
    paths = [session.pictures.path(plain, c) for c in cases if session.pictures.have(plain, c)]
    images = torch.stack([to_tensor(load_picture(p)[0]) for p in paths]) if paths else torch.zeros(0, 3, SIZE, SIZE)
    faces = panel.judges.faces(images) if paths else None
    if faces is None:
        return panel.failure.thresholds(images, [])
    boxes = [(x0, y0, x1, y1) for x0, y0, x1, y1 in faces.boxes[faces.found].tolist()]
    return panel.failure.thresholds(images[faces.found], boxes)


def with_verdicts(record: dict[str, Any], limits: dict[str, float]) -> dict[str, Any]:
    """The record with its log odds turned into verdicts, and `failed`: any of them, or a second face."""
    if "odds" not in record or not limits:
        return record
    verdicts = {k: record["odds"][k] > limit for k, limit in limits.items()}
    return record | verdicts | {"failed": any(verdicts.values()) or record["second_face"]}


def markdown(summary: dict[str, Any]) -> str:
    """All settings' tables with a line on what they rest on."""
    parts = []
    for setting, methods in summary["table"].items():
        best = summary["references"][setting]
        parts += [
            f"### {setting} ({summary['cases'][setting]} cases, split {summary['split']})",
            "",
            f"Autoencoder alone: region distance {best['autoencoder_rms']:.3f}. Seam of the face in its own picture: "
            f"{best['own_seam']:.2f}; pasted on gray: {best['pasted_seam']:.2f}.",
            "",
            tables.comparison(methods, list(summary["methods"])),
            "",
        ]
    parts += [f"Not measured: {line}." for line in summary["skipped"]]
    return "\n".join(parts) + "\n"


def _sheet(session: Session, setting: str) -> Any:
    cases = session.all_cases[setting][:SHEET_ROWS]
    columns: dict[str, list[Path | None]] = {}
    for method in session.options.methods[:SHEET_COLUMNS]:
        paths = [session.pictures.path(method, c) if session.pictures.have(method, c) else None for c in cases]
        if any(paths):
            columns[method.name] = paths
    if not columns:
        return None
    layouts = [make_layout([c.condition], SIZE, SIZE) for c in cases]
    return sheets.method_sheet(cases, layouts, columns)
