"""Where nodes lie on a page: columns of nodes with the room that they take after a run."""

from __future__ import annotations

from typing import Any

from .graph import Graph, Node

GAP, BETWEEN = 64, 120
"""Px between nodes of a column, and between columns: the frames of their groups lie there."""
SIZES = {
    "SOW_LoadDemoModel": (280, 170),
    "SOW_LoadExample": (280, 130),
    "SOW_Layout": (420, 1400),
    "SOW_KSampler": (320, 800),
    "SOW_OfflinePlanner": (420, 1400),
    "SOW_GeminiPlanner": (420, 1500),
    "SOW_Composite": (320, 150),
    "SOW_CycleSheet": (320, 150),
    "SOW_AttentionMap": (320, 150),
    "SOW_Metrics": (320, 240),
    "SOW_CycleOptions": (320, 800),
    "SOW_AttentionOptions": (320, 520),
    "SOW_EncodeLayout": (320, 150),
    "SOW_Sampler": (320, 300),
    "SOW_Guider": (320, 240),
    "SOW_LoadPipeline": (320, 200),
    "SOW_Generate": (380, 940),
    "SOW_Separate": (360, 520),
    "SOW_Turn": (400, 1240),
    "SOW_TurnPlan": (400, 1300),
    "SOW_TurnsSheet": (300, 90),
    "ImageScale": (320, 220),
    "SOW_FindPicture": (360, 1000),
    "KSampler": (320, 620),
    "EmptyLatentImage": (280, 140),
    "CLIPTextEncode": (340, 170),
    "CheckpointLoaderSimple": (320, 130),
    "LoraLoader": (320, 170),
    "UNETLoader": (320, 140),
    "CLIPLoader": (320, 170),
    "DualCLIPLoader": (320, 190),
    "VAELoader": (320, 110),
    "FluxGuidance": (320, 120),
    "SaveImage": (360, 440),
    "PreviewImage": (480, 440),
    "PreviewAny": (360, 260),
    "RandomNoise": (320, 120),
    "BasicScheduler": (320, 170),
    "SamplerCustomAdvanced": (320, 420),
    "VAEDecode": (320, 90),
}
"""Width, and height after a run in whichever of the host's two canvases shows the node taller."""
MODEL, PICTURE, WORDS, RUN, RESULT = "#8899aa", "#3f789e", "#b58b2a", "#a1309b", "#88aa88"
"""One colour per kind of group in all workflows."""


class Column:
    """Nodes below each other from a place on the page; `group` frames what was added since the last one."""

    def __init__(self, graph: Graph, x: int, y: int = 0) -> None:
        self.graph, self.x, self.y = graph, x, y
        self.width = 0
        self._open: list[Node] = []

    def add(self, type_: str, title: str = "", /, **inputs: Any) -> Node:
        width, height = SIZES[type_]
        node = self.graph.add(type_, (self.x, self.y), (width, height), title, **inputs)
        self.y += height + GAP
        self.width = max(self.width, width)
        self._open.append(node)
        return node

    def group(self, title: str, colour: str) -> None:
        self.graph.group(title, self._open, colour)
        self._open = []
        self.y += GAP

    def next(self) -> Column:
        """The column to the right."""
        return Column(self.graph, self.x + self.width + BETWEEN)
