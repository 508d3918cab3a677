"""`python -m sow_core submit`: run an API workflow on a ComfyUI server and bring its pictures here."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from ..comfyui.client import TOKEN_VARIABLE, ComfyClient
from ..comfyui.outputs import save_outputs
from ..comfyui.refusals import describe_failure
from ..comfyui.submit import execute, upload_images
from ..comfyui.workflow import assign, load_workflow
from ..errors import SowError
from ..files import check_writable
from ..outside.text import one_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workflow", metavar="WORKFLOW_api.json",
                        help="a workflow in API format (in ComfyUI: Workflow > Export (API))")
    parser.add_argument("--server", default="http://127.0.0.1:8188", metavar="URL",
                        help="the ComfyUI server (default: %(default)s); http://user:password@HOST logs in, or the "
                        f"environment variable {TOKEN_VARIABLE} with a bearer token")
    parser.add_argument("--set", action="append", default=[], metavar="NODE.INPUT=VALUE", dest="assignments",
                        help="change an input; NODE is an id, a title or a class name that occurs once; repeatable")
    parser.add_argument("--out", default=".", metavar="DIR",
                        help="folder for the results: pictures, latents, texts (default: here)")
    parser.add_argument("--timeout", type=float, default=None, metavar="SECONDS",
                        help="cancel the run after this long, waiting in the queue included (default: never)")


def run(args: argparse.Namespace) -> int:
    """0: done, the saved files' paths on stdout. 1: a node failed. Raises SowError for bad input."""
    if args.timeout is not None and not (math.isfinite(args.timeout) and args.timeout > 0):
        raise SowError(f"Bad --timeout {args.timeout:g}: expected seconds above 0.")
    source = Path(args.workflow)
    workflow = load_workflow(source)
    changed = assign(workflow, args.assignments)
    client = ComfyClient(args.server)
    if client.warning:
        print(f"warning: {client.warning}", file=sys.stderr)
    folder = _folder(args.out)
    client.check()
    upload_images(client, workflow, source.resolve().parent, changed, sys.stderr)
    entry = execute(client, workflow, sys.stderr, args.timeout)
    failure = describe_failure(entry, workflow)
    if failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    saved = 0
    for path in save_outputs(client, entry, folder, sys.stderr):
        print(path)
        saved += 1
    if not saved:
        print("The run ended without a picture: add a Save Image node to the workflow.", file=sys.stderr)
    return 0


def _folder(name: str) -> Path:
    """The folder for the results, made if it is missing. Raises SowError if nothing can be written there."""
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = one_line(getattr(error, "strerror", None) or error)
        raise SowError(f"Cannot make the folder {one_line(folder)}: {reason}.") from error
    check_writable(folder / ".sow-check")  # any name that is not there
    return folder
