"""The extension object that ComfyUI's loader asks for."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import node_classes

if not hasattr(io, "BoundingBoxes"):
    # ComfyUI logs this line beside the pack's name, instead of a missing attribute somewhere in a schema.
    raise ImportError("SOW needs ComfyUI 0.27 or newer, whose drawing canvas places the pictures. Update ComfyUI.")


class SowExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return node_classes()
