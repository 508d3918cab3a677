"""Summaries as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

COLUMNS = (
    ("rows", "rows", 0, ""),
    ("gate", "mean gate", 2, ""),
    ("region_rms", "region distance", 3, "-"),
    ("seam_contrast", "seam", 2, ""),
    ("gray_halo", "gray around", 3, "-"),
    ("model_place_right", "place (model)", 2, "+"),
    ("model_style_right", "style (model)", 2, "+"),
    ("identity_distance", "identity distance", 3, "-"),
    ("face_found", "face found", 2, "+"),
    ("text_right", "text outside", 2, "+"),
    ("edit_right", "edit inside", 2, "+"),
    ("no_body", "no body", 2, "-"),
    ("seam_visible", "seam seen", 2, "-"),
    ("second_face", "second face", 2, "-"),
    ("failed", "failure rate", 2, "-"),
    ("kid", "KID", 3, "-"),
    ("balance", "balance", 3, "+"),
    ("usable", "usable", 3, "+"),
)
"""Key, heading, decimals, and whether more (+) or less (-) is better."""


def comparison(methods: dict[str, dict[str, Any]], order: Sequence[str] = (), errors: bool = True) -> str:
    """One setting's table: a row per method, a column per measure that any of them has; +- is one standard error."""
    names = [n for n in (*order, *(m for m in methods if m not in order)) if n in methods]
    columns = [c for c in COLUMNS if any(c[0] in methods[n] for n in names)]
    arrow = {"+": " ↑", "-": " ↓", "": ""}
    lines = [
        "| method | " + " | ".join(head + arrow[better] for _, head, _, better in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    counts = {name: methods[name].get("rows", {}).get("n") for name in names}
    usual = max((n for n in counts.values() if n), default=None)
    for name in names:
        cells = [_cell(methods[name].get(key), digits, errors) for key, _, digits, _ in columns]
        fewer = f" ({counts[name]} cases)" if counts[name] != usual and counts[name] else ""
        lines.append(f"| {name}{fewer} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: dict[str, Any] | None, digits: int, errors: bool) -> str:
    if value is None:
        return ""
    text = f"{value['mean']:.{digits}f}"
    error = value.get("se")
    if errors and digits and error is not None and error == error and error > 0:
        text += f" ± {error:.{digits}f}"
    return text
