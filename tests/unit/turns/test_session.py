"""A history of turns: written whole or not at all, and made again bit for bit."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sow_core.errors import SowError
from sow_core.method.advice import Advice
from sow_core.method.box import Box
from sow_core.turns import state as S
from sow_core.turns.session import Wanted, back, edit, replay, start
from sow_core.turns.things import Thing

PROMPT = "a red cube and a blue cube on a gray floor"
THINGS = (Thing("red cube", Box(4, 20, 24, 24)), Thing("blue cube", Box(60, 24, 24, 24)))


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "room.turns.json"


@pytest.fixture
def begun(path, model, image) -> Path:
    start(path, model, image=image, prompt=PROMPT, things=THINGS)
    return path


def files(path: Path) -> dict[str, bytes]:
    """Everything that belongs to a history, but the lock."""
    found = [path, *S.folder_of(path).glob("*.png")]
    return {f.name: f.read_bytes() for f in found}


def pixels(png: bytes) -> np.ndarray:
    import io

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_turns_make_a_tree_that_is_made_again_bit_for_bit(begun, model):
    edit(begun, model, Wanted("make the red cube yellow", seed=3))
    edit(begun, model, Wanted("remove the blue cube"))
    back(begun, 1)
    state, _ = edit(begun, model, Wanted("add a green cube right of the yellow cube", feather=4))
    assert [(t.id, t.parent) for t in state.turns] == [
        (0, None),
        (1, 0),
        (2, 1),
        (3, 1),
    ] and state.current == 3
    assert [t.id for t in state.path_to(3)] == [0, 1, 3]
    assert {p.name for p in state.now.things} == {"yellow cube", "blue cube", "green cube"}
    assert [same for _, _, same in replay(begun, S.read_state(begun), model)] == [True] * 4


def test_outside_the_region_the_file_has_the_same_pixels(begun, model, image):
    state, png = edit(begun, model, Wanted("make the red cube yellow"))
    box = Box.parse(state.now.regions[0])
    changed = (pixels(png) != np.asarray(image)).any(-1)
    assert changed.any()
    changed[box.y : box.bottom, box.x : box.right] = False
    assert not changed.any()


def test_a_mask_is_kept_with_the_history(begun, model, tmp_path):
    mask = np.zeros((64, 96), np.uint8)
    mask[8:40, 40:80] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    state, png = edit(
        begun, model, Wanted("anything you like", mask=tmp_path / "m.png", prompt="a dog on a gray floor")
    )
    (tmp_path / "m.png").unlink()
    assert state.now.mask and [same for _, _, same in replay(begun, state, model)] == [True, True]


def test_words_begin_a_history_too(path, model):
    state = start(path, model, prompt="a red cube on a gray floor", seed=4)
    assert state.size == (128, 128) and len(model.backend.calls) == 10


def test_back_and_its_end(begun, model):
    edit(begun, model, Wanted("remove the blue cube"))
    assert back(begun, None).current == 0
    with pytest.raises(SowError, match="no turn before"):
        back(begun, None)
    with pytest.raises(SowError, match="There is no turn 7: expected one of 0, 1"):
        back(begun, 7)


def test_a_turn_that_was_tried_again_elsewhere_is_made_again_bit_for_bit(begun, model):
    model.backend.parts.recommended = Advice(guidance=3.0, negative="", believed=1.0)  # never believed
    said: list[str] = []
    wanted = Wanted("add a green cube right of the red cube", candidates=2, retries=2, seed=7)
    state, _ = edit(begun, model, wanted, say=said.append)
    now = state.now
    assert [line[:14] for line in said[:3]] == ["try 1: seed 7:", "try 2: seed 9:", "try 3: seed 11"]
    assert said[3].startswith(f"taken: seed {now.seed}; the model does not see")
    assert now.candidates == 2 and now.first_seed in (7, 9, 11) and now.seed - now.first_seed in (0, 1)
    once, _ = edit(begun, model, replace(wanted, instruction="add a gray ball", retries=0))
    assert all(same for _, _, same in replay(begun, once, model))


def test_of_several_candidates_the_model_itself_chooses(begun, model):
    said: list[str] = []
    state, _ = edit(begun, model, Wanted("add a cat", candidates=3, seed=7), say=said.append)
    now = state.now
    assert (now.match, now.candidates, now.first_seed) == ("own", 3, 7) and now.seed in (7, 8, 9)
    assert any(line.startswith("candidates: seed 7: ") for line in said)
    assert replay(begun, state, model)[-1][2], "the one that was chosen is made again"


@pytest.fixture
def large(path, model) -> Path:
    """A history whose picture is three times the model's size."""
    image = Image.fromarray(np.random.default_rng(1).integers(0, 255, (320, 384, 3), dtype=np.uint8))
    things = (Thing("red cube", Box(20, 200, 32, 32)), Thing("blue cube", Box(340, 20, 32, 32)))
    start(path, model, image=image, prompt=PROMPT, things=things)
    return path


