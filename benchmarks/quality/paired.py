"""Two methods on the same cases: mean differences with their standard errors.

A case's difficulty moves both methods alike and falls out of the difference, which therefore tells of effects that
the tables' own errors hide. Log odds, because they still move where no verdict tips over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .metrics import spread

MEASURES = (
    ("seam", "seam log odds", 2, "-"),
    ("no_body", "no-body log odds", 2, "-"),
    ("failed", "failures", 3, "-"),
    ("identity_distance", "identity distance", 3, "-"),
    ("region_rms", "region distance", 3, "-"),
    ("text_right", "text outside", 3, "+"),
    ("edit_right", "edit inside", 3, "+"),
    ("rows", "rows", 0, ""),
)
"""Key, heading, decimals, and whether more (+) or less (-) is better."""
FEWEST = 12
"""Cases below which no difference is set bold: the error itself is hardly known."""
ODDS = {"seam": "seam_visible", "no_body": "no_body"}
"""Measures that are log odds of a verdict, not the verdict."""


def differences(
    records: Iterable[Mapping[str, Any]], against: Mapping[str, str]
) -> dict[str, dict[str, dict[str, Any]]]:
    """setting -> method -> {"against", measure: {"mean", "se", "n"}} of method minus partner; `against`: the partners.

    Only cases that both have count; a method or a measure without two of them is left out.
    """
    values: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for record in records:
        if "case" in record:
            values.setdefault((record["setting"], record["method"]), {})[record["case"]] = record
    made: dict[str, dict[str, dict[str, Any]]] = {}
    for (setting, method), mine in values.items():
        other = against.get(method)
        theirs = values.get((setting, other), {}) if other and other != method else {}
        shared = [(mine[c], theirs[c]) for c in mine if c in theirs]
        found: dict[str, Any] = {}
        for name, *_ in MEASURES:
            pairs = [(_value(a, name), _value(b, name)) for a, b in shared]
            steps = [a - b for a, b in pairs if a is not None and b is not None]
            if len(steps) > 1:
                found[name] = spread(steps)
        if found:
            made.setdefault(setting, {})[method] = {"against": other} | found
    return made


def _value(record: Mapping[str, Any], name: str) -> float | None:
    value = record.get("odds", {}).get(ODDS[name]) if name in ODDS else record.get(name)
    return None if value is None else float(value)


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """One setting's differences as Markdown; what exceeds two standard errors over FEWEST cases or more is set bold."""
    columns = [m for m in MEASURES if any(m[0] in row for row in rows.values())]
    arrow = {"+": " ↑", "-": " ↓", "": ""}
    heads = " | ".join(head + arrow[better] for _, head, _, better in columns)
    lines = [f"| method | minus | cases | {heads} |", "|---" * (len(columns) + 3) + "|"]
    for name, row in rows.items():
        cells = [_cell(row.get(key), digits) for key, _, digits, _ in columns]
        count = max(v["n"] for v in row.values() if isinstance(v, Mapping))
        lines.append(f"| {name} | {row['against']} | {count} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: Mapping[str, Any] | None, digits: int) -> str:
    if value is None:
        return ""
    if digits == 0 or value["mean"] == 0 == value["se"]:
        return f"{value['mean']:+.{digits}f}"
    text = f"{value['mean']:+.{digits}f} ± {value['se']:.{digits}f}"
    return f"**{text}**" if value["n"] >= FEWEST and abs(value["mean"]) > 2 * value["se"] else text
