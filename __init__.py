"""SOW: Selective One-Way Diffusion for ComfyUI.

ComfyUI loads this folder by its path and calls `comfy_entrypoint`. Nothing is imported before that, so that
tools which merely import the folder (pytest, packagers) need no ComfyUI.
"""

WEB_DIRECTORY = "web"


async def comfy_entrypoint():
    """The nodes, as ComfyUI asks for them at start-up."""
    from .nodes.extension import SowExtension

    return SowExtension()
