"""One run of the benchmark: the options checked, the cases in order, what was skipped and why."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from sow_core.assets import asset_folder
from sow_core.backends.base import ModelBackend
from sow_core.backends.opening import open_backend
from sow_core.errors import SowError

from .cases import SETTINGS, Case, render_cases
from .classifier import TextClassifier
from .defaults import CASES, QUICK_CASES
from .judging import Panel
from .measuring import Measures
from .methods import PLAIN, Method, choose
from .running import Pictures, layout_of


@dataclass(frozen=True)
class Options:
    """The command line, checked."""

    model: str
    judges: Path
    split: str
    settings: tuple[str, ...]
    methods: tuple[Method, ...]
    cases: int
    text: bool
    report_only: bool
    device: str
    out: Path

    @classmethod
    def check(cls, args: argparse.Namespace) -> Options:
        """Raises SowError for what the user got wrong."""
        settings = tuple(s.strip() for s in args.settings.split(",") if s.strip())
        for name in settings:
            if name not in SETTINGS:
                raise SowError(f"Unknown setting {name!r}: expected some of {', '.join(SETTINGS)}.")
        count = QUICK_CASES if args.quick and args.cases is None else CASES if args.cases is None else args.cases
        if not 1 <= count <= 1000:
            raise SowError(f"Bad --cases {count}: expected 1 to 1000.")
        judges = Path(args.judges) if args.judges else asset_folder("models") / "demo" / "judges"
        methods = tuple(choose(args.methods))
        return cls(args.model, judges, args.split, settings, methods, count, not args.no_text,
                   args.report_only, args.device, folder(args.out))  # fmt: skip


class Session:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.skipped: list[str] = []
        """What was not measured, one line each with its reason."""
        if options.device == "cpu":
            torch.set_num_threads(1)  # two spinning threads beside a busy process cost ten times, not half
        self.backend = open_backend(options.model, device=options.device)
        self.advice = self.backend.parts.recommended
        self.pictures = Pictures(options.out, self.backend, weights_digest(self.backend), self.advice)
        self.panel = self._panel()
        classifier = TextClassifier(self.backend) if options.text else None
        if classifier is None:
            self.skipped.append("the diffusion classifier: --no-text")
        self.measures = Measures(options.out, classifier, self.panel)

    def _panel(self) -> Panel | None:
        try:
            panel = Panel.load(self.options.judges)
            if panel.failure is None:
                self.skipped.append("failure rate: train its net with python -m benchmarks.quality.failure")
            elif PLAIN not in {m.name for m in self.options.methods}:
                self.skipped.append(f"this model's own thresholds of failure: {PLAIN} is not among the methods")
            return panel
        except FileNotFoundError:
            where = f"there are no judges in {self.options.judges}"
            self.skipped.append(f"identity, face detection, attributes, failure rate, KID: {where}")
            return None

    def cases(self) -> dict[str, list[Case]]:
        """By setting."""
        o = self.options
        return {s: render_cases(s, o.split, o.cases) for s in o.settings}

    def sample_and_measure(self) -> None:
        """Every method on every case, case by case, so that an interrupted run has compared all methods alike."""
        self.all_cases = self.cases()
        jobs = [(m, c) for number in range(self.options.cases) for cases in self.all_cases.values()
                for c in cases[number : number + 1] for m in self.options.methods]  # fmt: skip
        self.rows: list[dict[str, object]] = []
        for method, case in tqdm(jobs, "bench", disable=self.options.report_only):
            made = self.pictures.have(method, case) if self.options.report_only else self.pictures.make(method, case)
            if made is None:
                continue
            layout = layout_of(method, case, self.advice)
            picture = self.pictures.path(method, case)
            self.rows.append(self.measures.make(method, case, layout, picture, made))


def weights_digest(backend: ModelBackend) -> str:
    """Of the net's and the VAE's weights: another model's pictures are never taken for this one's."""
    digest = hashlib.sha256()
    for module in (backend.parts.net, backend.parts.vae):
        for name, weight in module.state_dict().items():
            digest.update(name.encode())
            digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def folder(text: str) -> Path:
    """A folder, made if missing. Raises SowError if that cannot be."""
    path = Path(text)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SowError(f"Cannot make the folder {path}: {error.strerror or error}.") from error
    return path
