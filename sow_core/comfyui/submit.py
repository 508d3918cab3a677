"""Running an API workflow on a ComfyUI server: its pictures there, its results here."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any, TextIO

from ..errors import SowError
from ..outside.text import one_line, shown
from .client import ComfyClient, MessageStream, ServerRefused
from .progress import ProgressLine
from .refusals import describe_refusal, validation_lines
from .workflow import Workflow, title_of

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
POLL_SECONDS = 1.0
"""How long to wait for a message before asking the server itself how the run stands."""

FLOOD_SECONDS = 5.0
"""How often the server is asked however many messages come."""


def upload_images(
    client: ComfyClient, workflow: Workflow, folder: Path, changed: set[tuple[str, str]], log: TextIO
) -> None:
    """Upload the pictures that image inputs name and that lie here, and put the server's names in place.

    A name is looked for from the working directory, then beside the workflow. A name that is not here is
    left alone, since the server may have that file, unless --set gave it: then it is an error. Only inputs
    that the server itself declares as picture uploads are looked at, so that a workflow from a stranger
    cannot make this send other files.
    """
    uploaded: dict[str, str] = {}
    for node, entry in workflow.items():
        for key, value in entry["inputs"].items():
            if not isinstance(value, str) or Path(value).suffix.lower() not in IMAGE_SUFFIXES:
                continue
            # os.path.isfile: a name that no file system takes is no file, without an exception
            path = next((p for p in (Path(value), folder / value) if os.path.isfile(p)), None)
            if path is None and (node, key) not in changed:
                continue
            if not _takes_upload(client, entry["class_type"], key):
                continue
            if path is None:
                raise SowError(f"--set: there is no picture {shown(value)} for node {title_of(workflow, node)}.")
            real = os.path.realpath(path)
            if real not in uploaded:
                print(f"uploading {one_line(path)}", file=log)
                uploaded[real] = client.upload_image(path)
            entry["inputs"][key] = uploaded[real]


def _takes_upload(client: ComfyClient, class_type: str, key: str) -> bool:
    declared = client.node_inputs(class_type).get(key)
    options = declared[1] if isinstance(declared, list) and len(declared) > 1 else None
    return isinstance(options, dict) and bool(options.get("image_upload"))


def execute(client: ComfyClient, workflow: Workflow, log: TextIO, timeout: float | None = None) -> dict[str, Any]:
    """Queue the workflow, show its progress on `log`, and return its history entry.

    Raises SowError if the server refuses it or `timeout` seconds pass (the run is then cancelled, as it is
    on Ctrl-C).
    """
    prompt_id = ""
    with client.messages() as stream:
        try:
            prompt_id, left_out = _queue(client, workflow)
            for line in validation_lines(left_out, workflow):
                print(f"warning: a branch was left out: {line}", file=log)
            return _follow(client, stream, prompt_id, workflow, log, timeout)
        except BaseException:
            if prompt_id:
                with contextlib.suppress(SowError):
                    client.cancel(prompt_id)
            raise


def _queue(client: ComfyClient, workflow: Workflow) -> tuple[str, Any]:
    try:
        return client.queue(workflow)
    except ServerRefused as error:
        raise SowError(describe_refusal(error, workflow)) from error


def _follow(
    client: ComfyClient,
    stream: MessageStream,
    prompt_id: str,
    workflow: Workflow,
    log: TextIO,
    timeout: float | None,
) -> dict[str, Any]:
    start = asked = time.monotonic()
    bar = ProgressLine(log, workflow)
    if not stream.live:
        print("no websocket: following the run by polling (pip install websockets for a progress bar)", file=log)
    seen_waiting = True
    try:
        while True:
            message = stream.next(POLL_SECONDS)
            now = time.monotonic()
            if timeout is not None and now - start > timeout:
                raise SowError(f"The run took longer than {timeout:g} s and was cancelled; raise --timeout.")
            if message is not None and bar.show(message, prompt_id) and now - asked < FLOOD_SECONDS:
                continue
            # Nothing for a while, or the run ended: the history decides, whatever the socket missed.
            asked = now
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
