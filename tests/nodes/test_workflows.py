"""Every workflow: whole, valid against the committed object_info, equal to its API twin, with a thumbnail.

The conversion from the browser's form is written here from the host's rules, apart from the code that writes
the workflows, so that a mistake there is seen.
"""

from __future__ import annotations

import json

import pytest

from .pack import ROOT, node_list, validate

FOLDER = ROOT / "workflows"
NAMES = sorted(p.stem for p in FOLDER.glob("*.json"))
INFO = json.loads((ROOT / "tests" / "nodes" / "golden" / "object_info.json").read_text(encoding="utf-8"))
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "BOUNDING_BOXES"}
FILES = {"ckpt_name", "lora_name", "image"}
"""Inputs whose choices are the files of one server."""
OURS = {cls.define_schema().node_id for cls in node_list()}


def ui(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def api(name: str) -> dict:
    return json.loads((FOLDER / "api" / f"{name}_api.json").read_text(encoding="utf-8"))


def inputs_of(class_type: str) -> dict[str, tuple[str, dict, bool]]:
    """name -> (type, options, required), in the host's order."""
    found = {}
    for group in ("required", "optional"):
        for name, spec in INFO[class_type]["input"].get(group, {}).items():
            kind = "COMBO" if isinstance(spec[0], list) else spec[0]
            options = dict(spec[1]) if len(spec) > 1 else {}
            if isinstance(spec[0], list):
                options["options"] = spec[0]
            found[name] = (kind, options, group == "required")
    return found


def convert(workflow: dict) -> dict:
    """The browser's workflow as the browser would post it."""
    links = {link[0]: link for link in workflow["links"]}
    made = {}
    for node in workflow["nodes"]:
        if node["type"] in ("Note", "MarkdownNote"):
            continue
        inputs, values = {}, list(node["widgets_values"])
        for name, (kind, options, _) in inputs_of(node["type"]).items():
            if (options.get("widgetType") or kind) in WIDGETS and not options.get("forceInput"):
                value = values.pop(0)
                inputs[name] = {"__value__": value} if isinstance(value, list) else value
                if options.get("control_after_generate"):
                    assert values.pop(0) in ("fixed", "increment", "decrement", "randomize"), node["type"]
                if options.get("image_upload"):
                    assert values.pop(0) == "image"
        assert not values, f"{node['type']} has {len(values)} widget values too many"
        for socket in node["inputs"]:
            if socket.get("link") is not None:
                link = links[socket["link"]]
                inputs[socket["name"]] = [str(link[1]), link[2]]
        made[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return made


def faults(workflow: dict) -> list[str]:
    """What a server would refuse, and what it would silently not run. Empty: valid."""
    found = []
    wanted = {node for node, entry in workflow.items() if INFO[entry["class_type"]]["output_node"]}
    if not wanted:
        found.append("no output node")
    for node, entry in workflow.items():
        known = inputs_of(entry["class_type"])
        where = f"{node} ({entry['class_type']})"
        found += [f"{where}: unknown input {n}" for n in set(entry["inputs"]) - set(known)]
        for name, (kind, options, required) in known.items():
            if name not in entry["inputs"]:
                found += [f"{where}: {name} is missing"] if required else []
                continue
            found += [f"{where}.{name}: {fault}" for fault in value_faults(entry["inputs"][name], kind, options,
                                                                            workflow, name)]
    reached, todo = set(), list(wanted)
    while todo:
        node = todo.pop()
        if node not in reached:
            reached.add(node)
            todo += [v[0] for v in workflow[node]["inputs"].values() if isinstance(v, list) and v[0] in workflow]
    return found + [f"{node} leads to no output" for node in set(workflow) - reached]


def value_faults(value, kind, options, workflow, name) -> list[str]:
    if isinstance(value, list):
        if len(value) != 2 or value[0] not in workflow:
            return [f"bad link {value}"]
        given = INFO[workflow[value[0]]["class_type"]]["output"]
        if value[1] >= len(given):
            return [f"node {value[0]} has no output {value[1]}"]
        return [] if set(given[value[1]].split(",")) & set(kind.split(",")) or "*" in (given[value[1]], kind) \
            else [f"{given[value[1]]} does not fit {kind}"]
    if kind in ("INT", "FLOAT"):
        if isinstance(value, bool) or not isinstance(value, int if kind == "INT" else (int, float)):
            return [f"{value!r} is no {kind}"]
        return [] if options.get("min", value) <= value <= options.get("max", value) else [f"{value} is out of range"]
    if kind == "COMBO":
        return [] if value in options["options"] or name in FILES else [f"{value!r} is no option"]
    if kind == "BOOLEAN":
        return [] if isinstance(value, bool) else [f"{value!r} is no BOOLEAN"]
    if "STRING" in kind.split(","):
        return [] if isinstance(value, str) else [f"{value!r} is no text"]
    if kind == "BOUNDING_BOXES":
        return [] if isinstance(value, dict) and isinstance(value.get("__value__"), list) else ["not wrapped"]
    return [f"a {kind} must be linked, got {value!r}"]


def test_there_are_the_promised_ones():
    """Demo, checkpoint + LoRA, planner without and with a key, composable, two conditions, style and attribute."""
    words = ("demo", "checkpoint_lora", "planner_offline", "planner_gemini", "composable", "two_conditions",
             "style_and_attribute")  # fmt: skip
    assert not [w for w in words if not any(w in name for name in NAMES)]
    assert {p.stem for p in (FOLDER / "api").glob("*.json")} == {f"{name}_api" for name in NAMES}


def test_the_host_serves_them_as_templates():
    """The host serves the first of these folders at one address; a second one would hide the workflows."""
    served = ("example_workflows", "example", "examples", "workflow", "workflows")
    assert [name for name in served if (ROOT / name).exists()] == ["workflows"]


@pytest.mark.parametrize("name", NAMES)
def test_the_twin_is_what_the_browser_would_post(name):
    twin = {node: {key: entry[key] for key in ("class_type", "inputs")} for node, entry in api(name).items()}
    assert convert(ui(name)) == twin


@pytest.mark.parametrize("name", NAMES)
def test_the_twin_is_valid(name):
    assert faults(api(name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_our_nodes_accept_their_widgets(name):
    for entry in api(name).values():
        if entry["class_type"] in OURS:
            widgets = {k: v["__value__"] if isinstance(v, dict) else v for k, v in entry["inputs"].items()
                       if not isinstance(v, list)}
            assert validate(entry["class_type"], **widgets) is True


@pytest.mark.parametrize("name", NAMES)
def test_the_browsers_form_is_whole(name):
    workflow = ui(name)
    ids = [node["id"] for node in workflow["nodes"]]
    nodes = dict(zip(ids, workflow["nodes"], strict=True))
    assert workflow["version"] == 0.4 and len(set(ids)) == len(ids) and workflow["last_node_id"] == max(ids)
    links = {link[0]: link for link in workflow["links"]}
    assert workflow["last_link_id"] == max(links)
    seen = set()
    for number, source, out, target, slot, kind in workflow["links"]:
        assert number in nodes[source]["outputs"][out]["links"]
        assert nodes[source]["outputs"][out]["type"] == kind
        assert nodes[target]["inputs"][slot]["link"] == number
        seen.add((target, slot))
    ends = {(n["id"], i) for n in workflow["nodes"] for i, s in enumerate(n["inputs"]) if s.get("link") is not None}
    assert ends == seen
    for node in workflow["nodes"]:
        if node["type"] in INFO:
            assert [o["name"] for o in node["outputs"]] == INFO[node["type"]]["output_name"]
            assert {s["name"] for s in node["inputs"]} == set(inputs_of(node["type"]))


@pytest.mark.parametrize("name", NAMES)
def test_nodes_do_not_cover_each_other(name):
    boxes = [(n["id"], *n["pos"], n["pos"][0] + n["size"][0], n["pos"][1] + n["size"][1]) for n in ui(name)["nodes"]]
    over = [(a[0], b[0]) for i, a in enumerate(boxes) for b in boxes[i + 1:]
            if a[1] < b[3] and b[1] < a[3] and a[2] - 30 < b[4] and b[2] - 30 < a[4]]
    assert not over, f"nodes lie on each other: {over}"


@pytest.mark.parametrize("name", NAMES)
def test_thumbnail(name):
    from PIL import Image

    with Image.open(FOLDER / f"{name}.jpg") as picture:
        assert picture.format == "JPEG" and min(picture.size) >= 256
        assert (FOLDER / f"{name}.jpg").stat().st_size < 200_000
        assert picture.convert("L").getextrema()[1] - picture.convert("L").getextrema()[0] > 60, "an empty picture"


@pytest.mark.parametrize("name", NAMES)
def test_the_workflow_is_what_its_source_writes(name):
    from tools.workflows.__main__ import build

    graph = build(name)
    assert json.loads(json.dumps(graph.ui())) == ui(name) and json.loads(json.dumps(graph.api())) == api(name)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_private_is_in_it(name):
    text = (FOLDER / f"{name}.json").read_text() + (FOLDER / "api" / f"{name}_api.json").read_text()
    assert not [w for w in ("/home/", "/root/", "/work/", "C:\\\\", "api_key", "AIza", "localhost", "127.0.0.1")
                if w in text]


BROKEN = [
    ({"steps": 999}, "out of range"), ({"preset": "nice"}, "is no option"), ({"model": ["3", 0]}, "does not fit"),
    ({"layout": ["99", 0]}, "bad link"), ({"cfg": "high"}, "is no FLOAT"), ({"vae": 5}, "must be linked"),
    ({"nonsense": 1}, "unknown input"), ({"positive": ["3", 4]}, "has no output"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN)
def test_the_check_finds_faults(change, message):
    workflow = api("sow_1_demo")
    sampler = next(e for e in workflow.values() if e["class_type"] == "SOW_KSampler")
    sampler["inputs"].update(change)
    assert any(message in fault for fault in faults(workflow))


def test_the_check_finds_what_is_missing_and_what_leads_nowhere():
    workflow = api("sow_1_demo")
    sampler = next(e for e in workflow.values() if e["class_type"] == "SOW_KSampler")
    del sampler["inputs"]["layout"]
    found = faults(workflow)
    assert any("layout is missing" in f for f in found) and any("leads to no output" in f for f in found)
