"""The command line: `python -m sow_core`, also installed as `sow`.

Exit codes: 0 done; 2 bad usage or input, one line on stderr; 130 Ctrl-C; 143 terminated; 1 anything else.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence

from . import __version__
from .errors import SowError

COMMANDS = {
    "generate": (".commands.generate", "keep a picture, grow a scene around it"),
    "batch": (".commands.batch", "many jobs from a file, resumable; here or on a Ray cluster"),
    "plan": (".commands.plan", "where the picture goes, what belongs to it, a fuller prompt: a plan as JSON"),
    "index": (".commands.index", "make a folder of pictures searchable"),
    "find": (".commands.find", "the picture to keep, from a folder, by a picture and words"),
    "describe": (".commands.describe", "what a preset does and costs"),
    "submit": (".commands.submit", "run an API workflow on a ComfyUI server"),
    "turns": (".commands.turns", "change a picture by one instruction after another"),
    "bench": (".commands.bench", "measure quality or speed (from a clone of the project)"),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        """One line, without the usage block: the same shape as every other error of ours."""
        raise SowError(f"{message[:1].upper()}{message[1:]} (see {self.prog} --help).")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal's encoding lacks is no reason to stop
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with _ends_in_order():
            args = _parse(sys.argv[1:] if argv is None else list(argv))
            return args.run(args)
    except SowError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # who read our output has left; nor can the interpreter flush it on its way out
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


@contextlib.contextmanager
def _ends_in_order() -> Iterator[None]:
    """SIGTERM unwinds as Ctrl-C does: half a file is removed, a run on a server is cancelled."""

    def terminated(*_: object) -> None:
        raise SystemExit(143)

    try:
        before = signal.signal(signal.SIGTERM, terminated)
    except ValueError:  # called in another thread than the main one, which alone may do this
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = _Parser(prog="sow", description="Selective One-Way Diffusion (arXiv 2411.19182).", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"sow {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((a for a in argv if not a.startswith("-")), None)
    for name, (module, text) in COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        if name == chosen:  # only the chosen command's module is imported
            command = importlib.import_module(module, __package__)
            command.add_arguments(sub)
            sub.set_defaults(run=command.run)
    return parser.parse_args(argv)