@pytest.mark.parametrize("crop", ["auto", "1.5"])
def test_a_turn_in_a_window_is_made_again_bit_for_bit(large, model, crop):
    said: list[str] = []
    before = pixels(S.kept_picture(large, S.read_state(large).now.picture))
    text = "add a green cube right of the red cube"
    state, png = edit(large, model, Wanted(text, candidates=3, crop=crop), say=said.append)
    x, y, width, height, *size = state.now.window
    assert size == [128, 128] and f"window: {x},{y},{width},{height} painted at 128x128" in said
    assert min(width, height) >= 128 if crop == "auto" else max(width, height) < 128
    assert {p["positive"] for p in model.backend.prompts if "positive" in p} == {
        "a red cube and a green cube on a gray floor"
    }, "the far blue cube is not told"
    assert state.now.prompt == "a red cube, a green cube and a blue cube on a gray floor"
    box = Box.parse(state.now.regions[0])
    changed = (pixels(png) != before).any(-1)
    assert changed.any()
    changed[box.y : box.bottom, box.x : box.right] = False
    assert not changed.any()
    model.size = (512, 512)  # the window was written down: nothing is worked out anew
    assert [same for _, _, same in replay(large, S.read_state(large), model)] == [True, True]


def test_off_paints_the_whole_picture_and_a_history_of_before_reads_as_that(large, model):
    state, png = edit(large, model, Wanted("remove the red cube", crop="off"))
    assert state.now.window == ()
    values = json.loads(large.read_text())
    for turn in values["turns"]:
        del turn["window"]
    large.write_text(json.dumps(values))
    assert [same for _, _, same in replay(large, S.read_state(large), model)] == [True, True]
    back(large, 0)
    assert edit(large, model, Wanted("remove the red cube"))[1] != png


def test_a_damaged_window_is_refused_before_anything_is_painted(large, model):
    edit(large, model, Wanted("remove the red cube"))
    values = json.loads(large.read_text())
    values["turns"][1]["window"] = [0, 0, 900, 128, 128, 128]
    large.write_text(json.dumps(values))
    calls = len(model.backend.calls)
    with pytest.raises(SowError, match="leaves the 384x320 picture"):
        replay(large, S.read_state(large), model)
    assert len(model.backend.calls) == calls


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted("whirl"), "Cannot read the instruction"),
        (Wanted("add a cat left of the sphere"), "There is no sphere"),
        (Wanted("add a cat", regions=(Box(0, 0, 96, 64),)), "whole 96x64"),
        (Wanted("add a cat", regions=(Box(200, 0, 9, 9),)), "outside the 96x64"),
        (Wanted("add a cat", settings=("cycles=many",)), "cycles"),
        (Wanted("add a cat", feather=99), "Bad feather 99"),
        (Wanted("add a cat", things=(Thing("dog", Box(90, 0, 50, 9)),)), "leaves the 96x64"),
    ],
)
def test_a_turn_that_cannot_be_leaves_everything_as_it_was(begun, model, wanted, words):
    before = files(begun)
    with pytest.raises(SowError, match=words):
        edit(begun, model, wanted)
    assert files(begun) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"instruction": " "}, "No instruction"),
        ({"candidates": 0}, "1 to 16"),
        ({"candidates": 99}, "1 to 16"),
        ({"regions": (Box(0, 0, 9, 9),), "mask": "m.png"}, "not both"),
        ({"crop": "wide"}, "Bad crop 'wide': expected auto, off"),
    ],
)
def test_wanted_is_checked(changes, words):
    with pytest.raises(SowError, match=words):
        Wanted(**{"instruction": "add a cat"} | changes)


def test_a_mask_of_another_size(begun, model, tmp_path):
    Image.new("L", (32, 32), 255).save(tmp_path / "m.png")
    with pytest.raises(SowError, match="Bad mask size. Expected 96x64"):
        edit(begun, model, Wanted("add a cat", mask=tmp_path / "m.png"))


def test_an_error_and_a_stop_in_the_middle_leave_it_as_it_was(begun, model):
    before = files(begun)
    model.backend.fail_at = 6
    with pytest.raises(RuntimeError, match="broke"):
        edit(begun, model, Wanted("remove the blue cube"))

    def stop(event):
        if event.call == 3:
            raise KeyboardInterrupt

    model.backend.fail_at = None
    with pytest.raises(KeyboardInterrupt):
        edit(begun, model, Wanted("remove the blue cube"), stop)
    assert files(begun) == before and model.backend.open_sessions == 0
    edit(begun, model, Wanted("remove the blue cube"))  # nor is it locked


