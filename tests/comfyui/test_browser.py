"""The demo as a user meets it: dragged into a browser, a box drawn, Run pressed, a picture seen.

Needs playwright (the Python package only) and a Chromium: CHROMIUM=/path, or `chromium` on the PATH.
Screenshots go to COMFYUI_LOGS; they are for looking at, no test compares them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comfyui.host import Server

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
DEMO = Path(__file__).resolve().parents[2] / "workflows" / "01_keep_a_face_no_download.json"
LIMIT = 300_000
"""Milliseconds after which a step counts as hung."""
DROP = """text => {
    const data = new DataTransfer();
    data.items.add(new File([text], '01_keep_a_face_no_download.json', { type: 'application/json' }));
    return data;
}"""


@pytest.fixture(scope="module")
def page(server: Server) -> Iterator[Any]:
    """The front end with its first-visit dialog done and Nodes 2.0 on, as the drawing canvas needs."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the playwright package")
    if not CHROMIUM:
        pytest.skip("needs a Chromium: set CHROMIUM or install the package chromium")
    server.client.post("/settings", {"Comfy.TutorialCompleted": True, "Comfy.VueNodes.Enabled": True})
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1800, "height": 1200})
        opened.set_default_timeout(LIMIT)
        opened.goto(server.url)
        opened.wait_for_function("window.app && window.app.extensionManager")
        opened.wait_for_selector("canvas#graph-canvas")
        opened.get_by_role("button", name="Run", exact=True).first.wait_for()
        opened.wait_for_timeout(1500)
        # On a machine that is busy the start-up mask misses the end of its fading, stays, and eats every click.
        opened.evaluate("() => document.querySelectorAll('.p-overlay-mask-leave').forEach(mask => mask.remove())")
        yield opened
        browser.close()


def node(page: Any, kind: str) -> Any:
    """The first node of a type, as the page shows it."""
    number = page.evaluate("kind => window.app.graph._nodes.find(n => n.type === kind).id", kind)
    return page.locator(f"[data-node-id='{number}']")


def boxes(page: Any) -> list[dict[str, Any]]:
    return page.evaluate(
        "() => window.app.graph._nodes.find(n => n.type === 'SOW_Layout').widgets.find(w => w.name === 'boxes').value"
    )


def test_drag_in_draw_queue_and_see(page: Any, logs: Path) -> None:
    data = page.evaluate_handle(DROP, DEMO.read_text(encoding="utf-8"))
    page.dispatch_event("canvas#graph-canvas", "drop", {"dataTransfer": data})
    page.wait_for_function("() => window.app.graph._nodes.some(n => n.type === 'SOW_KSampler')")
    layout = node(page, "SOW_Layout")
    canvas = layout.locator("canvas").first
    canvas.wait_for()
    page.wait_for_timeout(1000)
    page.screenshot(path=logs / "1_dragged_in.png")
    assert len(boxes(page)) >= 1  # the workflow's own boxes
    assert page.locator(".p-toast-message-error").count() == 0

    layout.get_by_text("Clear all").click()
    page.wait_for_function(
        "() => !(window.app.graph._nodes.find(n => n.type === 'SOW_Layout')"
        ".widgets.find(w => w.name === 'boxes').value || []).length"
    )
    where = canvas.bounding_box()
    left, top = where["x"] + 0.25 * where["width"], where["y"] + 0.2 * where["height"]
    right, bottom = where["x"] + 0.75 * where["width"], where["y"] + 0.7 * where["height"]
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move((left + right) / 2, (top + bottom) / 2, steps=5)
    page.mouse.move(right, bottom, steps=5)
    page.mouse.up()
    page.wait_for_function(
        "() => window.app.graph._nodes.find(n => n.type === 'SOW_Layout')"
        ".widgets.find(w => w.name === 'boxes').value.length === 1"
    )
    (drawn,) = boxes(page)
    assert abs(drawn["x"] - 32) <= 2 and abs(drawn["width"] - 64) <= 2, drawn
    page.screenshot(path=logs / "2_box_drawn.png")

    page.get_by_role("button", name="Run", exact=True).first.click()
    shown = node(page, "SaveImage").locator("img").first
    shown.wait_for()
    page.wait_for_function(
        "image => image.complete && image.naturalWidth === 128", arg=shown.element_handle()
    )
    page.wait_for_timeout(1500)
    page.screenshot(path=logs / "3_picture.png")
    assert node(page, "SOW_Layout").locator("img").count() >= 1  # the layout's own preview
    assert page.locator(".p-toast-message-error").count() == 0


def test_a_drawn_box_wins_over_the_text_that_it_came_from(page: Any) -> None:
    """The workflow carries its boxes as text too; what was drawn since is what the run took."""
    placed = page.evaluate("async () => (await (await fetch('/history')).json())")
    entry = list(placed.values())[-1]
    layout = next(n for n, node in entry["prompt"][2].items() if node["class_type"] == "SOW_Layout")
    (drawn,) = boxes(page)
    (report,) = entry["outputs"][layout]["text"]
    assert entry["prompt"][2][layout]["inputs"]["bboxes"].startswith("0.25,"), "the text is still there"
    assert "The drawn boxes are used" in report or f"at {round(drawn['x'] / 8) * 8}," in report, report


def test_a_bad_box_is_said_on_the_page(page: Any, logs: Path) -> None:
    """A box outside the canvas, typed into the widget: the page shows the pack's own line, without a path."""
    page.evaluate(
        "() => { const n = window.app.graph._nodes.find(n => n.type === 'SOW_Layout');"
        " n.widgets.find(w => w.name === 'bboxes').value = '100,100,90,90'; }"
    )
    page.get_by_role("button", name="Run", exact=True).first.click()
    shown = page.get_by_text("outside the 128x128 canvas").first
    shown.wait_for()
    page.wait_for_timeout(800)
    page.screenshot(path=logs / "4_error.png")
    line = shown.inner_text()
    assert "SowError: The box 100,100,90,90 lies outside" in line and "/" not in line, line
    assert page.get_by_text("1 ERROR", exact=True).count() == 1
