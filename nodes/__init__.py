"""The ComfyUI side: thin V3 nodes (schemas and checks) over plain functions on tensors.

A module `*_nodes` holds schemas and lists its node classes in NODES; the modules beside it know no schema.
`node_classes` is the only list of them. Imports inside the pack are relative throughout: ComfyUI has a
top-level module `nodes` of its own.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

NODE_MODULES = (
    "layout_nodes",
    "sampling_nodes",
    "parts_nodes",
    "options_nodes",
    "diffusers_nodes",
    "diagnostics_nodes",
    "demo_nodes",
    "example_nodes",
    "planning_nodes",
    "separate_nodes",
    "turn_nodes",
    "find_nodes",
)
"""In the order in which menus and documentation list them. New modules are appended."""


def node_classes() -> list[type[Any]]:
    """All node classes of the pack."""
    return [cls for name in NODE_MODULES for cls in import_module(f".{name}", __name__).NODES]
