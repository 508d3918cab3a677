"""`python -m sow_core submit`: run an API workflow on a ComfyUI server and bring its pictures here."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from ..errors import SowError
from ..files import atomic_write
from .client import ComfyClient, MessageStream, ServerRefused

Workflow = dict[str, Any]
"""API format: {node id: {"class_type": str, "inputs": {name: value or [node id, output index]}}}"""

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
POLL_SECONDS = 1.0
"""How long to wait for a message before asking the server itself how the run stands."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workflow", metavar="WORKFLOW_api.json",
                        help="a workflow in API format (in ComfyUI: Workflow > Export (API))")
    parser.add_argument("--server", default="http://127.0.0.1:8188", metavar="URL",
                        help="the ComfyUI server (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="NODE.INPUT=VALUE", dest="assignments",
                        help="change an input; NODE is an id, a title or a class name that occurs once; repeatable")
    parser.add_argument("--out", default=".", metavar="DIR", help="folder for the results (default: here)")
    parser.add_argument("--timeout", type=float, default=None, metavar="SECONDS",
                        help="cancel the run after this long, waiting in the queue included (default: never)")


def run(args: argparse.Namespace) -> int:
    """0: done, the saved files' paths on stdout. 1: a node failed. Raises SowError for bad input."""
    source = Path(args.workflow)
    workflow = load_workflow(source)
    changed = assign(workflow, args.assignments)
    folder = Path(args.out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SowError(f"Cannot make the folder {folder}: {error.strerror or error}.") from error
    client = ComfyClient(args.server)
    upload_images(client, workflow, source.resolve().parent, changed, sys.stderr)
    entry = execute(client, workflow, sys.stderr, args.timeout)
    failure = describe_failure(entry, workflow)
    if failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    saved = save_outputs(client, entry, folder)
    for path in saved:
        print(path)
    if not saved:
        print("The run ended without a picture: add a Save Image node to the workflow.", file=sys.stderr)
    return 0


def load_workflow(path: Path) -> Workflow:
    """Read an API workflow. Raises SowError for a missing file, bad JSON, or the browser's own format."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SowError(f"Cannot read {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise SowError(f"{path} is not JSON ({error}).") from error
    if isinstance(data, dict) and isinstance(data.get("prompt"), dict):
        data = data["prompt"]  # the body that a browser posts
    if isinstance(data, dict) and isinstance(data.get("nodes"), list):
        raise SowError(f"{path} is a workflow for the browser; export it with Workflow > Export (API), "
                       "or use its twin in workflows/api.")
    if not isinstance(data, dict) or not data:
        raise SowError(f"{path} is not an API workflow: expected {{node id: {{class_type, inputs}}}}.")
    for node, entry in data.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("class_type"), str) \
                or not isinstance(entry.get("inputs"), dict):
            raise SowError(f"{path} is not an API workflow: node {node!r} has no class_type and inputs.")
    return data


def is_link(value: Any) -> bool:
    """Whether an input's value is a link [node id, output index] and not a value."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


def title_of(workflow: Workflow, node: str) -> str:
    """How a message names a node: `5 (SOW KSampler)`."""
    entry = workflow.get(node, {})
    title = entry.get("_meta", {}).get("title") or entry.get("class_type")
    return f"{node} ({title})" if title else node


def find_node(workflow: Workflow, name: str) -> str:
    """The id of the node with this id, title or class name. Raises SowError if none or several have it."""
    if name in workflow:
        return name
    found = [node for node, entry in workflow.items()
             if name in (entry.get("_meta", {}).get("title"), entry["class_type"])]
    if len(found) == 1:
        return found[0]
    if found:
        raise SowError(f"--set: {name!r} names {len(found)} nodes; use one of the ids {', '.join(found)}.")
    known = ", ".join(title_of(workflow, node) for node in workflow)
    raise SowError(f"--set: no node {name!r} in the workflow; it has {known}.")


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
            raise SowError(f"Bad --set {text!r}: expected NODE.INPUT=VALUE, for example 3.seed=7.")
        node = find_node(workflow, name)
        inputs = workflow[node]["inputs"]
        if key not in inputs:
            raise SowError(f"--set: node {title_of(workflow, node)} has no input {key!r}; "
                           f"it has {', '.join(inputs) or 'none'}.")
        inputs[key] = _typed(raw, inputs[key], text)
        changed.add((node, key))
    return changed


def _typed(raw: str, old: Any, text: str) -> Any:
    if isinstance(old, str):
        return raw
    try:
        value = json.loads(raw)
    except ValueError:
        value = raw
    if isinstance(old, bool) and not isinstance(value, bool):
        raise SowError(f"Bad --set {text!r}: expected true or false.")
    if isinstance(old, (int, float)) and not isinstance(old, bool) \
            and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise SowError(f"Bad --set {text!r}: expected a number.")
    return {"__value__": value} if isinstance(value, list) else value


def upload_images(client: ComfyClient, workflow: Workflow, folder: Path, changed: set[tuple[str, str]],
                  log: TextIO) -> None:
    """Upload the pictures that image inputs name and that lie here, and put the server's names in place.

    A name is looked for from the working directory, then beside the workflow. A name that is not here is
    left alone, since the server may have that file, unless --set gave it: then it is an error. Only inputs
    that the server itself declares as picture uploads are looked at, so that a workflow from a stranger
    cannot make this send other files.
    """
    uploaded: dict[Path, str] = {}
    for node, entry in workflow.items():
        for key, value in entry["inputs"].items():
            if not isinstance(value, str) or Path(value).suffix.lower() not in IMAGE_SUFFIXES:
                continue
            path = next((p for p in (Path(value), folder / value) if p.is_file()), None)
            if path is None and (node, key) not in changed:
                continue
            if not _takes_upload(client, entry["class_type"], key):
                continue
            if path is None:
                raise SowError(f"--set: there is no picture {value!r} for node {title_of(workflow, node)}.")
            real = path.resolve()
            if real not in uploaded:
                print(f"uploading {path}", file=log)
                uploaded[real] = client.upload_image(path)
            entry["inputs"][key] = uploaded[real]


def _takes_upload(client: ComfyClient, class_type: str, key: str) -> bool:
    info = client.get(f"/object_info/{class_type}").get(class_type, {}).get("input", {})
    for group in ("required", "optional"):
        spec = info.get(group, {}).get(key)
        if spec and len(spec) > 1 and isinstance(spec[1], dict):
            return bool(spec[1].get("image_upload"))
    return False


def execute(client: ComfyClient, workflow: Workflow, log: TextIO, timeout: float | None = None) -> dict[str, Any]:
    """Queue the workflow, show its progress on `log`, and return its history entry.

    Raises SowError if the server refuses it or `timeout` seconds pass (the run is then cancelled, as it is
    on Ctrl-C).
    """
    with client.messages() as stream:
        try:
            prompt_id, left_out = client.queue(workflow)
        except ServerRefused as error:
            raise SowError(describe_refusal(error, workflow)) from error
        for line in validation_lines(left_out, workflow):
            print(f"warning: a branch was left out: {line}", file=log)
        try:
            return _follow(client, stream, prompt_id, workflow, log, timeout)
        except BaseException:
            with contextlib.suppress(SowError):
                client.cancel(prompt_id)
            raise


def _follow(client: ComfyClient, stream: MessageStream, prompt_id: str, workflow: Workflow, log: TextIO,
            timeout: float | None) -> dict[str, Any]:
    start = time.monotonic()
    bar = ProgressLine(log, workflow)
    if not stream.live:
        print("no websocket: following the run by polling (pip install websockets for a progress bar)", file=log)
    seen_waiting = True
    try:
        while True:
            message = stream.next(POLL_SECONDS)
            if timeout is not None and time.monotonic() - start > timeout:
                raise SowError(f"The run took longer than {timeout:g} s and was cancelled; raise --timeout.")
            if message is not None and bar.show(message, prompt_id):
                continue
            # Nothing for a while, or the run ended: the history decides, whatever the socket missed.
            entry = client.history(prompt_id)
            if entry is not None:
                return entry
            place = client.waiting(prompt_id)
            if place is None and not seen_waiting:
                entry = client.history(prompt_id)  # it may have ended between the two questions
                if entry is not None:
                    return entry
                raise SowError("The server no longer knows this run: it was deleted, or the server restarted.")
            seen_waiting = place is not None
            if place:
                bar.text(f"waiting, {place} before it")
    finally:
        bar.end()


class ProgressLine:
    """One line on a terminal that is drawn over; whole lines, one per node, where there is no terminal."""

    def __init__(self, log: TextIO, workflow: Workflow) -> None:
        self._log = log
        self._workflow = workflow
        self._terminal = log.isatty()
        self._width = 0
        self._last = ""

    def show(self, message: Mapping[str, Any], prompt_id: str) -> bool:
        """Draw a message of the server. False when it may mean that the run ended."""
        kind, data = message.get("type"), message.get("data")
        if not isinstance(data, dict) or data.get("prompt_id", prompt_id) != prompt_id:
            return True
        if kind in ("execution_success", "execution_error", "execution_interrupted"):
            return False
        if kind == "executing":
            if data.get("node") is None:
                return False
            self.text(title_of(self._workflow, str(data["node"])))
        elif kind == "progress":
            self._bar(str(data.get("node")), data.get("value", 0), data.get("max", 0))
        return True

    def _bar(self, node: str, value: float, total: float) -> None:
        if not self._terminal or not total:
            return
        filled = round(24 * min(value / total, 1.0))
        self._draw(f"{title_of(self._workflow, node)} [{'#' * filled}{'.' * (24 - filled)}] {value:g}/{total:g}")

    def text(self, text: str) -> None:
        if self._terminal:
            self._draw(text)
        elif text != self._last:
            print(text, file=self._log, flush=True)
        self._last = text

    def _draw(self, text: str) -> None:
        self._log.write("\r" + text.ljust(self._width))
        self._log.flush()
        self._width = len(text)

    def end(self) -> None:
        if self._terminal and self._width:
            self._log.write("\r" + " " * self._width + "\r")
            self._log.flush()


def validation_lines(node_errors: Mapping[str, Any], workflow: Workflow) -> list[str]:
    """One line for each mistake that the server's validation found, with its node and input."""
    lines: list[str] = []
    for node, entry in node_errors.items():
        for error in entry.get("errors", []):
            name = (error.get("extra_info") or {}).get("input_name")
            message, details = str(error.get("message", "")), str(error.get("details", ""))
            if error.get("type") == "custom_validation_failed":
                # The host repeats a node's own message once for every input, as "input - message".
                line = f"node {title_of(workflow, node)}: {details.partition(' - ')[2] or details}"
            else:
                reason = f"{message} ({details})" if details and details != name else message
                line = f"node {title_of(workflow, node)}, input {name}: {reason}" if name \
                    else f"node {title_of(workflow, node)}: {reason}"
            line = " ".join(line.split())
            if line not in lines:
                lines.append(line)
    return lines


def describe_refusal(error: ServerRefused, workflow: Workflow) -> str:
    """One line for a workflow that the server did not take."""
    body = error.body if isinstance(error.body, dict) else {}
    lines = validation_lines(body.get("node_errors") or {}, workflow)
    if lines:
        return "; ".join(lines)
    detail = body.get("error")
    if isinstance(detail, dict) and detail.get("message"):
        return " ".join(f"{detail['message']} {detail.get('details', '')}".split())
    return str(error)


def describe_failure(entry: Mapping[str, Any], workflow: Workflow) -> str | None:
    """One line for a run that failed or was cancelled, with its node; None for one that succeeded."""
    status = entry.get("status") or {}
    for kind, data in status.get("messages") or []:
        if kind == "execution_error":
            name = str(data.get("exception_type", "")).rpartition(".")[2]
            message = " ".join(str(data.get("exception_message", "")).split())
            # Our own errors are whole sentences for the user; of others the kind belongs to the message.
            text = message if name == "SowError" else f"{name}: {message}"
            return f"node {title_of(workflow, str(data.get('node_id')))}: {text}"
        if kind == "execution_interrupted":
            return f"cancelled on the server at node {title_of(workflow, str(data.get('node_id')))}"
    return None if status.get("status_str", "success") == "success" else "the server reports a failed run"


def output_files(entry: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The files {filename, subfolder, type} that a run's nodes reported, whatever their media."""
    for result in (entry.get("outputs") or {}).values():
        for values in result.values():
            for value in values if isinstance(values, (list, tuple)) else ():
                if isinstance(value, dict) and value.get("filename"):
                    yield value


def save_outputs(client: ComfyClient, entry: Mapping[str, Any], folder: Path) -> list[Path]:
    """Save a run's files into `folder`: what it saved on the server, or its previews if it saved nothing.

    Returns the paths. A file that is already there keeps its name and content; the new one gets a number.
    """
    files = list(output_files(entry))
    kept = [f for f in files if f.get("type") == "output"] or files
    saved = []
    for reference in kept:
        # Only the last part of the server's name is used: a server cannot choose a folder here.
        name = Path(str(reference["filename"]).replace("\\", "/")).name
        if name in ("", ".", ".."):
            continue
        target, number = folder / name, 1
        while target.exists():
            target, number = folder / f"{Path(name).stem}-{number}{Path(name).suffix}", number + 1
        saved.append(atomic_write(target, client.file(reference)))
    return saved
