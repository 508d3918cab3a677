"""Means with their spread, a plot over turns and a sheet, from the records alone."""

from __future__ import annotations

import io
import json
import math
from itertools import cycle
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from sow_core import __version__
from sow_core.files import atomic_write

from .methods import METHODS
from .running import Bench

RESULTS = Path(__file__).resolve().parent / "results"
MEASURES = ("precision", "recall", "f1", "rsim", "exact", "obeyed", "drift", "best_possible", "rounds", "seconds")
PORTRAIT = ("right", "kept", "identity", "change", "drift")
PALETTE = (
    "#7b241c", "#c0392b", "#b9770e", "#e67e22", "#f1c40f", "#8e44ad", "#7a8794", "#2c82c9", "#27ae60",
    "#16a085", "#34495e", "#d98880", "#7dcea0",
)  # fmt: skip
"""One for each method."""
SHEET_SCENES = 4


def write(bench: Bench, rows: list[dict[str, Any]], keep: bool) -> list[Path]:
    """turns.json, turns.svg and the sheets; with `keep` also in benchmarks/turns/results."""
    summary = summarize(bench, rows)
    files: dict[str, bytes | str] = {"turns.json": json.dumps(summary, indent=1) + "\n"}
    if summary["scenes"]:
        files["turns.svg"] = plot(summary)
        files["sheet.webp"] = _webp(sheet(bench, rows, "scene"))
    if summary["portraits"]:
        files["portraits.webp"] = _webp(sheet(bench, rows, "portrait"))
    paths = [atomic_write(bench.out / name, content) for name, content in files.items()]
    if keep:
        RESULTS.mkdir(parents=True, exist_ok=True)
        paths += [atomic_write(RESULTS / published(name, bench.model), c) for name, c in files.items()]
    return paths


def published(name: str, model: str) -> str:
    """A result's file; another model than the first has its own: turns.json, turns_flow.json."""
    return name if model == "demo" else name.replace(".", f"_{model.removeprefix('demo_')}.")


def _webp(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=88)
    return buffer.getvalue()


def summarize(bench: Bench, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over scenes with their standard errors, turn by turn and method by method."""
    scenes: dict[str, Any] = {}
    faces: dict[str, Any] = {}
    for name in dict.fromkeys(r["method"] for r in rows):
        mine = [r for r in rows if r["method"] == name]
        if mine[0]["kind"] == "scene":
            turns = [[r["turns"][k] for r in mine] for k in range(bench.turns)]
            scenes[name] = {
                "count": len(mine),
                "failed": [sum("failed" in t for t in column) for column in turns],
            }
            scenes[name] |= {
                m: [mean([t.get(m) for t in c]) for c in turns] for m in MEASURES if _has(turns, m)
            }
        else:
            edits = list(zip(*(r["turns"] for r in mine), strict=True))
            faces[name] = {"count": len(mine)}
            faces[name] |= {
                e[0]["instruction"]: {m: mean([t.get(m) for t in e]) for m in PORTRAIT}
                | {"failed": sum("failed" in t for t in e)}
                for e in edits
            }
    count = max((v["count"] for v in scenes.values()), default=0)
    return {
        "version": __version__,
        "model": bench.model,
        "split": bench.split,
        "settings": list(bench.settings),
        "turns": bench.turns,
        "methods": {n: METHODS[n].about for n in scenes},
        "true_renders": bench.ceiling(count) if count else {},
        "scenes": scenes,
        "portraits": faces,
    }


def _has(turns: list[list[dict[str, Any]]], measure: str) -> bool:
    return any(t.get(measure) is not None for column in turns for t in column)


def mean(values: list[float | None]) -> dict[str, float] | None:
    """Mean and standard error of those that were measured."""
    known = [v for v in values if v is not None]
    if not known:
        return None
    middle = sum(known) / len(known)
    spread = math.sqrt(sum((v - middle) ** 2 for v in known) / max(len(known) - 1, 1) / len(known))
    return {"mean": round(middle, 4), "error": round(spread, 4)}


def plot(summary: dict[str, Any]) -> str:
    """An SVG: F1 and RSIM over turns, a line a method."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "sow"
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
    for axis, measure in zip(axes, ("f1", "rsim"), strict=True):
        for (name, values), color in zip(summary["scenes"].items(), cycle(PALETTE), strict=False):
            points = values[measure]
            xs = range(1, len(points) + 1)
            axis.errorbar(
                xs,
                [p["mean"] for p in points],
                [p["error"] for p in points],
                label=name,
                color=color,
                marker="o",
                markersize=3,
                linewidth=1.4,
                capsize=2,
            )
        axis.plot(
            range(1, summary["turns"] + 1), summary["true_renders"][measure], "k:", label="true renders"
        )
        axis.set(xlabel="turns", title=measure.upper(), xticks=range(1, summary["turns"] + 1))
        axis.grid(alpha=0.25)
    axes[1].legend(fontsize=7, bbox_to_anchor=(1.02, 1), loc="upper left")
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def sheet(bench: Bench, rows: list[dict[str, Any]], kind: str) -> Image.Image:
    """The first cases, a strip a method."""
    mine = [r for r in rows if r["kind"] == kind]
    seeds = list(dict.fromkeys(r["seed"] for r in mine))[:SHEET_SCENES]
    strips = [
        (f"{r['method']}, {r['seed']}", bench.strip(f"{kind}_{r['seed']}_{r['method']}"))
        for r in mine
        if r["seed"] in seeds
    ]
    shown = [(label, strip) for label, strip in strips if strip is not None]
    half = len(shown) // 2 + len(shown) % 2
    width, height = max(s.width for _, s in shown), shown[0][1].height + 14
    page = Image.new("RGB", (2 * width + 8, half * height), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default()
    for n, (label, strip) in enumerate(shown):
        x, y = (n // half) * (width + 8), n % half * height
        draw.text((x, y), label, fill="black", font=font)
        page.paste(strip.convert("RGB"), (x, y + 13))
    return page
