"""Our own numbers of the `cow_official` plan on a small random SD 2 model, call by call.

The plan's parity with the official code is shown by tests/peer, which needs that code; this file keeps what was
shown there from drifting. After an intended change: `PYTHONPATH=.:tests python tests/golden/test_cow_official.py`
writes the numbers anew, and tests/peer has to be run again before they are committed.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from peer.replay import Recorder  # noqa: E402
from peer.scene import PROMPTS, picture_and_mask  # noqa: E402
from tiny_models import build  # noqa: E402

from sow_core.backends.diffusers import DiffusersBackend  # noqa: E402
from sow_core.backends.painting import encode_layout  # noqa: E402
from sow_core.method.box import Box  # noqa: E402
from sow_core.method.condition import Condition, make_layout, to_tensor  # noqa: E402
from sow_core.method.config import SowConfig  # noqa: E402
from sow_core.method.engine import run  # noqa: E402
from sow_core.method.plan import build_plan  # noqa: E402
from sow_core.method.presets import preset  # noqa: E402

FILE = Path(__file__).with_name("cow_official.json")
SHORT = replace(preset("cow_official"), cycles=2)
TOLERANCE = 2e-3  # kernels of other processors and torch versions add up differently over 37 calls


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return build("sd2", tmp_path_factory.mktemp("sd2"))


def sample(model: Path, config: SowConfig) -> tuple[Recorder, torch.Tensor]:
    """A run of `config` on a 128-px canvas with seed 1: what the model saw, and the final latents."""
    picture, keep = picture_and_mask(64)
    layout = make_layout([Condition(to_tensor(picture), to_tensor(keep), Box(32, 48, 64, 64))], 128, 128, fill="gray")
    backend = DiffusersBackend.load(model)
    backend.set_prompts(PROMPTS)
    recorder = Recorder(backend)
    plan = build_plan(config)
    *_, done = run(plan, recorder, encode_layout(recorder, layout, plan), [1])
    return recorder, done.result.latents


def numbers(model: Path) -> list[dict[str, Any]]:
    """Per call: the timestep, the rows, and mean, deviation and three values of the latents; then the result's."""
    recorder, result = sample(model, preset("cow_official"))

    def entry(t: float, rows: int, z: torch.Tensor) -> dict[str, Any]:
        spots = z.flatten()[[0, z.numel() // 2, z.numel() - 1]].tolist()
        return {"t": t, "rows": rows, "size": z.shape[-1], "mean": round(z.mean().item(), 5),
                "std": round(z.std().item(), 5), "spots": [round(v, 4) for v in spots]}

    calls = zip(recorder.timesteps, recorder.rows, recorder.latents, strict=True)
    return [*(entry(*call) for call in calls), entry(0, 0, result)]


def test_numbers_are_as_committed(model):
    ours, golden = numbers(model), json.loads(FILE.read_text(encoding="utf-8"))
    assert [(n["t"], n["rows"], n["size"]) for n in ours] == [(n["t"], n["rows"], n["size"]) for n in golden]
    for index, (new, old) in enumerate(zip(ours, golden, strict=True)):
        close = pytest.approx([old["mean"], old["std"], *old["spots"]], abs=TOLERANCE * max(old["std"], 1.0))
        assert [new["mean"], new["std"], *new["spots"]] == close, f"call {index}"


@pytest.fixture(scope="module")
def short(model) -> torch.Tensor:
    return sample(model, SHORT)[1]


@pytest.mark.parametrize("change", [
    {"renoise_shift": 0}, {"inversion_guidance": 1.0}, {"negative_in": ("invert", "cycle", "refine")},
    {"negative_in": ()}, {"extra_rows": False}, {"refine_eta": 0.0}, {"cycle_eta": 0.9}, {"preserve": (4, 3)},
    {"preserve": ()}, {"grid_shift": 1}, {"cycles": 1}, {"guidance": 7.0},
])  # fmt: skip
def test_each_setting_matters(model, short, change):
    """Without this the parity might hold because nothing depends on the setting."""
    other = sample(model, SHORT.changed(**change))[1]
    assert (short - other).abs().max() > 10 * TOLERANCE * short.std()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        rows = ",\n".join(json.dumps(n) for n in numbers(build("sd2", folder)))
    FILE.write_text(f"[\n{rows}\n]\n", encoding="utf-8")
