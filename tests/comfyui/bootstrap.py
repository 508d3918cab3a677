"""ComfyUI and the pack in one process, without a server: for inside.py and the benchmarks.

Call `start` before anything imports `comfy`: ComfyUI reads its command line as it is imported.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NAME = "the_pack"


def start(*arguments: str) -> Callable[[str], Any]:
    """Set ComfyUI (at COMFYUI_PATH) up on CPU with one thread; returns an importer of the pack's modules.

    The pack is loaded as ComfyUI loads it, by its path as a package of its own name: "nodes" there is the
    host's module, and must not become ours.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.path[:0] = [os.environ["COMFYUI_PATH"], str(ROOT / "tests")]
    sys.argv = [sys.argv[0], "--cpu", "--use-pytorch-cross-attention", *arguments]
    import comfy.options

    comfy.options.enable_args_parsing()
    import comfy.model_management  # noqa: F401  (reads the arguments)
    import torch

    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    spec = importlib.machinery.ModuleSpec(NAME, None, is_package=True)
    spec.submodule_search_locations = [str(ROOT)]
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    return lambda name: importlib.import_module(f"{NAME}.{name}")
