"""Every workflow: whole, valid against the committed object_info, equal to its API twin, with a thumbnail.

The conversion from the browser's form is written here from the host's rules, apart from the code that writes
the workflows, so that a mistake there is seen.
"""

from __future__ import annotations

import json

import pytest

from .pack import ROOT, node_list, part

FOLDER = ROOT / "workflows"
NAMES = sorted(p.stem for p in FOLDER.glob("*.json"))
INFO = json.loads((ROOT / "tests" / "nodes" / "golden" / "object_info.json").read_text(encoding="utf-8"))
DRAWN = "BOUNDING_BOXES"
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", DRAWN}
FILES = {"ckpt_name", "lora_name", "image", "unet_name", "clip_name", "clip_name1", "clip_name2", "vae_name"}
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
    """The browser's workflow as the browser would post it, less the drawn boxes: `bboxes` says the same in the twin."""
    links = {link[0]: link for link in workflow["links"]}
    made = {}
    for node in workflow["nodes"]:
        if node["type"] in ("Note", "MarkdownNote"):
            continue
        inputs, values = {}, list(node["widgets_values"])
        for name, (kind, options, _) in inputs_of(node["type"]).items():
            if (options.get("widgetType") or kind) in WIDGETS and not options.get("forceInput"):
                value = values.pop(0)
                if kind != DRAWN:
                    inputs[name] = value
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
    return [f"a {kind} must be linked, got {value!r}"]


def test_there_are_the_promised_ones():
    """Demo, checkpoint + LoRA, planner without and with a key, composable, two conditions, style and attribute."""
    words = ("keep_a_face", "checkpoint_lora", "planned_by_rules", "planned_by_gemini", "custom_sampling", "two_faces",
             "attribute_style")  # fmt: skip
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
def test_both_canvases_show_the_same_boxes(name):
    """The classic canvas shows the text only, Nodes 2.0 draws: moving either must count."""
    boxes = part("nodes.boxes")
    for entry in (n for n in ui(name)["nodes"] if n["type"] == "SOW_Layout"):
        width, height, *_, drawn, text, _ = entry["widgets_values"]
        typed = boxes.parse_boxes(text, width, height)
        assert boxes.parse_boxes(drawn, width, height) == typed
        assert boxes.placement_of(typed) if typed else any(s["name"] == "plan" and s["link"] for s in entry["inputs"])
        if typed:
            drawn[0]["x"] += 8
            assert boxes.choose(text, drawn, width, height).boxes == boxes.parse_boxes(drawn, width, height)
            drawn[0]["x"] -= 8
            moved = text.replace(text.split(",")[0], "0.03", 1)
            assert boxes.choose(moved, drawn, width, height).boxes == boxes.parse_boxes(moved, width, height)


def test_what_runs_as_it_is_comes_first():
    """The template browser lists the names in their order."""
    free = [name for name in NAMES if "no_download" in name]
    assert NAMES[: len(free)] == free and NAMES[0] == "01_keep_a_face_no_download"
    for name in NAMES:
        loads = any(n["type"] in ("CheckpointLoaderSimple", "UNETLoader") for n in ui(name)["nodes"])
        assert loads != (name in free), name


@pytest.mark.parametrize("name", NAMES)
def test_every_node_stands_in_a_group_with_a_heading(name):
    workflow = ui(name)
    frames = [group["bounding"] for group in workflow["groups"] if group["title"]]
    for entry in workflow["nodes"]:
        (x, y), (w, h) = entry["pos"], entry["size"]
        inside = [f for f in frames if f[0] <= x and f[1] <= y - 30 and x + w <= f[0] + f[2] and y + h <= f[1] + f[3]]
        assert len(inside) == (0 if entry["type"] == "MarkdownNote" else 1), (entry["id"], entry["type"])
    (note,) = [n for n in workflow["nodes"] if n["type"] == "MarkdownNote"]
    assert note["widgets_values"][0].startswith("## ") and "\n1. " in note["widgets_values"][0]
    assert not [(a, b) for i, a in enumerate(frames) for b in frames[i + 1:]
                if a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]]


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
    ({"nonsense": 1}, "unknown input"), ({"positive": ["4", 4]}, "has no output"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN)
def test_the_check_finds_faults(change, message):
    workflow = api("01_keep_a_face_no_download")
    sampler = next(e for e in workflow.values() if e["class_type"] == "SOW_KSampler")
    sampler["inputs"].update(change)
    assert any(message in fault for fault in faults(workflow))


def test_the_check_finds_what_is_missing_and_what_leads_nowhere():
    workflow = api("01_keep_a_face_no_download")
    sampler = next(e for e in workflow.values() if e["class_type"] == "SOW_KSampler")
    del sampler["inputs"]["positive"]
    found = faults(workflow)
    assert any("positive is missing" in f for f in found) and any("leads to no output" in f for f in found)
