"""A model that takes no time: what a batch does around one. Ray's workers import it by its name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from PIL import Image

from sow_core.batch.task import ModelKey, Task
from sow_core.batch.worker import Maker, Product, Setup
from sow_core.errors import SowError
from sow_core.settings import png_bytes


def open_stub(key: ModelKey, setup: Setup) -> Maker:
    """The model "gone" cannot be loaded. The prompt says what a job does: "fail", "break", "break once", "die",
    "die once", "sleep S", or anything else; FOLDER/tried counts what was tried, in the condition's folder."""
    if key.model == "gone":
        raise SowError("No such model: gone.")

    def make(task: Task) -> Product:
        note = Path(task.options["condition"][0]).with_name("tried")
        with open(note, "a") as file:
            file.write(f"{task.id}\n")
        word, _, more = task.options["prompt"].partition(" ")
        tried = note.read_text().split().count(task.id)
        if word == "fail":
            raise SowError(f"Bad thing {task.number}.")
        if word == "break" and (more != "once" or tried < 2):
            raise RuntimeError("broken")
        if word == "die" and (more != "once" or tried < 2):
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "stop" and tried < 2:
            raise KeyboardInterrupt
        if word == "sleep":
            time.sleep(float(more))
        pictures = [Image.new("RGB", (8, 8), (seed % 256, 0, 0)) for seed in task.seeds]
        return Product([png_bytes(picture, {"id": task.id}) for picture in pictures], rows=1)

    return make
