"""R@1 against the text weight, a line for each image weight; fusion and the picture alone for comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def plot(results: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "sow"
    weights = results["weights"]
    figure, axes = plt.subplots(figsize=(7, 4.2))
    for image in sorted({row["image"] for row in weights["compodiff-mini"]}):
        rows = [r for r in weights["compodiff-mini"] if r["image"] == image]
        label = f"compodiff-mini, w_I {image:g}"
        axes.plot([r["text"] for r in rows], [r["R@1"] for r in rows], marker="o", label=label)
    fused = weights["fusion"]
    axes.plot([r["text"] for r in fused], [r["R@1"] for r in fused], marker="s", color="gray", linestyle="--",
              label="fusion, w_I 1")
    axes.set_xlabel("w_T")
    axes.set_ylabel("R@1")
    axes.set_ylim(0, 1)
    axes.set_title(f"{weights['questions']} held-out questions, gallery of {results['setting']['gallery']}")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