def test_an_existing_history_is_not_begun_anew(begun, model, image):
    before = files(begun)
    with pytest.raises(SowError, match="is there already"):
        start(begun, model, image=image, prompt=PROMPT)
    assert files(begun) == before


DAMAGED = {
    "not valid JSON": lambda text: text[: len(text) // 2],
    "holds no turns": lambda text: '{"a": 1}',
    "holds no turns ": lambda text: "[1, 2]",
    "newer version": lambda text: text.replace('"sow_turns": 1', '"sow_turns": 2'),
    "damaged": lambda text: text.replace('"parent": null', '"parent": 5'),
    "damaged ": lambda text: text.replace('"current": 0', '"current": 9'),
    "damaged  ": lambda text: text.replace('"turns": [', '"turns": [7,'),
    "damaged   ": lambda text: text.replace('"prompt": "a red', '"prompt": 3, "x": "a red'),
    "damaged    ": lambda text: json.dumps(json.loads(text) | {"size": [96]}),
    "names no picture": lambda text: text.replace(
        json.loads(text)["turns"][0]["picture"], "../../../etc/passwd"
    ),
}


@pytest.mark.parametrize("words", DAMAGED)
def test_a_damaged_foreign_or_newer_file_is_refused_and_left(begun, model, words):
    begun.write_text(DAMAGED[words](begun.read_text()))
    before = files(begun)
    for act in (
        lambda: S.read_state(begun),
        lambda: edit(begun, model, Wanted("add a cat")),
        lambda: back(begun, None),
    ):
        with pytest.raises(SowError, match=words.strip()) as error:
            act()
        assert "\n" not in str(error.value)
    assert files(begun) == before


def test_a_missing_and_a_changed_picture(begun, model):
    name = S.read_state(begun).now.picture
    target = S.folder_of(begun) / f"{name}.png"
    content = target.read_bytes()
    target.write_bytes(content + b"x")
    with pytest.raises(SowError, match="has been changed"):
        edit(begun, model, Wanted("add a cat"))
    target.unlink()
    with pytest.raises(SowError, match="is missing"):
        edit(begun, model, Wanted("add a cat"))
    with pytest.raises(SowError, match="no turns"):
        S.read_state(begun.with_name("other.turns.json"))


def test_a_picture_of_another_size(begun, model, image):
    state = S.read_state(begun)
    S.write_state(begun, replace(state, size=(96, 72)))
    with pytest.raises(SowError, match="Bad picture size. Expected 96x72"):
        edit(begun, model, Wanted("remove the blue cube"))


@pytest.mark.parametrize("name", ["room.json", ".turns.json", "room"])
def test_the_name_says_what_it_is(name):
    with pytest.raises(SowError, match=r"ends in \.turns\.json"):
        S.state_path(name)


def _hold(path: str, ready, go) -> None:
    with S.writing(Path(path)):
        ready.set()
        go.wait(30)


def test_the_second_writer_is_told(begun, model):
    context = multiprocessing.get_context("spawn")
    ready, go = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(str(begun), ready, go))
    other.start()
    try:
        assert ready.wait(60)
        with pytest.raises(SowError, match="Another command is working"):
            back(begun, None)
        with pytest.raises(SowError, match="Another command is working"):
            edit(begun, model, Wanted("remove the blue cube"))
    finally:
        go.set()
        other.join()
    edit(begun, model, Wanted("remove the blue cube"))


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from unit.turns.known import KnownBackend
from types import SimpleNamespace
from sow_core.turns.session import Wanted, edit
model = SimpleNamespace(backend=KnownBackend(), asked=dict(model="demo", model_config=None), size=(128, 128))
def slow(event):
    print("painting", flush=True)
    time.sleep(60)
edit(Path({path!r}), model, Wanted("remove the blue cube"), slow)
"""


@pytest.mark.skipif(os.name == "nt", reason="no kill -9 there")
def test_kill_9_in_the_middle_leaves_it_as_it_was(begun, model):
    here = Path(__file__).resolve()
    script = KILLED.format(tests=str(here.parents[2]), path=str(begun))
    before = files(begun)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=here.parents[3]
    ) as other:
        assert other.stdout is not None and other.stdout.readline().strip() == b"painting"
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert files(begun) == before
    for _ in range(50):  # the system lets go of a dead process's lock, sooner or later
        try:
            state, _ = edit(begun, model, Wanted("remove the blue cube"))
            break
        except SowError:
            time.sleep(0.1)
    assert state.current == 1


def test_a_picture_is_cut_to_the_grid_of_the_model(path, model):
    model.backend.parts.snap = 16
    state = start(path, model, image=Image.new("RGB", (104, 88)), prompt=PROMPT)
    assert state.size == (96, 80)
