"""`generate`: what it makes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from unit.commands.scene import ROOT, Outcome, contents, pixels

from sow_core import __version__
from sow_core.method.overrides import override
from sow_core.method.plan import build_plan
from sow_core.method.presets import preset
from sow_core.pictures.reading import load_kept
from sow_core.settings import read_settings


def test_generate_writes_a_picture_a_sheet_and_a_report(make, place):
    result = make("--mask", "mask.png", "--out", "a.png", "--sheet", "s.png", "--report", "r.json", "--cycles", 3)
    assert result == Outcome(0, ["a.png", "s.png", "r.json"], "")
    assert sorted(contents(place)) == ["a.png", "face.png", "mask.png", "r.json", "s.png"]
    assert Image.open("a.png").size == (64, 64) and pixels("a.png").std() > 1

    report = json.loads(Path("r.json").read_text())
    plan = build_plan(override(preset("fast"), ["cycles=3"]))
    assert report["cost"] == {"calls": plan.cost.calls, "rows": plan.cost.rows, "crop_rows": plan.cost.crop_rows}
    assert report["run"]["model_calls"] == plan.cost.calls == len(report["run"]["calls"])
    assert report["run"]["cycles"] == [3] and report["run"]["version"] == __version__
    assert set(report["run"]["seconds"]) == {"encode", "invert", "cycle", "refine", "decode"}
    assert any("indicator" in call for call in report["run"]["calls"]) == bool(report["settings"]["plan"])
    assert report["plan"] == list(plan.describe())
    (picture,) = report["pictures"]
    assert picture["file"] == "a.png" and picture["seed"] == 0
    assert 0 < picture["fidelity"]["region_rms"] < 1
    assert report["settings"] | {"seeds": [0]} == read_settings("a.png")

    # six tiles of 192 px in three columns: condition, canvas, three cycles, result
    assert Image.open("s.png").size == (3 * 200 + 8, 2 * 218 + 8)
    tile = Image.open("s.png").crop((2 * 200 + 8, 218 + 26, 3 * 200, 2 * 218))  # the last one: the result
    shown = np.asarray(tile.resize((64, 64), Image.Resampling.BOX)).astype(int)
    assert np.abs(shown - pixels("a.png")).mean() < 8


def test_settings_repeat_the_picture_and_name_no_place_of_this_machine(make, cli, place, tiny):
    shutil.copytree(tiny("sd1"), "model")
    make("--mask", "mask.png", "--related", "0,0,64,64", "--seed", 7, "--set", "modulation.enhance=3",
         "--set", "guidance_inside=2", "--paste-back", 3, "--background", "#336699", model="model")  # fmt: skip
    saved = read_settings("sow.png")
    assert str(place) not in json.dumps(saved) and str(ROOT) not in json.dumps(saved)
    assert (saved["version"], saved["model"], saved["seeds"]) == (__version__, "model", [7])
    assert saved["conditions"][0]["box"] == "16,16,32,24" and saved["conditions"][0]["mask"] == "mask.png"
    assert saved["config"]["modulation"]["enhance"] == 3.0 and saved["preset"] == "fast"
    result = cli("generate", "--from", "sow.png", "--out", "again.png", "--quiet")
    assert result == Outcome(0, ["again.png"], "")
    assert Path("again.png").read_bytes() == Path("sow.png").read_bytes()
    cli("generate", "--from", "again.png", "--out", "third.png", "--quiet")
    assert Path("third.png").read_bytes() == Path("sow.png").read_bytes()
    cli("generate", "--from", "sow.png", "--seed", 8, "--set", "cycles=0", "--out", "other.png", "--quiet")
    other = read_settings("other.png")
    assert other["seeds"] == [8] and other["config"] == saved["config"] | {"cycles": 0}
    assert (pixels("other.png") != pixels("sow.png")).any()


def test_what_the_planner_placed_is_repeated(make, cli, tiny):
    assert make(box=None).code == 0
    saved = read_settings("sow.png")
    assert saved["plan"]["conditions"] and len(saved["conditions"][0]["box"].split(",")) == 4
    assert cli("generate", "--from", "sow.png", "--model", tiny("sd1"), "--out", "again.png", "--quiet").code == 0
    assert Path("again.png").read_bytes() == Path("sow.png").read_bytes()


def test_two_conditions_of_which_one_has_a_mask(make, cli, tiny):
    Image.new("RGB", (16, 16), "red").save("red.png")
    result = make("--condition", "red.png", "--mask", "", "--mask", "mask.png", "--box", "0,40,16,16",
                  "--related", "2:0,32,64,32")  # fmt: skip
    assert result.code == 2 and "Bad mask size" in result.err
    assert make("--condition", "red.png", "--mask", "mask.png", "--mask", "", "--box", "0,40,16,16",
                "--related", "2:0,32,64,32").code == 0  # fmt: skip
    assert cli("generate", "--from", "sow.png", "--model", tiny("sd1"), "--out", "again.png", "--quiet").code == 0
    assert Path("again.png").read_bytes() == Path("sow.png").read_bytes()


def test_a_folders_recommendation_and_what_outranks_it(make, cli, place, tiny):
    shutil.copytree(tiny("sd1"), "model")
    Path("model/sow.json").write_text('{"guidance": 3, "negative": "blue"}')

    def used(*argv: object) -> tuple[float, str]:
        assert make(*argv, model="model").code == 0
        saved = read_settings("sow.png")
        return saved["config"]["guidance"], saved["negative"]

    assert used() == (3.0, "blue")
    assert used("--set", "guidance=4", "--negative", "red") == (4.0, "red")
    assert used("--cfg", "7.5", "--negative", "") == (7.5, "")  # the preset's own value, asked for
    assert cli("generate", "--from", "sow.png", "--out", "again.png", "--quiet").code == 0
    assert Path("again.png").read_bytes() == Path("sow.png").read_bytes()


def test_a_batch_is_its_pictures(make):
    assert make("--count", 3, "--seed", 5, "--out", "b.png").out == ["b_1.png", "b_2.png", "b_3.png"]
    for number in (1, 2, 3):
        assert make("--seed", 4 + number, "--out", "single.png").code == 0
        assert np.abs(pixels("single.png") - pixels(f"b_{number}.png")).max() <= 2
        single, batch = read_settings("single.png"), read_settings(f"b_{number}.png")
        assert (batch["seeds"], batch["picture"]) == ([5, 6, 7], number - 1)
        assert single == batch | {"seeds": [4 + number], "picture": 0}
    assert np.abs(pixels("b_1.png") - pixels("b_2.png")).mean() > 1


def test_four_row_guidance_needs_its_prompts(make):
    assert "--suppress" in make("--preset", "cow_official").err
    made = make("--preset", "cow_official", "--suppress", "face", "--diverse", "colour", "--set", "preserve=none")
    assert made == Outcome(0, ["sow.png"], "")
    assert read_settings("sow.png")["extra_prompts"] == {"suppress": "face", "diverse": "colour"}


def test_a_long_prompt_is_noted(make):
    result = make("--prompt", "cat " * 40)
    assert result.code == 0 and result.err.startswith("note: the prompt has 120 tokens") and result.err.count("\n") == 1


def test_a_progress_bar_ends_at_the_plans_calls(make, cli, tiny):
    usual = ["generate", *("--condition", "face.png", "--prompt", "a cat", "--box", "16,16,32,24")]
    assert make("--out", "a.png").err == ""
    result = cli(*usual, "--from", "a.png", "--model", tiny("sd1"), "--out", "b.png")
    calls = build_plan(override(preset("fast"), ["cycles=1"])).cost.calls
    assert result.code == 0 and f"{calls}/{calls}" in result.err and result.err.count("\n") == 1


MODES = {
    "alpha": lambda im: Image.merge("RGBA", (*im.split(), Image.open("mask.png"))),
    "palette": lambda im: im.quantize(64),
    "cmyk": lambda im: im.convert("CMYK"),
    "gray": lambda im: im.convert("L"),
    "gray_alpha": lambda im: Image.merge("LA", (im.convert("L"), Image.open("mask.png"))),
    "bilevel": lambda im: im.convert("1"),
    "deep": lambda im: Image.fromarray(np.asarray(im.convert("L")).astype(np.uint16) * 257),
    "float": lambda im: Image.fromarray(np.asarray(im.convert("L")).astype(np.float32) / 255),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_kind_of_picture_is_converted(mode, make, place):
    source = Image.open("face.png")
    odd = MODES[mode](source)
    name = "odd.tif" if mode in ("cmyk", "float") else "odd.png"
    odd.save(name)
    got, kept = load_kept(name)
    gray = mode in ("gray", "gray_alpha", "deep", "float")
    expected = source.convert("L").convert("RGB") if gray else odd.convert("RGB")
    assert got.mode == "RGB" and np.abs(pixels("face.png").shape[0] - got.size[1]) == 0
    assert np.abs(np.asarray(got).astype(int) - np.asarray(expected)).max() <= 1
    assert (kept is not None) == ("alpha" in mode)
    result = make("--condition", name, "--box", "0,0,32,24", "--cycles", "0", "--no-attention")
    assert result == Outcome(0, ["sow.png"], "")


def test_a_full_mask_keeps_everything(make, place):
    Image.new("L", (32, 24), 255).save("full.png")
    assert make("--out", "a.png").code == 0
    assert make("--out", "b.png", "--mask", "full.png").code == 0
    assert (pixels("a.png") == pixels("b.png")).all()


def test_a_link_stays_a_link(make, place):
    Path("real.png").write_bytes(b"")
    os.symlink("real.png", "link.png")
    assert make("--out", "link.png").code == 0
    assert Path("link.png").is_symlink() and Image.open("real.png").size == (64, 64)


def test_a_picture_of_a_batch_is_repeated_in_its_batch(make, cli, tiny):
    make("--count", 3, "--out", "b.png")
    usual = ("generate", "--from", "b_2.png", "--model", tiny("sd1"), "--quiet")
    repeated = cli(*usual, "--out", "again.png", "--report", "r.json")
    assert repeated.code == 0 and repeated.out == ["again.png", "r.json"]
    assert "number 2 of 3" in repeated.err and repeated.err.count("\n") == 1
    assert Path("again.png").read_bytes() == Path("b_2.png").read_bytes()
    assert [p["seed"] for p in json.loads(Path("r.json").read_text())["pictures"]] == [1]
    assert cli(*usual, "--seed", 9, "--out", "alone.png").err == ""
    assert read_settings("alone.png")["seeds"] == [9]


def test_the_settings_tell_names_and_no_folders(make, cli, place, tmp_path_factory, tiny):
    home = tmp_path_factory.mktemp("anna_mueller")
    for name in ("face.png", "mask.png"):
        shutil.move(name, home / name)
    given = ("--condition", home / "face.png", "--mask", home / "mask.png")
    usual = ("--box", "16,16,32,24", "--background", home / "face.png", "--report", "r.json")
    assert make(*given, *usual, condition=None, box=None).code == 0
    text = "".join(Image.open("sow.png").text.values()) + Path("r.json").read_text()
    assert "anna_mueller" not in text and str(home.parent) not in text
    again = ("generate", "--from", "sow.png", "--model", tiny("sd1"), "--out", "again.png", "--quiet")
    assert "neither beside it nor in the working directory; give --" in cli(*again).err
    assert cli(*again, *given, "--background", home / "face.png").code == 0, "the same files from elsewhere"
    assert Path("again.png").read_bytes() == Path("sow.png").read_bytes()
    Path("below").mkdir()
    for name in ("face.png", "mask.png"):
        shutil.copy(home / name, Path("below") / name)
    Path("face.png").write_bytes(b"another of that name")
    assert cli(*again).code == 0, "found a folder below"
    assert Path("again.png").read_bytes() == Path("sow.png").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_that_is_not_utf8(make, cli, place, tiny):
    odd = os.fsdecode(b"p\xe4\xff.png")
    try:
        shutil.copy("face.png", odd)
    except OSError:
        pytest.skip("this file system has no such names")
    assert make("--condition", odd, "--box", "16,16,32,24", condition=None, box=None).code == 0
    assert read_settings("sow.png")["conditions"][0]["image"] == "p\\xe4\\xff.png"
    assert cli("generate", "--from", "sow.png", "--model", tiny("sd1"), "--out", "again.png", "--quiet").code == 0
    assert Path("again.png").read_bytes() == Path("sow.png").read_bytes()
