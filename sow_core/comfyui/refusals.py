"""What a server says of a workflow that it did not take, or of a run that failed, as single lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from ..errors import SowError
from ..outside.records import read_record
from ..outside.text import one_line
from .answers import Failure, Finished, InputError, NodeErrors, Refusal
from .client import ServerRefused
from .workflow import Workflow, title_of

R = TypeVar("R")

MOST_LINES = 20
"""Mistakes that are told; a server can list any number."""


def _shaped(shape: type[R], value: Any) -> R | None:
    try:
        return read_record(shape, value)
    except SowError:
        return None


def validation_lines(node_errors: Any, workflow: Workflow) -> list[str]:
    """One line for each mistake that the server's validation found, with its node and input."""
    lines: dict[str, None] = {}
    for node, entry in node_errors.items() if isinstance(node_errors, Mapping) else ():
        found = _shaped(NodeErrors, entry)
        for error in found.errors if found else [InputError(message="refused")]:
            lines[_line(error, title_of(workflow, node))] = None
            if len(lines) == MOST_LINES:
                return [*lines, "and more"]
    return list(lines)


def _line(error: InputError, node: str) -> str:
    name = (error.extra_info or {}).get("input_name")
    message, details = error.message or "", error.details or ""
    if error.type == "custom_validation_failed":
        # The host repeats a node's own message once for every input, as "input - message".
        return one_line(f"node {node}: {details.partition(' - ')[2] or details}", 400)
    reason = f"{message} ({details})" if details and details != name else message
    place = f"node {node}, input {name}" if name else f"node {node}"
    return one_line(f"{place}: {reason}", 400)


def describe_refusal(error: ServerRefused, workflow: Workflow) -> str:
    """One line for a workflow that the server did not take."""
    refusal = _shaped(Refusal, error.body)
    if refusal is None:
        return str(error)
    lines = validation_lines(refusal.node_errors, workflow)
    if lines:
        return "; ".join(lines)
    detail = refusal.error
    if isinstance(detail, InputError) and detail.message:
        return one_line(f"{detail.message} {detail.details or ''}", 400)
    return str(error)


def describe_failure(entry: Mapping[str, Any], workflow: Workflow) -> str | None:
    """One line for a run that failed or was cancelled, with its node; None for one that succeeded."""
    status = read_record(Finished, dict(entry)).status
    if status is None:
        return None
    for message in status.messages or []:
        kind, data = message if isinstance(message, list) and len(message) == 2 else ("", None)
        failure = _shaped(Failure, data) or Failure()
        node = title_of(workflow, failure.node_id)
        if kind == "execution_error":
            name = (failure.exception_type or "").rpartition(".")[2]
            text = failure.exception_message or "no reason given"
            # Our own errors are whole sentences for the user; of others the kind belongs to the message.
            return one_line(f"node {node}: {text if name == 'SowError' or not name else f'{name}: {text}'}", 800)
        if kind == "execution_interrupted":
            return f"cancelled on the server at node {node}"
    return None if status.status_str in (None, "success") else "the server reports a failed run"
