"""From a method and a case to a picture on disk, with what it cost."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sow_core.backends.base import ModelBackend
from sow_core.backends.painting import Painted, paint
from sow_core.files import atomic_write
from sow_core.method.advice import Advice
from sow_core.method.condition import Layout, make_layout, to_picture
from sow_core.method.trace import Result
from sow_core.settings import png_bytes

from .cases import SIZE, Case
from .methods import EXTRA_PROMPTS, Method
from .store import Store


def layout_of(method: Method, case: Case, advice: Advice) -> Layout:
    """The canvas that the method starts from."""
    config = method.plan(case.setting, advice).config
    condition, _ = case.place(method.position)
    return make_layout(
        [condition], SIZE, SIZE, background=_background(method.background, case.seed), coverage=config.coverage,
        fill=config.fill,
    )  # fmt: skip


def _background(name: str, seed: int) -> Tensor | tuple[float, float, float] | None:
    if name == "random":
        return torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    return (0.0, 0.0, 0.0) if name == "black" else None


def sample(method: Method, case: Case, backend: ModelBackend, advice: Advice) -> Painted:
    """Run the method on the case with the case's seed."""
    prompt = case.prompt if method.intensify else case.plain_prompt
    backend.set_prompts({"positive": prompt, "negative": advice.negative or "", **EXTRA_PROMPTS})
    layout = layout_of(method, case, advice)
    return paint(method.plan(case.setting, advice), backend, layout, [case.seed])


class Pictures:
    """The pictures of a run: OUT/pictures/METHOD/CASE.png and OUT/pictures.jsonl."""

    def __init__(self, folder: Path, backend: ModelBackend, model_digest: str, advice: Advice) -> None:
        self.folder = folder
        self.backend = backend
        self.advice = advice
        self.model_digest = model_digest
        self.store = Store(folder / "pictures.jsonl")

    def path(self, method: Method, case: Case) -> Path:
        return self.folder / "pictures" / method.name / f"{case.id}.png"

    def fingerprint(self, method: Method, case: Case) -> str:
        told = (self.model_digest, method.fingerprint(case.setting, self.advice), case.fingerprint)
        return hashlib.sha256(" ".join(told).encode()).hexdigest()[:16]

    def have(self, method: Method, case: Case) -> dict[str, Any] | None:
        """The record of a picture that is there already."""
        record = self.store.get(f"{method.name}/{case.id}", self.fingerprint(method, case))
        return record if record is not None and self.path(method, case).is_file() else None

    def make(self, method: Method, case: Case) -> dict[str, Any]:
        """The record of a picture, made now if it is not there. `seconds` are this machine's, as busy as it was."""
        found = self.have(method, case)
        if found is not None:
            return found
        path = self.path(method, case)
        path.parent.mkdir(parents=True, exist_ok=True)
        twin = self._twin(method, case)
        if twin is not None:
            return twin
        started = time.process_time()
        result = sample(method, case, self.backend, self.advice)
        seconds = time.process_time() - started
        atomic_write(path, png_bytes(to_picture(result.images[0])))
        rows = sum(len(call.rows) for call in result.trace.calls)
        values: dict[str, Any] = {
            "method": method.name,
            "case": case.id,
            "setting": case.setting,
            "hard": case.hard,
            "calls": len(result.trace.calls),
            "rows": rows,
            "cpu_seconds": round(seconds, 3),
            "cycles": result.trace.cycles[0],
        }
        values |= _indicator(result)
        return self.store.put(f"{method.name}/{case.id}", self.fingerprint(method, case), values)

    def _twin(self, method: Method, case: Case) -> dict[str, Any] | None:
        """Another method's picture of the case that was made in the very same way, taken over."""
        fingerprint = self.fingerprint(method, case)
        for key, record in self.store.records.items():
            made = self.folder / "pictures" / f"{key}.png"
            if record["fingerprint"] == fingerprint and key != f"{method.name}/{case.id}" and made.is_file():
                atomic_write(self.path(method, case), made.read_bytes())
                values = {k: v for k, v in record.items() if k not in ("key", "fingerprint")}
                return self.store.put(f"{method.name}/{case.id}", fingerprint, values | {"method": method.name})
        return None


def _indicator(result: Result) -> dict[str, Any]:
    """Mean indicator of the first and the last cycle and mean gate, where modulation measured them."""
    seen = [(c.cycle, float(c.indicator.nanmean())) for c in result.trace.calls if c.indicator is not None]
    if not seen:
        return {}
    gate = result.trace.mean_gate()
    first, last = seen[0][0], seen[-1][0]

    def mean(cycle: int | None) -> float:
        values = [v for c, v in seen if c == cycle]
        return round(sum(values) / len(values), 5)

    made = {"indicator_first": mean(first), "indicator_last": mean(last)}
    return made if gate is None else made | {"gate": round(gate, 5)}
