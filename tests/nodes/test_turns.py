"""SOW Turn's plain functions: the history between nodes. The sampling itself is tested in ComfyUI."""

from __future__ import annotations

import pytest
import torch

from .pack import part, run_node, sow_error

T = part("nodes.turns")
Box = part("sow_core.method.box").Box
painting = part("sow_core.turns.painting")
PROMPT = "a red cube and a blue cube on a gray floor"
THINGS = "red cube=8,40,24,24\n\nblue cube=60,44,24,24"


@pytest.fixture
def image():
    return torch.rand(1, 72, 96, 3, generator=torch.Generator().manual_seed(0))


def begin(image, prompt=PROMPT, things=THINGS, history=None):
    return T.begin(image, prompt, T.read_things(things), history)


def turn(history, image, instruction, pick=0, candidates=2):
    planned = T.plan(history, instruction, (), "", "offline", "", False)
    canvas = painting.make_canvas(history.steps[-1].picture, planned, painting.EditOptions(feather=4))
    made = torch.rand(candidates, 3, 72, 96, generator=torch.Generator().manual_seed(1))
    found = T.Round(planned, canvas, painting.laid_back(canvas, made, 4), tuple(range(candidates)))
    return T.finish(history, found, pick)


def test_a_chain_of_turns_keeps_everything_else(image):
    first = turn(begin(image), image, "make the red cube yellow")
    kept = first.mask[0] < 0.5
    assert torch.equal(first.images[0][kept], image[0][kept]) and first.images.shape == (2, 72, 96, 3)
    after = begin(first.images[:1], "", "", first.history)
    second = turn(after, image, "remove the blue cube")
    assert second.prompt == "a yellow cube on a gray floor"
    assert [s.label for s in second.history.steps] == [PROMPT, "make the red cube yellow", "remove the blue cube"]
    assert "instruction: remove" in second.report
    sheet = run_node("SOW_TurnsSheet", history=second.history).args[0]
    assert sheet.shape[0] == 1 and sheet.shape[-1] == 3


def test_the_picked_candidate_comes_first_and_goes_on(image):
    zero, one = (turn(begin(image), image, "remove the blue cube", pick) for pick in (0, 1))
    assert torch.equal(zero.images[0], one.images[1]) and torch.equal(one.images[0], zero.images[1])
    assert torch.equal(one.history.steps[-1].picture, one.images[0].movedim(-1, 0))


def test_a_picture_that_was_changed_in_between_is_taken(image):
    made = turn(begin(image), image, "remove the blue cube").history
    other = torch.zeros(1, 72, 96, 3)
    assert torch.equal(begin(other, "", "", made).steps[-1].picture, torch.zeros(3, 72, 96))


def test_a_plan_shows_what_would_change_and_nothing_is_painted(image):
    asked = {"image": image, "prompt": PROMPT, "regions": "", "things": THINGS, "planner": "offline", "profile": ""}
    made = run_node("SOW_TurnPlan", instruction="make the red cube yellow", **asked)
    plan, region, told, report, shown = made.args
    assert plan.turn.prompt == told == "a yellow cube and a blue cube on a gray floor" and plan.free is None
    assert region.shape == (1, 72, 96) and region[0, 50, 20] == 1 and region[0, 5, 5] == 0
    assert "region: " in report and "yellow cube: 8,40,24,24" in report
    assert shown.shape[1] >= 512 and shown.shape[-1] == 3
    masked = run_node("SOW_TurnPlan", instruction="remove the blue cube", mask=torch.ones(1, 72, 96) * (
        torch.arange(96) > 40), **asked)  # fmt: skip
    assert "region: the mask" in masked.args[3] and masked.args[1].sum() == 72 * 55
    with pytest.raises(sow_error(), match="There is no cup.* give the place with things 'cup=X,Y,W,H' or regions"):
        run_node("SOW_TurnPlan", instruction="remove the cup", **asked | {"prompt": "a cup", "things": ""})


def test_a_plan_goes_on_from_the_picture_at_hand(image):
    first = turn(begin(image), image, "make the red cube yellow")
    plan = T.Planned(first.history, T.plan(first.history, "remove the blue cube", (), "", "offline", "", False), None)
    other = torch.zeros(1, 72, 96, 3)
    moved = T.on_picture(plan, other)
    assert torch.equal(moved.history.steps[-1].picture, torch.zeros(3, 72, 96)) and moved.turn is plan.turn
    with pytest.raises(sow_error(), match="as the history"):
        T.on_picture(plan, torch.zeros(1, 64, 64, 3))


