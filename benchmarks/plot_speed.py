"""The figure beside speed.json."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from sow_core.files import atomic_write

GOOD, OTHER = "#2a6f97", "#b8b8b8"


def plot(results: dict[str, Any], file: Path) -> None:
    """Draw what `results` holds of attention, whole runs and batches; nothing if none of them is there."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = [(part, draw) for part, draw in (("attention", _attention), ("runs", _runs), ("batches", _batches))
              if part in results]
    if not panels:
        return
    figure, axes = pyplot.subplots(1, len(panels), figsize=(5.2 * len(panels), 3.6), squeeze=False)
    for (part, draw), axis in zip(panels, axes[0], strict=True):
        draw(axis, results[part])
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    data = BytesIO()
    figure.savefig(data, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    atomic_write(file, data.getvalue())


def _attention(axis: Any, entries: list[dict[str, Any]]) -> None:
    largest = max((e for e in entries if e["dtype"] == "float32"), key=lambda e: e["tokens"])
    names = list(largest["variants"])
    values = [largest["variants"][n]["ratio"] for n in names]
    _bars(axis, names, values, [GOOD if "ours" in n else OTHER for n in names], "{:.2f}x")
    axis.set_title(f"self-attention, {largest['tokens']} tokens: time over plain", fontsize=9)


def _runs(axis: Any, entry: dict[str, Any]) -> None:
    names = list(entry["ways"])
    values = [1 / entry["ways"][n]["ratio"] for n in names]
    _bars(axis, names, values, [GOOD if n.startswith("ours") else OTHER for n in names], "{:.1f}x")
    axis.set_title(f"one picture at {entry['side']} px: speed over\n{entry['reference']}", fontsize=9)


def _batches(axis: Any, entries: list[dict[str, Any]]) -> None:
    axis.plot([e["count"] for e in entries], [e["ratio"] for e in entries], "o-", color=GOOD)
    axis.set_ylim(0, 1.1)
    axis.set_xlabel("pictures in one run", fontsize=8)
    axis.set_title("cost per picture over a single one", fontsize=9)


def _bars(axis: Any, names: list[str], values: list[float], colours: list[str], label: str) -> None:
    places = list(range(len(names)))[::-1]
    axis.barh(places, values, color=colours)
    axis.set_yticks(places, names, fontsize=7)
    for place, value in zip(places, values, strict=True):
        axis.text(value, place, " " + label.format(value), va="center", fontsize=7)
    axis.set_xticks([])
    axis.set_xlim(0, 1.15 * max(values))  # room for the labels
