"""Every workflow in the real front end: it posts exactly the committed API twin, and no node covers another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from comfyui.test_browser import page  # noqa: F401  (a fixture)

FOLDER = Path(__file__).resolve().parents[2] / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.json"))
COVERED = """() => {
    const nodes = [...document.querySelectorAll('[data-node-id]')].map(e => [e.dataset.nodeId, e.getBoundingClientRect()]);
    const over = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
    return nodes.flatMap(([n, a], i) => nodes.slice(i + 1).filter(([, b]) => over(a, b)).map(([m]) => `${n} and ${m}`));
}"""  # fmt: skip  # noqa: E501


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_the_browser_posts_the_twin(page: Any, path: Path, logs: Path) -> None:  # noqa: F811
    page.evaluate(
        "async data => { await window.app.loadGraphData(data) }", json.loads(path.read_text(encoding="utf-8"))
    )
    page.wait_for_timeout(1500)
    page.screenshot(path=logs / f"workflow_{path.stem}.png")
    posted = page.evaluate("async () => (await window.app.graphToPrompt()).output")
    twin = json.loads((FOLDER / "api" / f"{path.stem}_api.json").read_text(encoding="utf-8"))
    found = {number: {key: node[key] for key in ("class_type", "inputs")} for number, node in posted.items()}
    expected = {number: {key: node[key] for key in ("class_type", "inputs")} for number, node in twin.items()}
    assert found == expected
    assert page.evaluate(COVERED) == []
