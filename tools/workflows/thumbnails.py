"""Run the workflows on a ComfyUI server and keep a thumbnail of what came out.

    python -m tools.workflows.thumbnails http://127.0.0.1:8188 [NAME...]

The server needs the pack and nothing else: workflows that need a checkpoint show their layout instead, and the
Gemini planner plans offline where there is no key.
"""

from __future__ import annotations

import io
import math
import sys
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from sow_core.comfyui.client import ComfyClient
from sow_core.comfyui.refusals import describe_failure
from sow_core.comfyui.submit import execute
from sow_core.comfyui.workflow import load_workflow

from .catalog import WORKFLOWS

FOLDER = Path(__file__).resolve().parents[2] / "workflows"
SIDE = 512
WITH_PREVIEWS = {"05_what_happened_no_download"}
"""Workflows whose previews are the point."""


def pictures(client: ComfyClient, entry: dict[str, Any], kinds: set[str]) -> list[Image.Image]:
    """The pictures of a run in the order of its nodes' numbers."""
    found = []
    for _, outputs in sorted(entry["outputs"].items(), key=lambda item: int(item[0])):
        for reference in outputs.get("images", []):
            if reference["type"] in kinds:
                found.append(Image.open(io.BytesIO(client.file(reference))).convert("RGB"))
    return found


def prepare(workflow: dict[str, Any]) -> dict[str, Any]:
    """What can be run here of a workflow: all of it, or its layout where a checkpoint is missing."""
    if not any(node["class_type"] in ("CheckpointLoaderSimple", "UNETLoader") for node in workflow.values()):
        return workflow
    for node in workflow.values():  # a CLIP only refines how a planner counts words
        if "Planner" in node["class_type"]:
            node["inputs"].pop("clip", None)
    shown = {"SOW_Layout": 1, "ImageScale": 0}  # the layout, or the photograph where there is none
    layout = next(n for kind in shown for n, node in workflow.items() if node["class_type"] == kind)
    port = shown[workflow[layout]["class_type"]]
    kept, todo = set(), [layout]
    while todo:
        kept.add(todo[-1])
        todo += [v[0] for v in workflow[todo.pop()]["inputs"].values() if isinstance(v, list)]
    made = {n: node for n, node in workflow.items() if n in kept}
    made["1000"] = {"class_type": "SaveImage", "inputs": {"images": [layout, port], "filename_prefix": "sow_layout"}}
    return made


def page_of(found: list[Image.Image]) -> Image.Image:
    """The pictures in a square grid, which is the shape that the host's template browser shows."""
    columns = math.ceil(math.sqrt(len(found)))
    cell = SIDE if len(found) == 1 else SIDE // 2
    page = Image.new("RGB", (cell * columns, cell * math.ceil(len(found) / columns)), "white")
    for index, picture in enumerate(found):
        fitted = ImageOps.contain(picture, (cell - 4, cell - 4) if len(found) > 1 else (cell, cell))
        x = index % columns * cell + (cell - fitted.width) // 2
        page.paste(fitted, (x, index // columns * cell + (cell - fitted.height) // 2))
    return page


def main(server: str, names: list[str]) -> int:
    client = ComfyClient(server)
    for name in names or list(WORKFLOWS):
        workflow = prepare(load_workflow(FOLDER / "api" / f"{name}_api.json"))
        entry = execute(client, workflow, sys.stderr)
        failure = describe_failure(entry, workflow)
        if failure:
            print(f"{name}: {failure}")
            return 1
        found = pictures(client, entry, {"output"})
        if name in WITH_PREVIEWS:
            found += [p for p in pictures(client, entry, {"temp"}) if p.width > p.height]
        if len(found) == 3:  # four fill the square
            layout = next(n for n, node in workflow.items() if node["class_type"] == "SOW_Layout")
            found = pictures(client, {"outputs": {layout: entry["outputs"][layout]}}, {"temp"}) + found
        page_of(found).save(FOLDER / f"{name}.jpg", quality=88)
        print(f"{name}: {len(found)} picture(s)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
