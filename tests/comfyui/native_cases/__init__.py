"""Cases for inside.py. Importing this package starts ComfyUI, so that its modules may import `comfy` in any order."""

from . import common  # noqa: F401
