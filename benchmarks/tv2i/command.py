"""`python -m sow_core bench tv2i`: a face set and a checkpoint to the paper's tables. Stops and resumes at any time."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

TABLE_NAMES = ("I", "II", "III", "IV")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--faces", required=True, type=Path, metavar="FOLDER", help="faces: N.jpg of CelebAMask-HQ, or any with alpha")
    add("--masks", type=Path, metavar="FOLDER", help="their masks: CelebAMask-HQ's parts, or NAME_mask.png")
    add("--sexes", type=Path, metavar="FILE", help="CelebA's list of attributes: says man or woman in the prompts")
    add("--prompts", type=Path, metavar="FILE.json", help="lists of texts for normal, style, attribute (default: ours)")
    add("--model", default="demo", metavar="MODEL", help="demo, a diffusers folder, a checkpoint (default: demo)")
    add("--size", metavar="WxH", help="canvas (default: 512x512; for the demo model 128x128)")
    add("--cases", type=int, metavar="N", help="faces (default: all)")
    add("--tables", default=",".join(TABLE_NAMES), metavar="I,II,...", help="which ones (default: %(default)s)")
    add("--presets", choices=("paper", "ours"), default="paper", help="whose settings of the tasks (default: paper)")
    add("--planner", choices=("offline", "gemini"), default="offline", help="who places the faces (default: offline)")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting for every picture; repeatable")
    add("--facenet", type=Path, metavar="FILE.pt", help="FaceNet's weights, for the ID distance")
    add("--clip", type=Path, metavar="FOLDER", help="a CLIP model, for the text match")
    add("--judges", type=Path, metavar="FOLDER", help="the demo world's judges in MTCNN's and FaceNet's place")
    add("--engine", choices=("local", "ray"), default="local")
    add("--address", metavar="ADDRESS", help="of a running Ray")
    add("--workers", type=int, metavar="N", help="of Ray")
    add("--gpus-per-worker", type=float, default=0.0, metavar="F", help="of Ray")
    add("--device", metavar="DEVICE", help="cpu, cuda, mps (default: the best there is)")
    add("--out", type=Path, default=Path("out/bench/tv2i"), metavar="FOLDER", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Print the tables; 0, or 1 if pictures are missing because their jobs failed."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from tqdm import tqdm

    from sow_core.assets import EMBEDDED
    from sow_core.batch.rays import Cluster
    from sow_core.batch.run import run_batch
    from sow_core.batch.task import Defaults, ModelKey
    from sow_core.batch.worker import Setup
    from sow_core.errors import SowError
    from sow_core.files import atomic_write
    from sow_core.pipeline.job import parse_size
    from sow_core.planning.schema import Frame

    from .cases import jobs_text, make_cases, read_prompts
    from .faces import cut, find_faces, read_sexes
    from .measuring import Gauge
    from .report import markdown
    from .variants import PRESETS, TABLES

    tables = [name.strip() for name in args.tables.split(",") if name.strip()]
    if not tables or set(tables) - set(TABLE_NAMES):
        raise SowError(f"Bad --tables {args.tables!r}: expected some of {', '.join(TABLE_NAMES)}.")
    if args.cases is not None and args.cases < 1:
        raise SowError(f"Bad --cases {args.cases}: expected 1 or more.")
    gauge = Gauge(args.out, args.facenet, args.clip, args.judges)
    prompts, sexes = read_prompts(args.prompts), read_sexes(args.sexes) if args.sexes else {}
    frame = Frame(*parse_size(args.size or ("128x128" if args.model in EMBEDDED else "512x512")))
    faces = find_faces(args.faces, args.masks, args.cases)
    (args.out / "faces").mkdir(parents=True, exist_ok=True)
    cuts = [(face, cut(face, args.out / "faces")) for face in faces]
    wanted = {(s, row.variant) for name in tables for row in TABLES[name].rows for s in TABLES[name].settings}
    settings = [s for s in prompts if s in {setting for setting, _ in wanted}]
    cases = list(make_cases(cuts, settings, frame, args.planner, sexes, prompts))
    presets = PRESETS[args.presets]
    common: dict[str, Any] = {"set": args.set} if args.set else {}
    pairs = [(case, variant) for case in cases for s, variant in sorted(wanted, key=lambda w: (w[0], w[1].name))
             if s == case.setting]  # fmt: skip
    jobs = args.out / "jobs.jsonl"
    atomic_write(jobs, jobs_text([case.job(v, args.out, presets, common) for case, v in pairs]))
    cluster = Cluster(args.address, args.workers, args.gpus_per_worker) if args.engine == "ray" else None
    with tqdm(total=0, unit="picture", desc="tv2i", file=sys.stderr) as bar:
        tally = run_batch(
            jobs, args.out / "pictures", defaults=Defaults({}, ModelKey(args.model)), setup=Setup(args.device),
            ray=cluster, looked=lambda survey: bar.reset(survey.pictures),
            ended=lambda record: bar.update(len(record.get("files", ()))),
        )  # fmt: skip
    measures = gauge.measure(pairs)
    text = markdown(tables, measures, [*gauge.notes(len(faces), args), *tally.failures.lines()])
    print(text)
    for path in (atomic_write(args.out / "tables.md", text), gauge.sheet(pairs)):
        print(path)
    return 1 if tally.failed else 0
