"""What `sow batch` costs beside the pictures: over a bare loop, per job, and in memory as the jobs become many."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from sow_core.batch.rays import Cluster
from sow_core.batch.run import Tally, run_batch
from sow_core.batch.task import ModelKey, Task
from sow_core.batch.worker import Maker, Product, Setup, maker_of
from sow_core.pipeline.model import Model, load
from sow_core.settings import png_bytes

from .timing import alternate

STUB_SECONDS = 0.001
PICTURES = Path(__file__).resolve().parents[1] / "pictures"
JOB = {"condition": str(PICTURES / "tom.png"), "mask": str(PICTURES / "tom_mask.png"), "box": "32,24,64,64",
       "prompt": "a photo of a smiling man wearing a blue suit on a beach", "preset": "fast"}  # fmt: skip


def measure(model: Path, device: str, rounds: int, quick: bool = False) -> dict[str, Any]:
    """overhead: a batch over a bare loop of the same jobs; stub: a model of 1 ms, in this process and on Ray."""
    few, many = (4, 1000) if quick else (8, 10_000)
    made = {"overhead": overhead(model, device, rounds, few), "stub": {"local": scheduling(many)}}
    if importlib.util.find_spec("ray") is not None:
        made["stub"]["ray, 2 workers"] = scheduling(many, Cluster(workers=2))
    return made


def overhead(model: Path, device: str, rounds: int, count: int) -> dict[str, Any]:
    """The same jobs, each picture saved: a loop over a loaded model, and `run_batch` around that model."""
    loaded = load(model, device=device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_jobs(folder, [JOB | {"seed": seed} for seed in range(count)])
        variants = {"bare loop": lambda: bare_loop(loaded, folder, count), "batch": lambda: _batch(loaded, folder)}
        return alternate(variants, rounds, device).as_dict() | {"jobs": count}


def bare_loop(model: Model, folder: Path, count: int) -> None:
    """What somebody would write in Python."""
    for seed in range(count):
        others: dict[str, Any] = {name: value for name, value in JOB.items() if name != "condition"}
        model(JOB["condition"], seeds=[seed], **others).save(folder / f"{seed}.png")


def _batch(model: Model, folder: Path) -> None:
    setup = Setup(opener=lambda key, setup: maker_of(model))
    assert run_batch(folder / "jobs.jsonl", folder / "out", setup=setup).failed == 0
    shutil.rmtree(folder / "out")  # or the next round would find everything done


def scheduling(count: int, ray: Cluster | None = None) -> dict[str, Any]:
    """Milliseconds a job beside the 1 ms that each sleeps: wall (most of it is the disk, waited for once a job) and the
    driver's CPU; and its memory as the jobs go by, MB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Image.new("RGB", (8, 8)).save(folder / "a.png")
        _write_jobs(folder, [{"condition": "a.png", "prompt": "x"}] * count)
        memory: list[float] = []
        tally, seconds, cpu = _watched(folder, count, ray, memory)
    assert tally.done == count
    workers = 1 if ray is None else ray.workers or 1
    return {
        "jobs": count,
        "ms_per_job": round(1000 * (seconds / count - STUB_SECONDS / workers), 3),
        "cpu_ms_per_job": round(1000 * cpu / count, 3),
        "driver_mb": {f"{part} %": round(memory[len(memory) * part // 100 - 1], 1) for part in (10, 50, 100)},
    }


def _watched(folder: Path, count: int, ray: Cluster | None, memory: list[float]) -> tuple[Tally, float, float]:
    process = psutil.Process()
    seen = 0
    started = cpu = 0.0

    def ended(record: dict[str, Any]) -> None:
        nonlocal seen, started, cpu
        if not seen:  # without the start of Ray and its workers
            started, cpu = time.perf_counter(), time.process_time()
        seen += 1
        if seen % max(count // 100, 1) == 0:
            memory.append(process.memory_info().rss / 2**20)

    run: Callable[..., Tally] = run_batch
    tally = run(folder / "jobs.jsonl", folder / "out", setup=Setup(opener=open_stub), ray=ray, ended=ended)
    return tally, time.perf_counter() - started, time.process_time() - cpu


def open_stub(key: ModelKey, setup: Setup) -> Maker:
    """A model of 1 ms."""
    picture = png_bytes(Image.new("RGB", (8, 8)))

    def make(task: Task) -> Product:
        time.sleep(STUB_SECONDS)
        return Product([picture] * len(task.seeds), rows=0)

    return make


def _write_jobs(folder: Path, jobs: list[dict[str, Any]]) -> None:
    (folder / "jobs.jsonl").write_text("".join(json.dumps(job) + os.linesep for job in jobs), encoding="utf-8")
