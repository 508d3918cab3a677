"""`python -m sow_core turns`: a picture changed by one instruction after another, and nothing else changes."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SowError
from ..files import atomic_write, check_outputs, check_writable
from ..pipeline.model import DTYPES, load
from ..turns.state import Record, State, kept_picture, read_state, state_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image

    from ..pipeline.model import Model

PLANNERS = "offline (default), gemini, or a profile of the planners' config file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="new|edit|back|show|replay", required=True)

    def action(name: str, text: str, run: Callable[[argparse.Namespace], int], paints: bool = True) -> Any:
        sub = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
        sub.add_argument(
            "file", metavar="FILE.turns.json", help="the history; its pictures lie in FILE.turns"
        )
        sub.set_defaults(do=run)
        if paints:
            sub.add_argument("--device", metavar="DEVICE", help="cpu, cuda, mps (default: the best there is)")
            sub.add_argument("--dtype", choices=DTYPES, help="of the UNet (default: float16 on cuda)")
            sub.add_argument("--quiet", action="store_true", help="no progress bar, no notes")
        return sub.add_argument

    add = action("new", "begin with a picture, or with words", _new)
    add("--image", metavar="IMG", help="the first picture")
    add(
        "--prompt",
        metavar="TEXT",
        help="all that is in it; without --image the first picture is made from it",
    )
    add(
        "--thing",
        action="append",
        default=[],
        metavar="NAME=X,Y,W,H",
        help="something in the picture and its box, px",
    )
    add("--model", metavar="MODEL", help="demo, demo_flow, a diffusers folder, a .safetensors checkpoint or a hub id")
    add("--config", metavar="FOLDER", help="for a checkpoint: a diffusers folder of its family")
    add("--download", action="store_true", help="allow a hub id to be downloaded")
    add("--size", metavar="WxH", help="px, multiples of 8 (default: the picture's own, or the model's)")
    add(
        "--negative",
        metavar="TEXT",
        help="what to avoid in every turn (default: the model's own, else nothing)",
    )
    add("--seed", type=int, default=0, metavar="N", help="random seed (default: 0)")
    add("--out", metavar="FILE.png", help="a copy of the picture")

    add = action("edit", "one instruction, one turn", _edit)
    add(
        "--instruction",
        required=True,
        metavar="TEXT",
        help="add, remove, move, replace, make ..., background",
    )
    add("--region", action="append", default=[], metavar="X,Y,W,H", help="what may change, px; repeatable")
    add("--mask", metavar="IMG", help="what may change, white")
    add(
        "--prompt",
        metavar="TEXT",
        help="the whole picture after this turn, instead of the one that is worked out",
    )
    add(
        "--thing",
        action="append",
        default=[],
        metavar="NAME=X,Y,W,H",
        help="something in the picture and its box, px",
    )
    add("--planner", default="offline", metavar="NAME", help=PLANNERS)
    add(
        "--candidates",
        type=int,
        default=1,
        metavar="N",
        help="pictures to choose from, see --match (default: 1)",
    )
    add(
        "--match",
        metavar="NAME",
        help="who chooses: own (the model itself, the default), a CLIP folder, or demo (the demo world's learned one)",
    )
    add(
        "--match-guidance",
        type=float,
        default=0.0,
        metavar="STRENGTH",
        help="how strongly that match guides the painting too, 0 to 10; demo or a CLIP folder (default: 0, off)",
    )
    add(
        "--retries",
        type=int,
        default=0,
        metavar="N",
        help="paint again, elsewhere if the place was not given, up to N times while the model itself does not see in "
        "its picture what was asked (default: 0)",
    )
    add("--seed", type=int, default=0, metavar="N", help="random seed of the first candidate (default: 0)")
    add(
        "--feather",
        type=int,
        metavar="PX",
        help="px inside the region in which old and new blend (default: 8 at 512)",
    )
    add(
        "--crop",
        default="auto",
        metavar="auto|off|N",
        help="what is painted: a window around the region at about the size that the model was trained at, if the "
        "picture is larger (auto, the default), all of the picture as it is (off), or always a window N times the "
        "region's sides, enlarged or shrunk to that size",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="settings",
        help="any setting of the run",
    )
    add("--out", metavar="FILE.png", help="a copy of the picture")

    add = action("back", "go on from another turn (default: the one before)", _back, paints=False)
    add("--to", type=int, metavar="ID", help="its number")

    add = action("show", "the tree of turns", _show, paints=False)
    add("--sheet", metavar="FILE.png", help="a contact sheet of the whole tree")
    add("--json", action="store_true", help="everything that is known, as JSON")

    add = action("replay", "make every turn again, and say whether the pictures are the same", _replay)
    add("--out", required=True, metavar="FOLDER", help="where the pictures go, named by their turns")


def run(args: argparse.Namespace) -> int:
    return args.do(args)


def _model(name: str, config: str | None, args: argparse.Namespace) -> Model:
    return load(
        name, device=args.device, dtype=args.dtype, download=getattr(args, "download", False), config=config
    )


def _new(args: argparse.Namespace) -> int:
    from ..pipeline.job import parse_size
    from ..turns.session import start
    from ..turns.things import Thing

    path, out = state_path(args.file), _output(args.out)
    if not args.image and not (args.prompt or "").strip():
        raise SowError(
            "Nothing to begin with: give --image IMG (and --prompt TEXT, what it shows), or --prompt TEXT."
        )
    if path.exists():
        raise SowError(f"{path} is there already; choose another name, or go on with `turns edit`.")
    things = [Thing.parse(t) for t in args.thing]
    size = parse_size(args.size) if args.size else None
    check_writable(path)
    model = _model(args.model or "demo", args.config, args)
    with _bar(args) as bar:
        state = start(path, model, image=args.image, prompt=args.prompt or "", things=things, size=size,
                      seed=args.seed, negative=args.negative, progress=bar)  # fmt: skip
    _copy(out, path, state)
    print(_line(state.now, state))
    return 0


def _edit(args: argparse.Namespace) -> int:
    from ..method.box import Box
    from ..turns.match import open_match
    from ..turns.session import Wanted, edit
    from ..turns.things import Thing

    path, out = state_path(args.file), _output(args.out)
    state = read_state(path)
    wanted = Wanted(
        args.instruction, tuple(Box.parse(r, "--region") for r in args.region), args.mask, args.prompt or "", args.seed,
        args.candidates, tuple(args.settings), args.feather, tuple(Thing.parse(t) for t in args.thing), args.planner,
        open_match(args.match) if args.candidates > 1 or args.match_guidance or args.retries else None,
        args.match_guidance, args.retries, args.crop,
    )  # fmt: skip
    model = _model(state.model, state.model_config, args)
    with _bar(args) as bar:
        state, _ = edit(path, model, wanted, bar, bar.say)
    _copy(out, path, state)
    print(_line(state.now, state))
    return 0


def _back(args: argparse.Namespace) -> int:
    from ..turns.session import back

    state = back(state_path(args.file), args.to)
    print(_line(state.now, state))
    return 0


def _show(args: argparse.Namespace) -> int:
    path, sheet = state_path(args.file), _output(args.sheet)
    state = read_state(path)
    if sheet is not None:
        from ..settings import png_bytes

        atomic_write(sheet, png_bytes(_tree_sheet(path, state)))
        print(sheet, file=sys.stderr)
    if args.json:
        print(json.dumps(asdict(state), indent=1, ensure_ascii=False))
    else:
        print("\n".join(_line(turn, state) for turn in state.turns))
    return 0


def _replay(args: argparse.Namespace) -> int:
    from ..turns.session import replay

    path, folder = state_path(args.file), Path(args.out)
    state = read_state(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SowError(f"Cannot make the folder {folder}: {error.strerror or error}.") from error
    model = _model(state.model, state.model_config, args)
    with _bar(args) as bar:
        made = replay(path, state, model, bar)
    for record, png, same in made:
        written = atomic_write(folder / f"turn_{record.id}.png", png)
        print(f"{written}: {'the same' if same else 'not the same'}")
    return 0 if all(same for _, _, same in made) else 1


def _line(turn: Record, state: State) -> str:
    """One turn on one line: its number, what it follows, what it was about."""
    mark = "*" if turn.id == state.current else " "
    what = turn.instruction or turn.prompt or "a picture"
    after = "" if turn.parent is None else f" after {turn.parent}"
    return f"{mark} turn {turn.id}{after}: {what}"


def _tree_sheet(path: Path, state: State) -> Image.Image:
    from ..pictures.reading import open_picture
    from ..pictures.sheet import contact_sheet

    tiles = []
    for turn in state.turns:
        after = "" if turn.parent is None else f"<-{turn.parent}"
        picture = open_picture(kept_picture(path, turn.picture))
        tiles.append((f"{turn.id}{after} {turn.instruction or turn.prompt}", picture))
    return contact_sheet(tiles)


def _output(name: str | None) -> Path | None:
    """Where a picture goes. Raises SowError before any work if it cannot."""
    if not name:
        return None
    if Path(name).suffix.lower() != ".png":
        raise SowError(f"Bad name {name}: expected one that ends in .png.")
    return check_outputs([name])[0]  # whatever was not made here stays, a picture that was given too


def _copy(out: Path | None, path: Path, state: State) -> None:
    if out is not None:
        atomic_write(out, kept_picture(path, state.now.picture))


class _bar:
    """A progress bar that is an event's listener; it appears with the first event, so that an error stands alone."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.quiet = args.quiet
        self.bar: Any = None

    def __enter__(self) -> _bar:
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def __call__(self, event: Any) -> None:
        from tqdm import tqdm

        if self.bar is None or event.call < self.bar.n:  # the next run of a replay
            self.__exit__()
            self.bar = tqdm(unit="call", total=event.total, file=sys.stderr, disable=self.quiet, leave=True)
        self.bar.set_description(event.phase if event.cycle is None else f"{event.phase} {event.cycle + 1}")
        self.bar.update(event.call - self.bar.n)

    def say(self, text: str) -> None:
        """On a line of its own below the bar."""
        self.__exit__()
        if not self.quiet:
            print(text, file=sys.stderr)
