"""The contract of all nodes: what saved workflows, the host's search, help and translations rely on."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys

import pytest

from .pack import ROOT, STUB, load_pack, node_list, part

GOLDEN = ROOT / "tests" / "nodes" / "golden" / "object_info.json"
NODES = {cls.define_schema().node_id: cls for cls in node_list()}
IDS = list(NODES)
LOCALES = ("en", "zh")
SECRETS = re.compile(r"key|token|secret|password|credential|auth|base_?url|endpoint|host", re.I)
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}


def golden() -> dict:
    return json.loads(GOLDEN.read_text(encoding="utf-8"))


def without_place(info: dict) -> dict:
    """Where the pack is installed is the only thing in which two servers may differ."""
    return {key: value for key, value in info.items() if key != "python_module"}


@pytest.mark.parametrize("node_id", IDS)
def test_object_info_is_the_committed_one(node_id):
    """Ids, types, order of widgets and defaults are what saved workflows depend on: frozen, append only.

    The committed file was taken from a real ComfyUI 0.27, so this also shows that the stub answers as the host.
    """
    assert NODES[node_id].object_info() == without_place(golden()[node_id])


def test_no_node_has_gone():
    missing = [name for name in golden() if name.startswith("SOW_") and name not in NODES]
    assert not missing, f"saved workflows need {missing}"


def test_the_design_nodes_are_there():
    assert set(IDS) >= {
        "SOW_Layout", "SOW_KSampler", "SOW_LoadPipeline", "SOW_Generate", "SOW_Sampler", "SOW_Guider",
        "SOW_EncodeLayout", "SOW_CycleOptions", "SOW_AttentionOptions", "SOW_Composite", "SOW_CycleSheet",
        "SOW_AttentionMap", "SOW_Metrics",
    }  # fmt: skip
    assert len(set(IDS)) == len(IDS)


@pytest.mark.parametrize("node_id", IDS)
def test_no_input_could_hold_a_secret(node_id):
    """Everything typed into a widget is saved in workflows, pictures and the server's history."""
    for name in NODES[node_id].object_info()["input_order"].values():
        assert not [n for n in name if SECRETS.search(n)]


@pytest.mark.parametrize("node_id", IDS)
def test_help_page(node_id):
    page = ROOT / "web" / "docs" / f"{node_id}.md"
    assert page.is_file(), f"write {page.relative_to(ROOT)}"
    text = page.read_text(encoding="utf-8")
    info = NODES[node_id].object_info()
    assert text.startswith(f"# {info['display_name']}\n")
    names = [n for group in ("required", "optional") for n in info["input_order"].get(group, [])]
    missing = [n for n in names + info["output_name"] if f"**{n}**" not in text]
    assert not missing, f"{page.name} does not explain {missing}"
    described = set(re.findall(r"^- \*\*(\w+)\*\* \(", text, re.M)) - set(names) - set(info["output_name"])
    assert not described, f"{page.name} explains {described}, which the node does not have"


def test_no_help_page_without_a_node():
    pages = {p.stem for p in (ROOT / "web" / "docs").glob("*.md")}
    assert pages <= set(IDS), f"left over: {sorted(pages - set(IDS))}"


def test_help_pages_of_other_languages_are_those_of_the_translations():
    """The host asks for docs/<NodeId>/<language>.md first. They are generated: `python -m tools.help_pages`."""
    from tools.help_pages import WORDS, pages

    assert set(WORDS) == set(LOCALES) - {"en"}
    made = {path: text for language in WORDS for path, text in pages(language).items()}
    assert set(made) == {p.relative_to(ROOT) for p in (ROOT / "web" / "docs").glob("*/*.md")}
    for path, text in made.items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, path


