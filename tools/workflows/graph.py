"""A small graph that is written as a workflow for ComfyUI's browser and as its API twin.

The node definitions come from an object_info (the committed one, taken from a real server), so that sockets,
widget order and defaults are the host's and not guesses.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "BOUNDING_BOXES"}
DRAWN = "BOUNDING_BOXES"
MARGIN, HEADING = 24, 84
"""Px that a group's frame leaves around its nodes, and above them for their titles and its own."""
CONTROL = "control_after_generate"
NAMESPACE = uuid.UUID("7d0d3c1e-5a8b-4f55-9f0e-6a1f2b3c4d5e")
"""Workflow ids are made from their names, so that writing them again changes nothing."""


class Spec(NamedTuple):
    """One input of a node definition."""

    name: str
    type: str
    options: dict[str, Any]

    @property
    def widget(self) -> bool:
        kind = self.options.get("widgetType") or self.type
        return (isinstance(kind, list) or kind in WIDGET_TYPES) and not self.options.get("forceInput")

    @property
    def default(self) -> Any:
        if "default" in self.options:
            return self.options["default"]
        choices = self.type if isinstance(self.type, list) else self.options.get("options")
        return choices[0] if choices else {"INT": 0, "FLOAT": 0.0, "BOOLEAN": False}.get(str(self.type), "")


def specs(definition: dict[str, Any]) -> list[Spec]:
    """The inputs in the host's order: required ones, then optional ones."""
    found = []
    for group in ("required", "optional"):
        for name, value in definition["input"].get(group, {}).items():
            found.append(Spec(name, value[0], value[1] if len(value) > 1 else {}))
    return found


def widget_values(definition: dict[str, Any], values: dict[str, Any]) -> list[Any]:
    """The browser's positional list: one value per widget, and one more behind a seed."""
    made: list[Any] = []
    for spec in specs(definition):
        if not spec.widget:
            continue
        made.append(values.get(spec.name, spec.default))
        if spec.options.get(CONTROL):
            made.append(values.get(f"{spec.name}:{CONTROL}", "fixed"))
        if spec.options.get("image_upload"):
            made.append("image")  # the upload button is a widget of its own
    return made


@dataclass
class Output:
    node: Node
    slot: int


@dataclass
class Node:
    graph: Graph
    id: int
    type: str
    title: str
    values: dict[str, Any]
    links: dict[str, Output]
    position: tuple[int, int]
    size: tuple[int, int]

    def out(self, name: str | int = 0) -> Output:
        """An output by its name (as /object_info gives it) or its number."""
        names = self.graph.info[self.type]["output_name"]
        return Output(self, name if isinstance(name, int) else names.index(name))


