"""What pip, the registry and ComfyUI's manager read must say the same."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    tomllib = pytest.importorskip("tomli")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def lines(name: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return sorted(line.split("#")[0].strip() for line in text.splitlines() if line.split("#")[0].strip())


def package(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def test_requirements_files_repeat_pyproject():
    extras = PROJECT["project"]["optional-dependencies"]
    assert lines("requirements.txt") == sorted(PROJECT["project"]["dependencies"])
    assert lines("requirements-test.txt") == sorted(extras["test"])
    assert lines("requirements-legacy.txt") == sorted(extras["legacy"])


def test_lower_bounds_only():
    extras = PROJECT["project"]["optional-dependencies"].values()
    for requirement in [*PROJECT["project"]["dependencies"], *(r for extra in extras for r in extra)]:
        assert re.fullmatch(r"[\w.-]+>=[\d.]+", requirement), requirement


def test_nothing_that_downgrades_protobuf_is_forced_on_users():
    assert not {"google-generativeai", "protobuf"} & {package(r) for r in lines("requirements.txt")}


def test_every_direct_package_has_a_tested_version_that_meets_its_bound():
    from packaging.requirements import Requirement

    tested = {r.name.lower().replace("_", "-"): r for r in map(Requirement, lines("constraints.txt"))}
    for line in lines("requirements.txt") + lines("requirements-test.txt"):
        wanted = Requirement(line)
        pinned = str(tested[package(line)].specifier).removeprefix("==")
        assert wanted.specifier.contains(pinned), f"{line} against {pinned}"


def test_registry_metadata():
    comfy = PROJECT["tool"]["comfy"]
    assert comfy["requires-comfyui"] == ">=0.27.0" and comfy["PublisherId"] and comfy["DisplayName"]
    ignored = (ROOT / ".comfyignore").read_text(encoding="utf-8").split()
    assert {"tests/", "dev.py", "tools/"} <= set(ignored)  # the registry's scanner rejects packs that start processes


def test_what_the_registry_gets_is_small_and_whole():
    """Its archive: the tracked files, without what .comfyignore names."""

    def listed(*more: str) -> set[str]:
        done = subprocess.run(["git", "ls-files", "-z", *more], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            pytest.skip("needs a git checkout")
        return {name for name in done.stdout.split("\0") if name}

    files = listed("--cached") - listed("--cached", "--ignored", "--exclude-from=.comfyignore")
    size = sum((ROOT / name).stat().st_size for name in files if (ROOT / name).is_file())
    assert size < 30 * 2**20, f"{size / 2**20:.1f} MB before packing"
    assert {"__init__.py", "pyproject.toml", "requirements.txt", "LICENSE", "README.md"} <= files
    assert {"models/demo/model_index.json", "models/demo_flow/model_index.json"} <= files
    assert {"nodes/__init__.py", "sow_core/cli.py"} <= files
    tops = {name.split("/")[0] for name in files}
    assert not tops & {"tests", "tools", "benchmarks", "dev.py", ".github", ".ci"}


def test_an_embedded_model_that_was_left_out_is_named(tmp_path, monkeypatch):
    """As in the registry's archive, which has the flow transformer's configs without its weights."""
    from sow_core import assets
    from sow_core.backends.loading import load
    from sow_core.errors import SowError

    shutil.copytree(ROOT / "models" / "demo_flow", tmp_path / "models" / "demo_flow",
                    ignore=shutil.ignore_patterns("*.safetensors"))  # fmt: skip
    monkeypatch.setattr(assets, "PACKAGE", tmp_path / "sow_core")
    with pytest.raises(SowError, match=r"demo_flow is not in this copy.*copy models/demo_flow"):
        load("demo_flow")


def test_ci_runs_every_python_that_is_promised():
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    tried = re.findall(r"3\.\d+", re.search(r"python: \[(.*)\]", text)[1])
    said = [c.rsplit(" ", 1)[1] for c in PROJECT["project"]["classifiers"] if re.search(r":: 3\.\d+$", c)]
    assert tried == said and tried[0] == PROJECT["project"]["requires-python"].removeprefix(">=")
    assert "os: [ubuntu-latest, macos-latest, windows-latest]" in text


def test_version_is_the_engines():
    import sow_core

    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "sow_core.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", sow_core.__version__)


def test_every_package_and_asset_is_in_the_wheel():
    settings = PROJECT["tool"]["setuptools"]
    found = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "sow_core").rglob("__init__.py")}
    assert found <= set(settings["packages"])
    for package_name, folder in settings["package-dir"].items():
        patterns = settings["package-data"][package_name]
        shipped = {p for pattern in patterns for p in (ROOT / folder).glob(pattern) if p.is_file()}
        present = {p for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts}
        assert shipped == present, f"{folder}: {sorted(present - shipped)[:3]} not shipped"


def test_assets_are_found():
    from sow_core.assets import asset_folder

    assert (asset_folder("models") / "demo" / "model_index.json").is_file()
    assert list(asset_folder("prompts").rglob("*.txt"))


def test_the_node_pack_loads_without_its_host():
    """pytest itself imports the root package; ComfyUI's modules may be needed only once it asks for the nodes."""
    import ast

    for node in ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8")).body:
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not [n for n in names if n.split(".")[0] in {"comfy", "comfy_api", "torch", "diffusers", "folder_paths"}]


def test_what_the_registry_gets_starts_no_process_and_evaluates_no_text():
    """The registry's scanner rejects a pack for either; what .comfyignore leaves out does not count."""
    import ast

    ignored = {line.strip().rstrip("/") for line in (ROOT / ".comfyignore").read_text(encoding="utf-8").splitlines()}
    for file in [*ROOT.glob("*.py"), *(f for d in ("sow_core", "nodes") for f in (ROOT / d).rglob("*.py"))]:
        if file.relative_to(ROOT).parts[0] in ignored:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            assert called not in {"eval", "exec"}, file
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {n.split(".")[0] for n in names} & {"subprocess", "multiprocessing", "pip"}, file
