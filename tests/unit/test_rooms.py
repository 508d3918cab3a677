"""The rooms of sow_core and what may import what: downwards only (CONTRIBUTING.md has the why)."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "sow_core"

FLOORS = (
    {"errors"},
    {"assets", "memory"},
    {"files", "outside"},
    {"pictures"},
    {"settings"},
    {"method"},
    {"backends", "planning", "comfyui"},
    {"pipeline", "retrieval"},
    {"turns", "batch"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
"""From the ground up. A room imports itself and rooms of lower floors: none above it, and none beside it."""
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def imports(file: Path) -> list[str]:
    """The absolute names of the sow_core modules that a file names in imports, wherever they stand in it."""
    package = list(file.relative_to(ROOT).parent.parts)
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            found += [f"{name}.{alias.name}" for alias in node.names]
    return [name for name in found if name.split(".")[0] == "sow_core"]


def room_of(name: str) -> str | None:
    """The room of a module or of a name in it; None for the package's own names (`__version__`)."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and ((CORE / parts[1]).is_dir() or (CORE / f"{parts[1]}.py").is_file()) else None


def modules() -> list[Path]:
    return [f for f in sorted(CORE.rglob("*.py")) if f != CORE / "__init__.py"]


def test_every_room_has_its_floor():
    rooms = {f.relative_to(CORE).parts[0].removesuffix(".py") for f in modules()}
    assert rooms <= set(FLOOR), f"give {sorted(rooms - set(FLOOR))} a floor in FLOORS, and a line in CONTRIBUTING.md"


def test_imports_run_downwards():
    wrong = []
    for file in modules():
        room = file.relative_to(CORE).parts[0].removesuffix(".py")
        for name in imports(file):
            other = room_of(name)
            if other not in (None, room) and FLOOR[other] >= FLOOR[room]:
                wrong.append(f"{file.relative_to(ROOT)} -> {name}")
    assert not wrong


def test_the_rule_can_fail(tmp_path, monkeypatch):
    """A relative import two rooms away is seen, inside a function too."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    file = tmp_path / "sow_core" / "method" / "x.py"
    file.parent.mkdir(parents=True)
    file.write_text("def f():\n    from ..commands.generate import run\n    from . import plan\n")
    assert imports(file) == ["sow_core.commands.generate.run", "sow_core.method.plan"]


def test_the_core_knows_no_host_and_no_neighbour():
    """Neither ComfyUI nor the nodes, tools, benchmarks or tests: it is installed without them. (`bench` looks its
    suites up by name, and says what is missing.)"""
    banned = {"comfy", "comfy_api", "folder_paths", "nodes", "tools", "benchmarks", "tests"}
    for file in modules():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not {n.split(".")[0] for n in names} & banned, file


@pytest.mark.parametrize("module", ["sow_core", "sow_core.cli", "sow_core.method.plan", "sow_core.planning.schema"])
def test_importing_is_light(module):
    """Names, settings and plans are had without torch: a host lists its nodes before it needs them."""
    heavy = "{'torch', 'diffusers', 'transformers', 'numpy', 'PIL'}"
    code = f"import sys, {module}; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
