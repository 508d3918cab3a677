"""Quality against cost, and numbers against cycles, as SVG."""

from __future__ import annotations

import io
from typing import Any

from sow_core.method.presets import preset

COLORS = {"peer": "#7a8794", "preset": "#c0392b"}
LABELS = {
    "balance": "balance of identity and text (higher is better)",
    "usable": "balance x share of sound pictures",
    "region_rms": "region distance (lower is better)",
    "identity_distance": "identity distance",
    "text_right": "text accuracy outside",
    "failed": "failure rate",
    "seam_contrast": "seam contrast",
}


def cost_quality(summary: dict[str, Any], measure: str) -> str | None:
    """An SVG: a panel per setting, rows through the network against a measure, every method by name; None without
    the measure."""
    settings = [s for s, methods in summary["table"].items() if any(measure in v for v in methods.values())]
    if not settings:
        return None
    plt = _pyplot()
    figure, axes = plt.subplots(1, len(settings), figsize=(5 * len(settings), 4), squeeze=False)
    for axis, setting in zip(axes[0], settings, strict=True):
        taken: set[tuple[int, float]] = set()
        for name, values in summary["table"][setting].items():
            group = summary["methods"].get(name, {}).get("group", "ablation")
            if measure not in values or group not in COLORS:
                continue
            x, y = values["rows"]["mean"], values[measure]["mean"]
            axis.errorbar(x, y, yerr=_error(values[measure]), fmt="o", color=COLORS[group], markersize=5, linewidth=1)
            # Two names at one place go above and below it; a name at the right edge goes to the left.
            place = (round(x / 10), round(y, 2))
            up, right = -10 if place in taken else 4, x <= 100
            taken.add(place)
            axis.annotate(name, (x, y), textcoords="offset points", xytext=(5 if right else -5, up),
                          ha="left" if right else "right", fontsize=7)  # fmt: skip
        axis.set(title=setting, xlabel="rows a picture")
        axis.grid(alpha=0.25)
    axes[0][0].set_ylabel(LABELS.get(measure, measure))
    return _svg(plt, figure)


def over_cycles(summary: dict[str, Any], measures: tuple[str, ...]) -> str | None:
    """An SVG: a panel per measure, a line per setting, over the number of cycles; None without such runs."""
    runs = {name: int(name.split("_")[1]) for name in summary["methods"] if name.startswith("cycles_")}
    if "sow" in summary["methods"]:
        runs["sow"] = preset("normal").cycles
    present = [m for m in measures if any(m in v for t in summary["table"].values() for v in t.values())]
    if len(runs) < 3 or not present:
        return None
    plt = _pyplot()
    figure, axes = plt.subplots(1, len(present), figsize=(4 * len(present), 3.4), squeeze=False)
    for axis, measure in zip(axes[0], present, strict=True):
        for setting, methods in summary["table"].items():
            found = ((runs[n], v[measure]) for n, v in methods.items() if n in runs and measure in v)
            points = sorted(found, key=lambda point: point[0])
            if points:
                xs, ys = [p[0] for p in points], [p[1]["mean"] for p in points]
                errors = [_error(p[1]) or 0.0 for p in points]
                axis.errorbar(xs, ys, yerr=errors, marker="o", markersize=4, label=setting, linewidth=1.2)
        axis.set(xlabel="cycles", title=LABELS.get(measure, measure))
        axis.title.set_fontsize(9)
        axis.grid(alpha=0.25)
    axes[0][0].legend(fontsize=8)
    return _svg(plt, figure)


def _error(value: dict[str, Any]) -> float | None:
    error = value.get("se")
    return error if error is not None and error == error else None


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "sow"  # the same numbers give the same file
    from matplotlib import pyplot

    return pyplot


def _svg(plt: Any, figure: Any) -> str:
    figure.tight_layout()
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"
