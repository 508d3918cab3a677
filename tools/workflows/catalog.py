"""The workflows of the pack, each a function that fills a graph.

Places on the page: x grows by columns of about 340 px, y downwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .graph import Graph, Node

NEGATIVE = "a bad quality and low-resolution image, extra fingers, deformed hands"
DEMO_CFG = 5.0
"""What the demo model was tuned at."""


def drawn(x: int, y: int, width: int, height: int, text: str, colour: str) -> dict[str, Any]:
    """A box as the drawing canvas saves it."""
    return {"x": x, "y": y, "width": width, "height": height,
            "metadata": {"type": "obj", "text": "", "desc": text, "palette": [colour]}}


RED, BLUE = "#ff5c5c", "#529cff"
FACE_AT_128 = [drawn(32, 24, 64, 64, "place of the face", RED), drawn(24, 0, 80, 32, "related: hair", BLUE),
               drawn(16, 80, 96, 48, "related: neck and body", BLUE)]


def demo_model(graph: Graph) -> Node:
    return graph.add("SOW_LoadDemoModel", (0, 0), (260, 110))


def prompts(graph: Graph, clip: Any, positive: str, negative: str, x: int = 340, y: int = 0) -> tuple[Node, Node]:
    return (
        graph.add("CLIPTextEncode", (x, y), (340, 130), "Scene", text=positive, clip=clip),
        graph.add("CLIPTextEncode", (x, y + 180), (340, 110), "Not wanted", text=negative, clip=clip),
    )


def demo(graph: Graph) -> None:
    model = demo_model(graph)
    face = graph.add("SOW_LoadExample", (0, 170), (260, 110), example="tom")
    positive, negative = prompts(graph, model.out("CLIP"), "a photo of a smiling man wearing a suit on a beach", "")
    layout = graph.add("SOW_Layout", (340, 360), (420, 720), condition=face.out("image"), mask=face.out("mask"),
                       width=128, height=128, boxes=FACE_AT_128)
    sampler = graph.add("SOW_KSampler", (840, 0), (320, 480), model=model.out("MODEL"), positive=positive.out(),
                        negative=negative.out(), vae=model.out("VAE"), layout=layout.out("layout"), seed=7,
                        seed_control="randomize", cfg=DEMO_CFG)
    graph.add("SaveImage", (1220, 0), (360, 400), images=sampler.out("image"), filename_prefix="sow_demo")
    sheet = graph.add("SOW_CycleSheet", (840, 540), (300, 110), trace=sampler.out("trace"))
    graph.add("PreviewImage", (1220, 460), (480, 420), "How it grew", images=sheet.out("sheet"))
    graph.note(
        "## SOW demo\nRuns as it is: model and picture come with the pack.\n\n1. Press **Run**: the face stays, a "
        "scene grows around it.\n2. Move the red box in **SOW Layout**, or change the text, and run again.\n3. For "
        "your own pictures: **Load Image** instead of *SOW Load Example*, **Load Checkpoint** instead of *SOW Load "
        "Demo Model*, width and height 512.\n\nThe demo model knows 128x128 cartoon portraits and cubes only.",
        (-480, 0))


WORKFLOWS: dict[str, Callable[[Graph], None]] = {"sow_1_demo": demo}
