"""SOW: Selective One-Way Diffusion (arXiv 2411.19182), the engine without a host.

    import sow_core as sow
    model = sow.load("demo")
    made = model("face.png", mask="mask.png", box=(32, 24, 64, 64), prompt="a woman on a beach", seeds=[0, 1])

Importing this package imports nothing heavy: each of its names brings what it needs when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import SowError
    from .method.box import Box
    from .method.config import SowConfig
    from .method.presets import PRESETS, preset
    from .pipeline.made import Made
    from .pipeline.model import Model, load

__version__ = "0.2.0"
__all__ = ["PRESETS", "Box", "Made", "Model", "SowConfig", "SowError", "load", "preset"]

_HOME = {
    "load": ".pipeline.model",
    "Model": ".pipeline.model",
    "Made": ".pipeline.made",
    "Box": ".method.box",
    "SowConfig": ".method.config",
    "PRESETS": ".method.presets",
    "preset": ".method.presets",
    "SowError": ".errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
