"""Records to numbers per setting and method, and the balance by which methods are ranked.

The balance was fixed before anything was measured. For one method in one setting:

    identity = clip(1 - d / d_other, 0, 1)     d: mean identity distance of the kept face to the given one,
                                               d_other: mean distance between the given faces of different people
    text     = mean of the shares of asked attributes that the judges see, outside and (attribute setting) inside
    balance  = harmonic mean of identity and text
    usable   = balance x (1 - failure rate)

The harmonic mean, because neither a kept face in a wrong scene nor a right scene with a stranger is of use.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from .metrics import spread

NUMBERS = ("region_rms", "region_psnr", "seam_contrast", "gray_halo", "identity_distance", "text_right", "edit_right",
           "calls", "rows", "cycles", "cpu_seconds", "indicator_first", "indicator_last", "gate")  # fmt: skip
SHARES = ("model_place_right", "model_style_right", "face_found", "failed", "no_body", "seam_visible",
          "second_face")  # fmt: skip


def aggregate(records: Iterable[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """setting -> method -> measure -> {"mean", "se", "n"}; measures that no record has are left out."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        groups[record["setting"], record["method"]].append(record)
    made: dict[str, dict[str, dict[str, Any]]] = {}
    for (setting, method), rows in groups.items():
        values = made.setdefault(setting, {}).setdefault(method, {})
        for name in (*NUMBERS, *SHARES):
            seen = [float(r[name]) for r in rows if r.get(name) is not None]
            if seen:
                values[name] = spread(seen)
        for part in ("text", "edit"):
            shares = _parts(rows, part)
            if shares:
                values[part] = shares
    return made


def _parts(rows: list[dict[str, Any]], part: str) -> dict[str, float]:
    """Accuracy attribute by attribute."""
    seen: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        for name, right in row.get(part, {}).items():
            seen[name].append(right)
    return {name: sum(v) / len(v) for name, v in sorted(seen.items())}


def identity_score(distance: float, other: float) -> float:
    """1: the same face; 0: as far as a stranger's, or further. Raises ValueError if strangers have no distance."""
    if other <= 0:
        raise ValueError("the mean distance between different people must be above 0")
    return min(max(1.0 - distance / other, 0.0), 1.0)


def balance(identity: float, text: float) -> float:
    """Harmonic mean of two shares 0..1."""
    return 0.0 if identity + text <= 0 else 2 * identity * text / (identity + text)


def add_balance(table: dict[str, dict[str, dict[str, Any]]], other: dict[str, float]) -> None:
    """Put identity_score, text_score, balance and usable into the values of every method that has what they need.

    other: d_other by setting.
    """
    for setting, methods in table.items():
        for values in methods.values():
            if "identity_distance" not in values or "text_right" not in values:
                continue
            identity = identity_score(values["identity_distance"]["mean"], other[setting])
            texts = [values[k]["mean"] for k in ("text_right", "edit_right") if k in values]
            text = sum(texts) / len(texts)
            values["identity_score"], values["text_score"] = {"mean": identity}, {"mean": text}
            values["balance"] = {"mean": balance(identity, text)}
            if "failed" in values:
                values["usable"] = {"mean": values["balance"]["mean"] * (1.0 - values["failed"]["mean"])}
