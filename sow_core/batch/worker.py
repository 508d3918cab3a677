"""A worker does jobs one by one and keeps the model of the last one. It writes nothing: the batch does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import SowError
from ..outside.text import one_line
from ..pipeline.options import Options
from .task import ModelKey, Task

if TYPE_CHECKING:
    from ..pipeline.model import Model


@dataclass(frozen=True)
class Product:
    """What a model has made of a job: its pictures as PNG files, and what is to be said about them."""

    pngs: list[bytes]
    rows: int
    """Latents through the network for one picture."""
    fidelity: list[dict[str, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Maker(Protocol):
    """A loaded model."""

    def __call__(self, task: Task) -> Product: ...


@dataclass(frozen=True)
class Setup:
    """How a worker loads models: the same for all of a batch, so that it does not matter which one does a job.

    threads: of torch on the CPU, None for as many as it takes; opener: makes a Maker, another one for tests.
    """

    device: str | None = None
    download: bool = False
    threads: int | None = None
    opener: Callable[[ModelKey, Setup], Maker] | None = None


@dataclass(frozen=True)
class Outcome:
    """A job's end. error: None if it is done; again: whether another try may help; inputs: fingerprint of its files,
    taken before they were used."""

    product: Product | None
    seconds: float
    error: str | None = None
    again: bool = False
    inputs: str | None = None


class Worker:
    """Does jobs of any model, with one model in memory."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._opener = setup.opener or open_model
        self._key: ModelKey | None = None
        self._maker: Maker | SowError | None = None

    def run(self, task: Task) -> Outcome:
        """Do a job whole, all its seeds in one batch. Whatever goes wrong is in the outcome."""
        started = time.perf_counter()
        try:
            make = self._model(task.model)
            started = time.perf_counter()  # loading is no part of a job
            inputs = task.fingerprint()
            product = make(task)
        except SowError as error:
            return Outcome(None, time.perf_counter() - started, one_line(error, 500))
        except Exception as error:
            text = one_line(f"{type(error).__name__}: {error}", 500)
            return Outcome(None, time.perf_counter() - started, text, again=True)
        return Outcome(product, time.perf_counter() - started, inputs=inputs)

    def _model(self, key: ModelKey) -> Maker:
        if key != self._key:
            self._maker = self._key = None  # the old one makes room first
            try:
                self._maker = self._opener(key, self.setup)
            except SowError as error:  # asked once, not for each of its jobs
                self._maker = error
            self._key = key
        if isinstance(self._maker, SowError):
            raise SowError(str(self._maker))
        assert self._maker is not None
        return self._maker


def open_model(key: ModelKey, setup: Setup) -> Maker:
    """The model of a key as a Maker. Raises SowError."""
    import torch

    from ..pipeline.model import load

    if setup.threads is not None:
        torch.set_num_threads(setup.threads)
    return maker_of(load(key.model, device=setup.device, dtype=key.dtype, download=setup.download, config=key.config))


def maker_of(model: Model) -> Maker:
    """A loaded model as a Maker."""
    from ..pipeline.job import check

    def make(task: Task) -> Product:
        notes: list[str] = []
        made = model.make(check(Options.named(task.options)), say=lambda text: notes.append(one_line(text, 300)))
        report: dict[str, Any] = made.report
        return Product(
            made.pngs(), report["cost"]["rows"], [picture["fidelity"] for picture in report["pictures"]], notes
        )

    return make