def test_a_match_is_the_demo_or_a_clip_folder_of_the_host(image, monkeypatch, tmp_path):
    find = part("nodes.find")
    monkeypatch.setattr(T, "clip_folders", lambda: {"tiny": str(tmp_path)})
    assert T.matches() == ["own", "demo", "tiny"]
    others = "No match '../other': expected one of own, demo, tiny"
    for name, words in (("tiny", "No CLIP model in"), ("../other", others)):
        with pytest.raises(sow_error(), match=words):
            T.match_of(name)
    assert T.match_of("demo").name and find.encoders()[0] == "demo"


class _Clip:
    """Its encodings are the texts themselves."""

    def tokenize(self, text):
        return text

    def encode_from_tokens_scheduled(self, tokens):
        return [[tokens, {}]]


@pytest.mark.parametrize(("crop", "shown"), [("auto", (128, 128)), ("off", (384, 320)), ("2", (128, 128))])
def test_a_large_picture_is_painted_in_a_window(monkeypatch, crop, shown):
    native, asked = part("nodes.native"), {}

    def sample_layout(model, positive, negative, vae, layout, config, seeds):
        asked.update(prompt=positive[0][0], size=(layout.width, layout.height), snap=layout.snap)
        images = torch.rand(len(seeds), layout.height, layout.width, 3, generator=torch.Generator().manual_seed(2))
        return native.Sampled({}, images, None)

    monkeypatch.setattr(native, "sample_layout", sample_layout)
    monkeypatch.setattr(native, "grid_of", lambda model: (8, 16))
    monkeypatch.setattr(part("nodes.native.sizes"), "trained_size", lambda model: (128, 128))
    image = torch.rand(1, 320, 384, 3, generator=torch.Generator().manual_seed(0))
    history = begin(image, things="red cube=20,200,32,32\nblue cube=340,20,32,32")
    planned = T.plan(history, "make the red cube yellow", (), "", "offline", "", False)
    plan = T.Planned(history, planned, None)
    made = T.take_turn(None, _Clip(), None, plan, None, [1, 2], 5.0, 4, 0, crop=crop)
    assert asked["size"] == shown and asked["snap"] == 16
    far = "" if shown != (384, 320) else " and a blue cube"
    assert asked["prompt"] == f"a yellow cube{far} on a gray floor"
    assert made.prompt == "a yellow cube and a blue cube on a gray floor", "the history knows all of it"
    assert ("window: " in made.report) == (crop != "off")
    kept = made.mask[0] < 0.5
    assert made.images.shape == (2, 320, 384, 3)
    assert torch.equal(made.images[:, kept], image[:, kept].expand(2, -1, -1))
    assert not torch.equal(made.images[0], image[0])


def test_masks():
    assert T.free_of(None, (96, 72)) is None and T.free_of(torch.zeros(1, 64, 64), (96, 72)) is None
    assert T.free_of(torch.ones(1, 72, 96), (96, 72)).shape == (72, 96)
    with pytest.raises(sow_error(), match="Bad mask size. Expected 96x72"):
        T.free_of(torch.ones(1, 72, 90), (96, 72))


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda im: begin(im[:, :70]), "multiples of 8"),
        (lambda im: begin(torch.cat([im, im])), "Bad image batch"),
        (lambda im: begin(im, things="cube=90,0,50,9"), "leaves the 96x72"),
        (lambda im: begin(im, things="cube"), "Bad --thing|Bad thing"),
        (lambda im: begin(torch.zeros(1, 64, 64, 3), "", "", begin(im)), "Expected 96x72, as the history"),
        (lambda im: turn(begin(im), im, " "), "No instruction"),
        (lambda im: turn(begin(im), im, "whirl"), "Cannot read the instruction"),
        (lambda im: turn(begin(im, ""), im, "remove the blue cube"), "no prompt"),
        (lambda im: turn(begin(im), im, "remove the blue cube", 5), "Bad pick 5"),
        (lambda im: T.read_regions("1,2,3"), "Bad region"),
    ],
)
def test_errors_are_one_line(image, act, words):
    with pytest.raises(sow_error(), match=words) as error:
        act(image)
    assert "\n" not in str(error.value)
