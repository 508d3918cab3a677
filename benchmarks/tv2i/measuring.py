"""Looking at the pictures of a batch, each once."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.quality.store import Store
from sow_core.batch.results import NAME, read_results
from sow_core.errors import SowError
from sow_core.files import atomic_write
from sow_core.pictures.reading import load_picture
from sow_core.pictures.sheet import contact_sheet
from sow_core.settings import png_bytes

from .cases import Case
from .eyes import ClipText, DemoJudges, Eyes, FaceNet
from .report import PROXY, Measures, judged
from .variants import COUNT, Variant

Pair = tuple[Case, Variant]
SHEET_CASES = 6
_WHOSE = {"paper": "the paper's", "ours": "our"}


class Gauge:
    """The eyes that are at hand. Raises SowError for weights that were named and cannot be read."""

    def __init__(self, out: Path, facenet: Path | None, clip: Path | None, judges: Path | None) -> None:
        self.out = out
        self.missing: list[str] = []
        self.eyes: Eyes | None = None
        self.clip = ClipText(clip) if clip is not None else None
        if judges is not None:
            self.eyes = DemoJudges(judges)
        else:
            try:
                self.eyes = FaceNet(facenet)
            except SowError as error:
                if facenet is not None:
                    raise
                self.missing.append(f"not measured: {error}")
            else:
                if facenet is None:
                    self.missing.append("not measured: ID distance: give FaceNet's weights with --facenet FILE.pt")
        if self.clip is None:
            self.missing.append("not measured: text match: give a local CLIP folder with --clip FOLDER")
        out.mkdir(parents=True, exist_ok=True)
        self.store = Store(out / "measures.jsonl")

    def measure(self, pairs: Sequence[Pair]) -> Measures:
        """Of each picture that is there; the time of a picture from its job's."""
        done = {r["id"]: r for r in read_results(self.out / "pictures" / NAME)}
        made: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for case, variant in pairs:
            record = done.get(f"{case.id}-{variant.name}")
            if record is None or record["state"] != "done":
                continue
            for name, fidelity in zip(record["files"], record["fidelity"], strict=True):
                told = self._look(case, self.out / "pictures" / name, str(record["job"]))
                values = judged(told, fidelity) | {"seconds": record["seconds"] / len(record["files"])}
                made[case.setting, variant.name].append(values)
        return made

    def _look(self, case: Case, path: Path, job: str) -> dict[str, Any]:
        fingerprint = " ".join([job, *(e.digest for e in (self.eyes, self.clip) if e is not None)])
        found = self.store.get(path.stem, fingerprint)
        if found is not None:
            return found
        picture = load_picture(path)[0]
        told: dict[str, Any] = {}
        if self.eyes is not None:
            told |= self.eyes.look(picture, load_picture(case.face.picture)[0], case.plan.boxes[0])
        if self.clip is not None:
            told["text"] = self.clip.match(picture, case.prompt)
        return self.store.put(path.stem, fingerprint, told)

    def notes(self, faces: int, args: argparse.Namespace) -> list[str]:
        """What the tables were made with, and what is not in them."""
        seen = [e.name for e in (self.eyes, self.clip) if e is not None]
        return [
            f"{faces} faces, {COUNT} pictures a prompt, model {args.model}, {_WHOSE[args.presets]} presets"
            f"{' with ' + ' '.join(args.set) if args.set else ''}, places by the {args.planner} planner; "
            f"looked at by {', '.join(seen) or 'nobody'}",
            PROXY,
            "Prompts are ours and the paper's set is not public: its values are not of the same pictures. They are "
            "quoted from notes; the rest of its tables is not at hand.",
            *(["the offline planner adds nothing to a prompt: PI has no effect"] if args.planner == "offline" else []),
            *self.missing,
        ]

    def sheet(self, pairs: Sequence[Pair]) -> Path:
        """The faces of each setting's first cases, each with the first picture of every variant."""
        by_setting: dict[str, dict[str, None]] = defaultdict(dict)
        for case, _ in pairs:
            by_setting[case.setting][case.id] = None
        each = SHEET_CASES // len(by_setting)
        names = [name for cases in by_setting.values() for name in list(cases)[:each]]
        tiles: list[tuple[str, Image.Image]] = []
        widest = max(sum(case.id == name for case, _ in pairs) for name in names)
        for name in names:
            row = [(case, variant) for case, variant in pairs if case.id == name]
            given = Image.new("RGB", (8, 8), "white")
            tiles.append((name, load_picture(row[0][0].condition)[0]))
            for case, variant in row:
                path = self.out / "pictures" / f"{case.id}-{variant.name}_1.png"
                tiles.append((variant.name, load_picture(path)[0] if path.is_file() else given))
            tiles += [("", given)] * (widest - len(row))
        return atomic_write(self.out / "sheet.png", png_bytes(contact_sheet(tiles, tile=128, columns=widest + 1)))
