"""The shapes of a ComfyUI server's answers, as far as they are read here. Whatever else it says is ignored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from ..outside.records import Length

Name = Annotated[str, Length(1, 1000)]


@dataclass(frozen=True)
class Queued:
    """POST /prompt. node_errors: of the branches that were left out; read by `refusals`."""

    prompt_id: Name
    node_errors: Any = None


@dataclass(frozen=True)
class Uploaded:
    """POST /upload/image."""

    name: Name
    subfolder: Annotated[str, Length(most=1000)] | None = None


@dataclass(frozen=True)
class Queue:
    """GET /queue: items [number, prompt id, ...]."""

    queue_running: list[list[Any]] = field(default_factory=list)
    queue_pending: list[list[Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Status:
    """How a run ended. messages: [kind, data] pairs."""

    status_str: str | None = None
    messages: list[Any] | None = None


@dataclass(frozen=True)
class Finished:
    """An entry of GET /history. outputs: what each node reported, by media."""

    outputs: dict[str, dict[str, Any] | None] | None = None
    status: Status | None = None


@dataclass(frozen=True)
class OutputFile:
    """A file that a node reported; GET /view brings it."""

    filename: Name
    subfolder: Annotated[str, Length(most=1000)] = ""
    type: Annotated[str, Length(most=40)] = "output"


@dataclass(frozen=True)
class InputError:
    """One mistake that the server's validation found in a node."""

    type: str | None = None
    message: str | None = None
    details: str | None = None
    extra_info: dict[str, Any] | None = None


@dataclass(frozen=True)
class NodeErrors:
    """All of a node."""

    errors: list[InputError]


@dataclass(frozen=True)
class Refusal:
    """The body of a refused POST /prompt."""

    error: InputError | str | None = None
    node_errors: Any = None


@dataclass(frozen=True)
class Failure:
    """The data of the messages execution_error and execution_interrupted."""

    node_id: str | int | None = None
    exception_type: str | None = None
    exception_message: str | None = None


@dataclass(frozen=True)
class Progress:
    """The data of the websocket's messages `executing` and `progress`."""

    prompt_id: str | None = None
    node: str | int | None = None
    value: float = 0
    max: float = 0