@dataclass
class Graph:
    name: str
    info: dict[str, Any]
    nodes: list[Node] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    groups: list[dict[str, Any]] = field(default_factory=list)

    def add(self, type_: str, position: tuple[int, int], size: tuple[int, int] = (300, 130), title: str = "",
            /, **inputs: Any) -> Node:
        """A node; an input that is an Output is a link, anything else a widget's value."""
        definition = self.info[type_]
        known = {s.name: s for s in specs(definition)}
        control = inputs.pop("seed_control", None)
        unknown = set(inputs) - set(known)
        if unknown:
            raise ValueError(f"{type_} has no input {unknown}")
        links = {k: v for k, v in inputs.items() if isinstance(v, Output)}
        values = {k: v for k, v in inputs.items() if not isinstance(v, Output)}
        if control:
            values[f"seed:{CONTROL}"] = control
        node = Node(self, len(self.nodes) + 1, type_, title, values, links, position, size)
        self.nodes.append(node)
        return node

    def note(self, text: str, position: tuple[int, int], size: tuple[int, int] = (420, 220)) -> None:
        """A note for people; it has no part in the run."""
        self.notes.append({"text": text, "position": position, "size": size})

    def group(self, title: str, nodes: Sequence[Node], colour: str) -> None:
        """A frame with a heading around nodes."""
        left, top = (min(n.position[i] for n in nodes) for i in (0, 1))
        right, bottom = (max(n.position[i] + n.size[i] for n in nodes) for i in (0, 1))
        bounds = [left - MARGIN, top - HEADING, right - left + 2 * MARGIN, bottom - top + HEADING + MARGIN]
        self.groups.append({"id": len(self.groups) + 1, "title": title, "bounding": bounds, "color": colour,
                            "font_size": 24, "flags": {}})  # fmt: skip

    def api(self) -> dict[str, Any]:
        """The API twin: every widget's value, every link. Lists are wrapped: the host reads bare ones as links.

        Drawn boxes are left out: the text in `bboxes` says the same, and a front end that is handed the twin could
        not read them back.
        """
        made = {}
        for node in self.nodes:
            definition = self.info[node.type]
            inputs: dict[str, Any] = {}
            for spec in specs(definition):
                if spec.name in node.links:
                    source = node.links[spec.name]
                    inputs[spec.name] = [str(source.node.id), source.slot]
                elif spec.widget and spec.type != DRAWN:
                    value = node.values.get(spec.name, spec.default)
                    inputs[spec.name] = value
            made[str(node.id)] = {"class_type": node.type, "inputs": inputs,
                                  "_meta": {"title": node.title or definition["display_name"] or node.type}}
        return made

    def ui(self) -> dict[str, Any]:
        """The browser's workflow (schema 0.4)."""
        links, outgoing = self._links()
        nodes = [self._ui_node(node, order, links, outgoing) for order, node in enumerate(self.nodes)]
        last = len(nodes)
        for index, note in enumerate(self.notes, start=1):
            nodes.append({
                "id": last + index, "type": "MarkdownNote", "pos": list(note["position"]), "size": list(note["size"]),
                "flags": {}, "order": last + index - 1, "mode": 0, "inputs": [], "outputs": [], "properties": {},
                "widgets_values": [note["text"]], "color": "#432", "bgcolor": "#653",
            })  # fmt: skip
        return {
            "id": str(uuid.uuid5(NAMESPACE, self.name)), "revision": 0, "last_node_id": last + len(self.notes),
            "last_link_id": len(links), "nodes": nodes, "links": list(links.values()), "groups": self.groups,
            "config": {},
            "extra": {"ds": {"scale": 0.6, "offset": [640, 200]}}, "version": 0.4,
        }  # fmt: skip

    def _links(self) -> tuple[dict[tuple[int, str], list[Any]], dict[tuple[int, int], list[int]]]:
        links: dict[tuple[int, str], list[Any]] = {}
        outgoing: dict[tuple[int, int], list[int]] = {}
        for node in self.nodes:
            order = self._sockets(node)
            for name, source in node.links.items():
                number = len(links) + 1
                kind = self.info[source.node.type]["output"][source.slot]
                slot = [s.name for s in order].index(name)
                links[node.id, name] = [number, source.node.id, source.slot, node.id, slot, kind]
                outgoing.setdefault((source.node.id, source.slot), []).append(number)
        return links, outgoing

    def _sockets(self, node: Node) -> list[Spec]:
        """The browser lists plain sockets first, then those of widgets."""
        found = specs(self.info[node.type])
        return [s for s in found if not s.widget] + [s for s in found if s.widget]

    def _ui_node(self, node: Node, order: int, links: dict, outgoing: dict) -> dict[str, Any]:
        definition = self.info[node.type]
        inputs = []
        for spec in self._sockets(node):
            kind = "COMBO" if isinstance(spec.type, list) else spec.type
            link = links.get((node.id, spec.name))
            entry: dict[str, Any] = {"name": spec.name, "type": kind, "link": link[0] if link else None}
            if spec.name in definition["input"].get("optional", {}):
                entry["shape"] = 7
            if spec.widget:
                entry["widget"] = {"name": spec.name}
            inputs.append(entry)
        outputs = [
            {"name": name, "type": kind, "links": outgoing.get((node.id, slot))}
            for slot, (name, kind) in enumerate(zip(definition["output_name"], definition["output"], strict=True))
        ]
        pack = "comfyui-sow" if definition["python_module"].startswith("custom_nodes") else "comfy-core"
        made = {
            "id": node.id, "type": node.type, "pos": list(node.position), "size": list(node.size), "flags": {},
            "order": order, "mode": 0, "inputs": inputs, "outputs": outputs,
            "properties": {"cnr_id": pack, "Node name for S&R": node.type},
            "widgets_values": widget_values(definition, node.values),
        }  # fmt: skip
        if node.title:
            made["title"] = node.title
        return made
