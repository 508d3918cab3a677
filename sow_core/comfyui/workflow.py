"""API workflows from files: read, checked, and changed by what a user types. A workflow may be a stranger's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SowError
from ..outside.reading import parse_json, read_json_file
from ..outside.records import read_record
from ..outside.text import one_line, shown

Workflow = dict[str, Any]
"""API format: {node id: {"class_type": str, "inputs": {name: value or [node id, output index]}}}"""


@dataclass(frozen=True)
class Node:
    """What a node of an API workflow needs."""

    class_type: str
    inputs: dict[str, Any]


def load_workflow(path: Path) -> Workflow:
    """Read an API workflow. Raises SowError for a missing file, bad JSON, or the browser's own format."""
    data, name = read_json_file(path, "the workflow"), one_line(path)
    if isinstance(data, dict) and isinstance(data.get("prompt"), dict):
        data = data["prompt"]  # the body that a browser posts
    if isinstance(data, dict) and isinstance(data.get("nodes"), list):
        raise SowError(
            f"{name} is a workflow for the browser; export it with Workflow > Export (API), "
            "or use its twin in workflows/api."
        )
    if not isinstance(data, dict) or not data:
        raise SowError(f"{name} is not an API workflow: expected {{node id: {{class_type, inputs}}}}.")
    for node, entry in data.items():
        read_record(Node, entry, f"{name} is not an API workflow: node {shown(node)}")
    return data


def title_of(workflow: Workflow, node: object) -> str:
    """How a message names a node: `5 (SOW KSampler)`, on one line."""
    entry = workflow.get(str(node), {})
    meta = entry.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    name = title if isinstance(title, str) and title.strip() else entry.get("class_type")
    return one_line(f"{node} ({name})" if name else node, 80)


def find_node(workflow: Workflow, name: str) -> str:
    """The id of the node with this id, title or class name. Raises SowError if none or several have it."""
    if name in workflow:
        return name
    found = []
    for node, entry in workflow.items():
        meta = entry.get("_meta")
        if name in (meta.get("title") if isinstance(meta, dict) else None, entry["class_type"]):
            found.append(node)
    if len(found) == 1:
        return found[0]
    if found:
        raise SowError(f"--set: {shown(name)} names {len(found)} nodes; use one of the ids {', '.join(found)}.")
    known = ", ".join(title_of(workflow, node) for node in workflow)
    raise SowError(f"--set: no node {shown(name)} in the workflow; it has {known}.")


def assign(workflow: Workflow, assignments: list[str]) -> set[tuple[str, str]]:
    """Apply `NODE.INPUT=VALUE` texts in place; returns the (node, input) pairs that were set.

    A value keeps the kind of what it replaces: text stays text, a number must be a number. A list or an
    object is given as JSON; ComfyUI reads a bare list as a link, so it is wrapped as the host expects.
    """
    changed = set()
    for text in assignments:
        target, separator, raw = text.partition("=")
        name, dot, key = target.strip().rpartition(".")
        if not separator or not dot or not name or not key:
            raise SowError(f"Bad --set {shown(text)}: expected NODE.INPUT=VALUE, for example 3.seed=7.")
        node = find_node(workflow, name)
        inputs = workflow[node]["inputs"]
        if key not in inputs:
            raise SowError(
                f"--set: node {title_of(workflow, node)} has no input {shown(key)}; "
                f"it has {', '.join(inputs) or 'none'}."
            )
        inputs[key] = _typed(raw, inputs[key], text)
        changed.add((node, key))
    return changed


def _typed(raw: str, old: Any, text: str) -> Any:
    value: Any = raw
    if not isinstance(old, str):
        try:
            value = parse_json(raw, "the value")
        except SowError:
            pass  # a bare word
    if isinstance(old, bool) and not isinstance(value, bool):
        raise SowError(f"Bad --set {shown(text)}: expected true or false.")
    if (
        isinstance(old, (int, float))
        and not isinstance(old, bool)
        and (isinstance(value, bool) or not isinstance(value, (int, float)))
    ):
        raise SowError(f"Bad --set {shown(text)}: expected a number.")
    return {"__value__": value} if isinstance(value, list) else value
