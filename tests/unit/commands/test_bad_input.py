"""For every bad input one clear line, exit code 2, nothing written."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from unit.commands.scene import GOOD, QUICK, WEIGHTS, contents, draw

from sow_core.memory import is_out_of_memory
from sow_core.settings import read_settings


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["--condition", "gone.png"], "There is no picture gone.png"),
        (["--condition", "."], "Cannot read the picture .: it is a folder"),
        (["--mask", "gone.png"], "There is no picture gone.png"),
        (["--box", "1,2,3"], "expected four numbers"),
        (["--box", "a,b,c,d"], "expected four numbers"),
        (["--box", "0,0,nan,8"], "expected four numbers"),
        (["--box", "0,0,0,8"], "at least 1 pixel"),
        (["--box", "0,0,8,-8"], "at least 1 pixel"),
        (["--box", "48,16,32,24"], "lies outside the 64x64 canvas"),
        (["--box=-8,16,32,24"], "lies outside the 64x64 canvas"),
        (["--related", "100,100,8,8"], "lies outside the 64x64 canvas"),
        (["--related", "3:0,0,8,8"], "no condition 3"),
        (["--related", "x:0,0,8,8"], "Bad --related"),
        (["--related", "²:0,0,8,8"], "Bad --related"),
        (["--size", "60x64"], "multiple of 8"),
        (["--size", "0x64"], "multiple of 8"),
        (["--size", "64"], "expected WxH"),
        (["--size", "axb"], "expected WxH"),
        (["--preset", "wild"], "Unknown preset 'wild': expected one of normal"),
        (["--model", "wild"], "No such model: wild"),
        (["--model", "."], "no model_index.json"),
        (["--model", "owner/name"], "add --download"),
        (["--model", "face.png"], "Unknown model file"),
        (["--device", "abacus"], "'abacus' cannot be used here"),
        (["--dtype", "int8"], "invalid choice"),
        (["--planner", "oracle"], "invalid choice"),
        (["--plan", "gone.json"], "gone.json"),
        (["--plan", "face.png"], "The plan face.png is not text"),
        (["--prompt", " "], "No prompt"),
        (["--steps", "0"], "Bad steps 0"),
        (["--steps", "many"], "invalid int value"),
        (["--cycles", "-1"], "Bad cycles -1"),
        (["--cfg", "nan"], "Bad guidance nan"),
        (["--count", "0"], "Bad --count 0"),
        (["--count", "65"], "Bad --count 65"),
        (["--paste-back", "-1"], "Bad --paste-back"),
        (["--set", "cycles"], "expected NAME=VALUE"),
        (["--background", "no colour"], "Bad --background"),
        (["--from", "face.png"], "carries no settings"),
        (["--from", "gone.png"], "There is no picture"),
        (["--mistake"], "Unrecognized arguments: --mistake"),
        (["--seed"], "expected one argument"),
        (["--out", "gone/a.png"], "the folder gone does not exist"),
        (["--out", "a.jpg"], "ends in .png"),
        (["--sheet", "a.jpg"], "ends in .png"),
        (["--out", "face.png"], "it is an input"),
        (["--sheet", "sow.png"], "or another output"),
        (["--report", "."], "it is a folder"),
        (["--report", "/dev/null"], "no ordinary file"),
        (["--out", "a" * 300 + ".png"], "Cannot write"),
    ],
)
def test_bad_options(changes, said, refuse):
    option = changes[0].partition("=")[0]
    if option in ("--condition", "--box"):
        at = GOOD.index(option)
        argv = [*GOOD[:at], *GOOD[at + 2 :], *changes]
    else:
        argv = [*GOOD, *changes]
    model = [] if "--model" in changes or "--device" in changes else ["--model", "demo", "--device", "cpu"]
    assert said in refuse("generate", *argv, *model, "--quiet")


def test_missing_options(refuse):
    assert "No condition" in refuse("generate", "--prompt", "x")
    assert "No prompt" in refuse("generate", "--condition", "face.png")
    assert "COMMAND" in refuse()
    assert "invalid choice" in refuse("paint")
    assert "Unknown preset" in refuse("describe", "--preset", "wild")
    assert "No condition" in refuse("describe", "--conditions", "0")


def test_more_of_one_than_of_the_other(refuse):
    two = ["--condition", "face.png", *GOOD]
    assert "More conditions (2) than boxes (1)" in refuse("generate", *two, "--planner", "none")
    assert "More boxes (2) than conditions (1)" in refuse("generate", *GOOD, "--box", "0,0,8,8")
    assert "More masks (2) than conditions (1)" in refuse("generate", *GOOD, "--mask", "mask.png", "--mask", "mask.png")


def test_pictures_and_masks_that_cannot_be_used(refuse, place):
    half = Path("face.png").read_bytes()
    Path("half.png").write_bytes(half[: len(half) // 2])
    Path("text.png").write_text("no picture")
    Path("empty.png").write_bytes(b"")
    rest = GOOD[2:]
    for name in ("half.png", "text.png", "empty.png"):
        assert f"Cannot read {name} as a picture" in refuse("generate", "--condition", name, *rest)
        assert f"Cannot read {name} as a picture" in refuse("generate", *GOOD, "--mask", name)
    draw("small.png", (16, 12), 255)
    assert "Bad mask size. Expected 32x24, as face.png, got 16x12 from small.png" in refuse(
        "generate", *GOOD, "--mask", "small.png"
    )
    draw("black.png")
    said = refuse("generate", *GOOD, "--mask", "black.png")
    assert "mask black.png keeps nothing: its brightest value is 0 of 255" in said
    draw("clear.png", color=(9, 9, 9, 0), mode="RGBA")
    assert "alpha of clear.png keeps nothing" in refuse("generate", "--condition", "clear.png", *rest)


def test_a_mask_finer_than_a_cell(refuse, tiny):
    dot = Image.new("L", (32, 24), 0)
    dot.putpixel((3, 3), 255)
    dot.save("dot.png")
    assert "keeps no whole 8-px cell" in refuse(
        "generate", *GOOD, "--mask", "dot.png", "--model", tiny("sd1"), "--quiet", "--device", "cpu"
    )


def test_models_that_cannot_be_used(refuse, place, tiny):
    shutil.copytree(tiny("sd1"), "model")
    usual = ["generate", *GOOD, *QUICK[2:], "--model"]
    Path("a.ckpt").write_bytes(b"\x80\x02.")
    assert "can run code" in refuse(*usual, "a.ckpt")
    Path("a.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    assert "not a whole .safetensors file" in refuse(*usual, "a.safetensors")
    weights = Path("model") / WEIGHTS
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 3])
    assert refuse(*usual, "model").startswith("error: model/unet/diffusion_pytorch_model.safetensors is not a whole")
    weights.write_bytes(whole)
    state = load_file(weights)
    state["conv_in.weight"][:] = float("nan")
    save_file(state, weights, metadata={"format": "pt"})
    assert "NaN or infinite values" in refuse(*usual, "model")


@pytest.mark.parametrize("where", ["unet", "vae"])
def test_out_of_memory_says_what_to_lower(where, refuse, tiny, monkeypatch):
    from sow_core.backends import opening
    from sow_core.backends.loading import load

    class Greedy(torch.nn.Module):
        def forward(self, *args, **kwargs):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 64.00 GiB.\nGPU 0 has ...")

    def small_machine(*args, **kwargs):
        parts = load(*args, **kwargs)
        if where == "unet":
            parts.unet.mid_block = Greedy()
        else:
            parts.vae.decoder = Greedy()
        return parts

    monkeypatch.setattr(opening, "load", small_machine)
    text = refuse("generate", *GOOD, *QUICK[2:], "--model", tiny("sd1"), "--count", 2)
    assert "Out of memory at 64x64 with 2 pictures on cpu; lower --size or --count" in text


def test_out_of_memory_while_loading(refuse, monkeypatch):
    from sow_core.backends import opening

    def small_machine(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(opening, "load", small_machine)
    assert "Out of memory while loading demo" in refuse("generate", *GOOD)


def test_what_out_of_memory_looks_like():
    with pytest.raises(RuntimeError) as real:
        torch.empty(2**60)
    assert is_out_of_memory(real.value)
    assert is_out_of_memory(MemoryError()) and is_out_of_memory(torch.OutOfMemoryError("x"))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"))
    assert not is_out_of_memory(RuntimeError("shape mismatch")) and not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a folder where even root cannot write")
def test_a_folder_where_nothing_can_be_written(refuse):
    assert "is not writable" in refuse("generate", *GOOD, "--out", "/proc/self/a.png")
    assert "is not writable" in refuse("generate", *GOOD, "--report", "/proc/self/a.json")


def test_a_disk_that_fails_leaves_no_half_written_file(make, place, monkeypatch):
    before = contents(place)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    result = make()
    assert result.code == 2 and result.err == "error: Cannot write sow.png: No space left on device.\n"
    assert contents(place) == before


def test_a_changed_or_missing_source_is_not_repeated(make, refuse, tiny):
    make("--mask", "mask.png")
    repeat = ["generate", "--from", "sow.png", "--model", tiny("sd1"), "--out", "again.png", "--quiet"]
    face = Path("face.png").read_bytes()
    draw("face.png", color=(1, 2, 3), mode="RGB")
    assert "face.png is not the face.png that the picture was made from" in refuse(*repeat)
    Path("face.png").unlink()
    assert "made from face.png, which lies neither" in refuse(*repeat)
    Path("face.png").write_bytes(face)
    draw("mask.png", color=255)
    assert "mask.png is not the mask.png that the picture was made from" in refuse(*repeat)


@pytest.mark.parametrize(
    "change",
    [{"conditions": None}, {"config": []}, {"config": {"cycles": "x"}}, {"seeds": []}, {"prompt": 3}, {"model": None},
     {"config": {"modulation": {"enhance": "x"}}}, {"size": 5}, {"preset": "wild", "config": {"cycle": 1}}],
)  # fmt: skip
def test_settings_of_another_version(change, make, refuse):
    from sow_core.settings import png_bytes

    make()
    Path("odd.png").write_bytes(png_bytes(Image.open("sow.png"), read_settings("sow.png") | change))
    refuse("generate", "--from", "odd.png", "--out", "again.png", "--quiet")


def test_a_picture_without_settings(make, refuse):
    assert make("--no-settings").code == 0
    assert Image.open("sow.png").text == {"Software": "SOW"}
    assert "carries no settings" in refuse("generate", "--from", "sow.png", "--out", "again.png")


def test_a_repeat_does_not_replace_its_source(make, refuse, tiny):
    make()
    assert "sow.png: it is an input" in refuse("generate", "--from", "sow.png", "--model", tiny("sd1"), "--quiet")


def test_a_report_does_not_replace_a_file_of_other_origin(make, place):
    Path("model_index.json").write_text('{"_class_name": "X"}')
    said = make("--report", "model_index.json")
    assert said.code == 2 and "a file that was not made here" in said.err
