"""Every workflow in the real front end: it posts exactly the committed API twin, and no node covers another, neither
before a run nor after it, when previews have made nodes grow.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from comfyui.test_browser import LIMIT, page  # noqa: F401  (a fixture)

FOLDER = Path(__file__).resolve().parents[2] / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.json"))
FREE = [path for path in WORKFLOWS if "no_download" in path.stem]
IDLE = """async () => {
    const queue = await (await fetch('/queue')).json();
    return !queue.queue_running.length && !queue.queue_pending.length;
}"""
RUNS = "async () => Object.values(await (await fetch('/history')).json()).length"
COVERED_CLASSIC = """() => {
    const nodes = window.app.graph._nodes.map(n => [n.id, n.pos[0], n.pos[1] - 30, n.pos[0] + n.size[0], n.pos[1] + n.size[1]]);
    const over = (a, b) => a[1] < b[3] && b[1] < a[3] && a[2] < b[4] && b[2] < a[4];
    return nodes.flatMap((a, i) => nodes.slice(i + 1).filter(b => over(a, b)).map(b => `${a[0]} and ${b[0]}`));
}"""  # fmt: skip  # noqa: E501
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
    for node in found.values():
        if node["class_type"] == "SOW_Layout":  # the twin says it by `bboxes` alone
            assert isinstance(node["inputs"].pop("boxes")["__value__"], list)
    assert found == expected
    assert page.evaluate(COVERED) == []


def until(page: Any, true: Callable[[], bool]) -> None:  # noqa: F811
    """Wait on the page's own clock; its `wait_for_function` takes a promise for an answer."""
    for _ in range(LIMIT // 250):
        if true():
            return
        page.wait_for_timeout(250)
    raise AssertionError("the page hangs")


@pytest.mark.parametrize("path", FREE, ids=lambda p: p.stem)
@pytest.mark.parametrize("nodes2", [True, False], ids=["nodes2", "classic"])
def test_no_node_covers_another_after_a_run(page: Any, path: Path, logs: Path, nodes2: bool) -> None:  # noqa: F811
    until(page, lambda: page.evaluate(IDLE))  # an earlier run's messages would find nodes of the same numbers here
    page.evaluate("on => window.app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)", nodes2)
    page.evaluate(
        "async data => { await window.app.loadGraphData(data) }", json.loads(path.read_text(encoding="utf-8"))
    )
    page.wait_for_timeout(1000)
    before = page.evaluate(RUNS)
    page.get_by_role("button", name="Run", exact=True).first.click()
    until(page, lambda: page.evaluate(RUNS) > before and page.evaluate(IDLE))
    page.wait_for_timeout(2500)
    page.screenshot(path=logs / f"after_{path.stem}_{'nodes2' if nodes2 else 'classic'}.png")
    for _ in range(20):  # the page lays out anew while previews arrive
        covered = page.evaluate(COVERED if nodes2 else COVERED_CLASSIC)
        if not covered:
            break
        page.wait_for_timeout(500)
    assert covered == []