@pytest.mark.parametrize("locale", LOCALES)
def test_translation_is_complete(locale):
    """Every node, input and output has a name and a tooltip in every language, and nothing is left over."""
    found = json.loads((ROOT / "locales" / locale / "nodeDefs.json").read_text(encoding="utf-8"))
    assert set(found) == set(IDS)
    for node_id, cls in NODES.items():
        info, entry = cls.object_info(), found[node_id]
        assert entry["display_name"] and entry["description"], node_id
        inputs = [n for group in ("required", "optional") for n in info["input_order"].get(group, [])]
        assert set(entry.get("inputs", {})) == set(inputs), node_id
        assert set(entry["outputs"]) == {str(i) for i in range(len(info["output"]))}, node_id
        for name, words in [*entry.get("inputs", {}).items(), *entry["outputs"].items()]:
            assert words.get("name") and words.get("tooltip"), f"{node_id}.{name}"
    if locale == "en":
        return
    english = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
    same = [n for n in IDS if found[n]["description"] == english[n]["description"]]
    assert not same, f"not translated: {same}"


def test_english_words_are_those_of_the_schemas():
    """The English file is generated; a tooltip that was changed must be generated again."""
    found = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
    for node_id, cls in NODES.items():
        info = cls.object_info()
        assert found[node_id]["description"] == info["description"], node_id
        assert found[node_id]["display_name"] == info["display_name"], node_id
        for group in ("required", "optional"):
            for name, (_, options) in info["input"].get(group, {}).items():
                assert found[node_id]["inputs"][name]["tooltip"] == options["tooltip"], f"{node_id}.{name}"


def test_importing_the_pack_imports_nothing_heavy():
    """In a fresh process: the folder alone imports no torch, and its nodes no diffusers, transformers or SDK."""
    code = f"""
import asyncio, importlib.util, sys
root = {str(ROOT)!r}
sys.path.insert(0, {str(STUB)!r})
spec = importlib.util.spec_from_file_location("p", root + "/__init__.py", submodule_search_locations=[root])
module = importlib.util.module_from_spec(spec); sys.modules["p"] = module; spec.loader.exec_module(module)
assert "torch" not in sys.modules and "comfy_api" not in sys.modules, "the folder itself imports too much"
nodes = asyncio.run(asyncio.run(module.comfy_entrypoint()).get_node_list())
[n.define_schema() for n in nodes]
heavy = [m for m in ("diffusers", "transformers", "accelerate", "google.genai", "scipy", "matplotlib", "comfy")
         if m in sys.modules]
assert not heavy, heavy
assert "nodes" not in sys.modules, "the host has a top-level module of that name"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_entry_exports_no_old_mappings():
    """The host looks for NODE_CLASS_MAPPINGS first and would then ignore comfy_entrypoint."""
    pack = load_pack()
    assert not hasattr(pack, "NODE_CLASS_MAPPINGS")
    assert (ROOT / pack.WEB_DIRECTORY / "docs").is_dir()
    assert not list((ROOT / pack.WEB_DIRECTORY).rglob("*.js")), "the pack needs no JavaScript"


def test_the_extension_is_one():
    from comfy_api.latest import ComfyExtension

    assert isinstance(asyncio.run(load_pack().comfy_entrypoint()), ComfyExtension)


@pytest.mark.parametrize("change", [
    {"tooltip": None}, {"tooltip": "no sentence"}, {"default": 3000}, {"default": 1.5}, {"wrong": 1}, {"min": None},
])
def test_the_stub_is_strict(change):
    io = part("nodes.sockets").io
    values = {"default": 8, "min": 1, "max": 100, "tooltip": "A number that does something."} | change
    with pytest.raises((io.StrictError, TypeError)):
        io.Schema("SOW_X", display_name="SOW X", category="SOW", description="x" * 50, search_aliases=["x"],
                  inputs=[io.Int.Input("n", **values)],
                  outputs=[io.Image.Output("image", tooltip="A picture, made here.")])


def test_the_stub_refuses_ids_that_are_used_twice():
    io = part("nodes.sockets").io
    with pytest.raises(io.StrictError, match="distinct"):
        io.Schema("SOW_X", display_name="SOW X", category="SOW", description="x" * 50, search_aliases=["x"],
                  inputs=[io.Image.Input("image", tooltip="A picture, wanted here.")],
                  outputs=[io.Image.Output("image", tooltip="A picture, made here.")])
