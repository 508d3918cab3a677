"""`sow.load` and a model as a function: what generate is made of, with PIL pictures and lists as well."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import sow_core as sow
from sow_core.cli import main
from sow_core.method.plan import build_plan

SMALL = {"size": (64, 64), "preset": "fast", "cycles": 1}


@pytest.fixture(scope="module")
def model(tiny):
    return sow.load(tiny("sd1"), device="cpu")


@pytest.fixture
def face(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "face.png")
    return tmp_path / "face.png"


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def test_files_and_pil_pictures_are_the_same_and_seeds_are_free(model, face):
    box = (16, 16, 32, 24)
    one = model(face, box=box, prompt="a cat", seeds=[7, 3], **SMALL)
    two = model(Image.open(face), box=box, prompt="a cat", seeds=[7, 3], **SMALL)
    assert [i.size for i in one.images] == [(64, 64)] * 2
    assert torch.equal(one.pixels, two.pixels) and (pixels(one.images[0]) != pixels(one.images[1])).any()
    assert one.report["cost"]["calls"] == build_plan(one.job.config).cost.calls
    assert [p["seed"] for p in one.report["pictures"]] == [7, 3]
    assert two.settings["conditions"][0]["image"] is None and one.settings["conditions"][0]["image"] == face.name


def test_generate_is_the_same_path(model, face, tiny, tmp_path, capsys):
    made = model(face, box="16,16,32,24", prompt="a cat", seeds=[5], **SMALL)
    command = ["generate", "--condition", str(face), "--box", "16,16,32,24", "--prompt", "a cat", "--seed", "5",
               "--size", "64x64", "--preset", "fast", "--cycles", "1", "--model", str(tiny("sd1")), "--device", "cpu",
               "--quiet", "--out", str(tmp_path / "b.png")]  # fmt: skip
    assert main(command) == 0
    assert made.save(tmp_path / "a.png") == [tmp_path / "a.png"]
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_several_conditions_settings_progress_and_sheet(model, face):
    calls = []
    picture = Image.open(face)
    masks = [Image.new("L", picture.size, 255), None]
    made = model([picture, face], mask=masks, box=[(0, 0, 24, 24), (32, 32, 24, 24)],
                 prompt="two cats", settings={"trajectory": "noise", "preserve": (4, 3), "modulation.enhance": 2.0},
                 progress=lambda event: calls.append(event.kind), **SMALL)  # fmt: skip
    assert made.job.config.trajectory == "noise" and made.job.config.modulation.enhance == 2.0
    assert calls.count("call") == made.report["cost"]["calls"] and calls[-1] == "done"
    assert made.sheet().width > 192 and len(made.layout.conditions) == 2


def test_a_whole_config_stays_as_it_is(model, face):
    config = sow.SowConfig(cycles=1, modulation=None, guidance=3.0)
    made = model(face, box=(16, 16, 32, 24), prompt="a cat", settings=config, size="64x64")
    assert made.job.config == config


@pytest.mark.parametrize(
    ("wrong", "part"),
    [
        ({"prompt": None}, "No prompt"),
        ({"colour": "red"}, "Unknown option 'colour'"),
        ({"settings": {"cycle": 3}}, "Unknown setting 'cycle'"),
        ({"preset": "best"}, "Unknown preset 'best'"),
        ({"planner": "oracle"}, "Unknown planner 'oracle'"),
        ({"seeds": []}, "Bad seeds"),
        ({"seeds": [1.5]}, "Bad seeds"),
        ({"box": (0, 0, 999, 8)}, "lies outside"),
        ({"box": (0, 0, 9)}, "four numbers"),
        ({"mask": Image.new("L", (5, 5), 255)}, "a picture in memory"),
        ({"mask": Image.new("L", (32, 24), 0)}, "keeps nothing"),
    ],
)
def test_bad_input_is_one_line(model, face, wrong, part):
    given = {"box": (16, 16, 32, 24), "prompt": "a cat"} | SMALL | wrong
    with pytest.raises(sow.SowError) as caught:
        model(face, **given)
    assert part in str(caught.value) and "\n" not in str(caught.value)


def test_a_stop_leaves_the_model(model, face):
    class Stop(Exception):
        pass

    def stop(event):
        raise Stop

    before = dict(model.backend.parts.unet.attn_processors)
    with pytest.raises(Stop):
        model(face, box=(16, 16, 32, 24), prompt="a cat", progress=stop, **SMALL)
    assert model.backend.parts.unet.attn_processors == before


def test_a_bad_model_is_one_line():
    for wrong in ({"model": "no/such.safetensors"}, {"dtype": "float8"}, {"device": "abacus"}):
        with pytest.raises(sow.SowError):
            sow.load(**wrong)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = sow.lode
    assert {"load", "Model", "SowError"} <= set(dir(sow))


# -- keeping things apart


def test_separation_is_in_the_plan_and_strength_zero_is_none(model, face):
    given = {"box": (16, 16, 32, 24), "prompt": "a cat and a dog"} | SMALL
    plain = model(face, **given)
    off = model(face, separate="cat, dog", settings={"separate.strength": 0.0, "separate.depth": 0}, **given)
    assert torch.equal(plain.pixels, off.pixels) and off.report["cost"] == plain.report["cost"]
    on = model(face, separate=["cat", "dog"], settings={"separate.depth": 0, "separate.enough": 0.0}, **given)
    moved = [c for c in on.report["run"]["calls"] if "separation" in c]
    assert len(moved) == 3 and on.report["cost"]["calls"] == plain.report["cost"]["calls"] + 3
    assert all(0 < v < 2 for c in moved for v in c["separation"])
    assert not torch.equal(plain.pixels, on.pixels)
    assert sum(line.strip().startswith("Separate") for line in on.report["plan"]) == 3
    again = model(face, **given)
    assert torch.equal(plain.pixels, again.pixels), "nothing stays behind"


def test_separation_that_is_not_needed_changes_nothing(model, face):
    given = {"box": (16, 16, 32, 24), "prompt": "a cat and a dog"} | SMALL
    plain = model(face, **given)
    content = model(face, separate="cat, dog", settings={"separate.depth": 0, "separate.enough": 2.0}, **given)
    assert torch.equal(plain.pixels, content.pixels)


@pytest.mark.parametrize(
    ("wrong", "part"),
    [
        ({"separate": "horse"}, "'horse' does not stand in the prompt"),
        ({"separate": " , "}, "Bad --separate"),
        ({"settings": {"separate.strength": 0.3}}, "No things to keep apart"),
        ({"separate": "cat", "settings": {"separate.depth": 9}}, "separate.depth"),
        ({"patch": "no.safetensors"}, "No such patch"),
    ],
)
def test_bad_separation_is_one_line(model, face, wrong, part):
    given = {"box": (16, 16, 32, 24), "prompt": "a cat and a dog"} | SMALL | wrong
    with pytest.raises(sow.SowError) as caught:
        model(face, **given)
    assert part in str(caught.value) and "\n" not in str(caught.value)


def test_a_stop_in_a_step_of_separation_leaves_the_model(model, face):
    unet = model.backend.parts.unet
    before, flags = dict(unet.attn_processors), [p.requires_grad for p in unet.parameters()]

    class Stop(Exception):
        pass

    def stop(event):
        raise Stop

    settings = {"separate.depth": 0, "trajectory": "noise", "init": "noise"}  # the first call is one of separation
    with pytest.raises(Stop):
        model(face, box=(16, 16, 32, 24), prompt="a cat", separate="cat", settings=settings, progress=stop, **SMALL)
    assert unet.attn_processors == before and [p.requires_grad for p in unet.parameters()] == flags


def test_a_patch_travels_with_the_picture(model, face, tmp_path, tiny, capsys):
    from sow_core.backends.patches import key_weights, write_patch

    weights = key_weights(model.backend.parts.unet)
    patch = write_patch(tmp_path / "p.safetensors", {n: torch.randn_like(w) * 0.1 for n, w in weights.items()}, {})
    given = {"box": (16, 16, 32, 24), "prompt": "a cat"} | SMALL
    plain = model(face, **given)
    none = model(face, patch=f"{patch}:0", **given)
    half = model(face, patch=f"{patch}:.5", **given)
    assert torch.equal(plain.pixels, none.pixels) and not torch.equal(plain.pixels, half.pixels)
    assert torch.equal(plain.pixels, model(face, **given).pixels)
    half.save(tmp_path / "half.png")
    assert main(["generate", "--from", str(tmp_path / "half.png"), "--out", str(tmp_path / "again.png"), "--quiet",
                 "--device", "cpu", "--model", str(tiny("sd1"))]) == 0  # fmt: skip
    assert (pixels(Image.open(tmp_path / "again.png")) == pixels(half.images[0])).all()
