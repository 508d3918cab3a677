"""SOW: Selective One-Way Diffusion for ComfyUI.

ComfyUI loads this folder by its path and calls `comfy_entrypoint`. Nothing is imported before that, so that
tools which merely import the folder (pytest, packagers) need no ComfyUI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .nodes.extension import SowExtension

WEB_DIRECTORY = "web"


async def comfy_entrypoint() -> SowExtension:
    """The nodes, as ComfyUI asks for them at start-up."""
    from .nodes.extension import SowExtension

    return SowExtension()
