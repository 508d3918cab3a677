"""Measures to tables in the layout of the paper's, ours beside what it prints."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from .variants import TABLES, Row, Table

SEAM = 3.0
"""Colour step across the mask's border over the steps near it, from which a picture counts as failed."""
PROXY = f"failure (proxy): no face, more than one, or a seam contrast over {SEAM:g}"
HEADS = {"id": "ID distance ↓", "faces": "face found ↑", "text": "text match ↑", "failed": "failure (proxy) ↓",
         "psnr": "kept region, dB ↑", "seconds": "s / picture ↓"}  # fmt: skip
FORMS = {"id": "{:.4f}", "faces": "{:.2f}", "text": "{:.4f}", "failed": "{:.1%}", "psnr": "{:.1f}", "seconds": "{:.2f}"}
Measures = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
"""By setting and variant, what was measured of each picture."""


def judged(told: Mapping[str, Any], fidelity: Mapping[str, float]) -> dict[str, Any]:
    """A picture's measures from what was seen in it and what its result says."""
    made = {k: told[k] for k in ("id", "text") if k in told}
    made["psnr"] = fidelity["region_psnr_db"]
    if "faces" in told:
        made["faces"] = float(told["faces"] > 0)
        made["failed"] = float(told["faces"] != 1 or fidelity["seam_contrast"] > SEAM)
    return made


def markdown(names: Sequence[str], measures: Measures, notes: Sequence[str]) -> str:
    """The tables, then what they were made with and what is missing."""
    parts = [_table(name, TABLES[name], measures) for name in names]
    return "\n\n".join([*parts, "\n".join(f"- {note}" for note in notes)]) + "\n"


def _table(name: str, table: Table, measures: Measures) -> str:
    columns = [(s, c) for s in table.settings for c in table.columns]
    several = len(table.settings) > 1
    heads = [f"{s}: {HEADS[c]}" if several else HEADS[c] for s, c in columns]
    printed = sorted({c for row in table.rows for c in row.printed}, key=list(HEADS).index)
    beside = [f"paper: {HEADS[c]}" for c in printed] or ["paper"]
    lines = [f"### Table {name}: {table.title}", "",
             "| | " + " | ".join([*heads, *beside, "pictures"]) + " |",
             "|---" * (len(heads) + len(beside) + 2) + "|"]  # fmt: skip
    for row in table.rows:
        cells = [_ours(measures.get((s, row.variant.name), ()), c) for s, c in columns]
        cells += [row.printed.get(c, NOT_AT_HAND) for c in printed] or [NOT_AT_HAND]
        lines.append(f"| {row.label} | " + " | ".join([*cells, _count(row, table, measures)]) + " |")
    return "\n".join(lines)


NOT_AT_HAND = "not at hand"


def _ours(pictures: Sequence[Mapping[str, Any]], column: str) -> str:
    values = [p[column] for p in pictures if column in p]
    return FORMS[column].format(statistics.fmean(values)) if values else "-"


def _count(row: Row, table: Table, measures: Measures) -> str:
    return str(sum(len(measures.get((s, row.variant.name), ())) for s in table.settings))
