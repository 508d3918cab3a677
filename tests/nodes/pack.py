"""The pack, loaded by its path as ComfyUI does, on the strict stub of comfy_api."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STUB = Path(__file__).resolve().parent / "stub"
NAME = "sow_pack"
"""Not the folder's name: inside the pack every import is relative, so that any name will do."""


@cache
def load_pack() -> ModuleType:
    """The pack's root module. `comfy_api`, `comfy` and `folder_paths` are the stub's from here on."""
    sys.path.insert(0, str(STUB))
    spec = importlib.util.spec_from_file_location(NAME, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    return module


def part(name: str) -> ModuleType:
    """A module of the pack: part("nodes.layout"), part("sow_core.method.box")."""
    load_pack()
    return importlib.import_module(f"{NAME}.{name}")


@cache
def node_list() -> tuple[type, ...]:
    """The node classes, by way of the entry point that the host calls."""
    extension = asyncio.run(load_pack().comfy_entrypoint())
    return tuple(asyncio.run(extension.get_node_list()))


def node(node_id: str) -> Any:
    return next(cls for cls in node_list() if cls.define_schema().node_id == node_id)


def sow_error() -> type[Exception]:
    return part("sow_core.errors").SowError


def run_node(node_id: str, **inputs: Any) -> Any:
    """What the host does with a node: required inputs, its own widget checks, then `execute`.

    Widgets that are left out get their defaults. Raises AssertionError with the message where validation fails.
    """
    cls = node(node_id)
    schema = cls.define_schema()
    for i in schema.inputs:
        if i.id in inputs:
            continue
        if i.has_widget and not i.optional:
            inputs[i.id] = default_of(i)
        else:
            assert i.optional, f"{node_id} needs {i.id}"
    unknown = set(inputs) - {i.id for i in schema.inputs}
    assert not unknown, f"{node_id} has no input {unknown}"
    message = validate(node_id, **{i.id: inputs[i.id] for i in schema.inputs if i.has_widget and i.id in inputs})
    assert message is True, message
    return cls.execute(**inputs)


def default_of(i: Any) -> Any:
    return i.as_dict()["default"]


def validate(node_id: str, **widgets: Any) -> bool | str:
    """The node's `validate_inputs` on these widgets; those that it does not check are left out."""
    check = getattr(node(node_id), "validate_inputs", None)
    if check is None:
        return True
    return check(**{k: v for k, v in widgets.items() if k in inspect.signature(check).parameters})
