"""The command line: what it makes, and for every bad input one clear line, exit code 2, nothing written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from sow_core import __version__
from sow_core.cli import main
from sow_core.memory import is_out_of_memory
from sow_core.method.overrides import override
from sow_core.method.plan import build_plan
from sow_core.method.presets import PRESETS, preset
from sow_core.pictures.reading import load_kept
from sow_core.settings import read_settings

ROOT = Path(__file__).resolve().parents[3]
QUICK = ("--preset", "fast", "--cycles", "1", "--size", "64x64", "--device", "cpu", "--quiet")
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


class Outcome(NamedTuple):
    code: int
    out: list[str]
    err: str


@pytest.fixture
def cli(capsys):
    def call(*argv: object) -> Outcome:
        capsys.readouterr()
        code = main([str(a) for a in argv])
        captured = capsys.readouterr()
        return Outcome(code, captured.out.splitlines(), captured.err)

    return call


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to work in, with a picture and a mask."""
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(values).save("face.png")
    mask = np.zeros((24, 32), np.uint8)
    mask[4:20, 6:26] = 255
    Image.fromarray(mask).save("mask.png")
    return tmp_path


@pytest.fixture
def make(cli, place, tiny):
    """generate with the usual options on a tiny model, and more."""

    def call(*argv: object, model: object = None, box: str | None = "16,16,32,24") -> Outcome:
        placed = ["--box", box] if box else []
        usual = ["--condition", "face.png", "--prompt", "a cat", "--model", model or tiny("sd1"), *placed]
        return cli("generate", *usual, *QUICK, *argv)

    return call


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def refuse(cli, place):
    """What is refused: its one line, after checking code, line count and that no file changed."""

    def call(*argv: object) -> str:
        before = contents(place)
        result = cli(*argv)
        assert result.code == 2 and result.out == []
        assert result.err.startswith("error: ") and result.err.endswith((".\n", "?\n")) and result.err.count("\n") == 1
        assert contents(place) == before
        return result.err

    return call


def pixels(path: str | Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


# -- what it makes


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


def test_what_the_planner_placed_is_repeated(make, cli):
    assert make(box=None).code == 0
    saved = read_settings("sow.png")
    assert saved["plan"]["conditions"] and len(saved["conditions"][0]["box"].split(",")) == 4
    assert cli("generate", "--from", "sow.png", "--out", "again.png", "--quiet").code == 0
    assert Path("again.png").read_bytes() == Path("sow.png").read_bytes()


def test_two_conditions_of_which_one_has_a_mask(make, cli):
    Image.new("RGB", (16, 16), "red").save("red.png")
    result = make("--condition", "red.png", "--mask", "", "--mask", "mask.png", "--box", "0,40,16,16",
                  "--related", "2:0,32,64,32")  # fmt: skip
    assert result.code == 2 and "Bad mask size" in result.err
    assert make("--condition", "red.png", "--mask", "mask.png", "--mask", "", "--box", "0,40,16,16",
                "--related", "2:0,32,64,32").code == 0  # fmt: skip
    assert cli("generate", "--from", "sow.png", "--out", "again.png", "--quiet").code == 0
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
        assert single == batch
    assert np.abs(pixels("b_1.png") - pixels("b_2.png")).mean() > 1


def test_four_row_guidance_needs_its_prompts(make):
    assert "--suppress" in make("--preset", "cow_official").err
    made = make("--preset", "cow_official", "--suppress", "face", "--diverse", "colour", "--set", "preserve=none")
    assert made == Outcome(0, ["sow.png"], "")
    assert read_settings("sow.png")["extra_prompts"] == {"suppress": "face", "diverse": "colour"}


def test_a_long_prompt_is_noted(make):
    result = make("--prompt", "cat " * 40)
    assert result.code == 0 and result.err.startswith("note: the prompt has 120 tokens") and result.err.count("\n") == 1


def test_a_progress_bar_ends_at_the_plans_calls(make, cli):
    usual = ["generate", *("--condition", "face.png", "--prompt", "a cat", "--box", "16,16,32,24")]
    assert make("--out", "a.png").err == ""
    result = cli(*usual, "--from", "a.png", "--out", "b.png")
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


# -- describe, help, version


@pytest.mark.parametrize("name", PRESETS)
def test_describe(name, cli):
    result, plan = cli("describe", "--preset", name), build_plan(preset(name))
    assert result.code == 0 and result.err == "" and result.out == list(plan.describe())
    cost = plan.cost
    total = f"total: {cost.calls} calls, {cost.rows} rows at canvas size, {cost.crop_rows} at crop size"
    assert result.out[-1] == total
    values = json.loads("\n".join(cli("describe", "--preset", name, "--json").out))
    assert values["cost"] == {"calls": cost.calls, "rows": cost.rows, "crop_rows": cost.crop_rows}
    assert values["settings"] == json.loads(json.dumps(preset(name).as_dict()))


def test_describe_counts_what_is_changed(cli):
    changed = cli("describe", "--set", "cycles=2", "--set", "invert_on=crop", "--conditions", 3).out
    cost = build_plan(override(preset("normal"), ["cycles=2", "invert_on=crop"]), 3).cost
    assert f"total: {cost.calls} calls" in changed[-1] and sum("Invert level" in line for line in changed) == 4


@pytest.mark.parametrize("argv", [["--help"], ["generate", "--help"], ["describe"], ["generate", "--preset", "x"]])
def test_what_needs_no_model_does_not_wait_for_torch(argv):
    code = (
        "import sys\nfrom sow_core.cli import main\n"
        f"try:\n    main({argv!r})\nexcept SystemExit:\n    pass\n"
        "sys.exit(any(m in sys.modules for m in ('torch', 'diffusers', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60).returncode == 0


def test_version_and_help(cli, capsys):
    for argv in (["--version"], ["--help"], ["generate", "--help"]):
        with pytest.raises(SystemExit) as left:
            cli(*argv)
        assert left.value.code == 0
    assert "--condition" in capsys.readouterr().out


# -- bad input

GOOD = ["--condition", "face.png", "--prompt", "a cat", "--box", "16,16,32,24", "--size", "64x64"]


def draw(name: str, size: tuple[int, int] = (32, 24), color: object = 0, mode: str = "L") -> str:
    Image.new(mode, size, color).save(name)
    return name


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
        (["--plan", "face.png"], "Cannot read the plan"),
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
    assert refuse(*usual, "model").startswith("error: Cannot load model/unet")
    weights.write_bytes(whole)
    state = load_file(weights)
    state["conv_in.weight"][:] = float("nan")
    save_file(state, weights, metadata={"format": "pt"})
    assert "NaN or infinite values" in refuse(*usual, "model")


@pytest.mark.parametrize("where", ["unet", "vae"])
def test_out_of_memory_says_what_to_lower(where, refuse, tiny, monkeypatch):
    from sow_core.backends import diffusers as backend
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

    monkeypatch.setattr(backend, "load", small_machine)
    text = refuse("generate", *GOOD, *QUICK[2:], "--model", tiny("sd1"), "--count", 2)
    assert "Out of memory at 64x64 with 2 pictures on cpu; lower --size or --count" in text


def test_out_of_memory_while_loading(refuse, monkeypatch):
    from sow_core.backends import diffusers as backend

    def small_machine(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(backend, "load", small_machine)
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


def test_a_changed_or_missing_source_is_not_repeated(make, refuse):
    make("--mask", "mask.png")
    repeat = ["generate", "--from", "sow.png", "--out", "again.png", "--quiet"]
    face = Path("face.png").read_bytes()
    draw("face.png", color=(1, 2, 3), mode="RGB")
    assert "face.png has changed since" in refuse(*repeat)
    Path("face.png").unlink()
    assert "made from face.png, which is not here" in refuse(*repeat)
    Path("face.png").write_bytes(face)
    draw("mask.png", color=255)
    assert "mask.png has changed since" in refuse(*repeat)


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


# -- as processes


def start(*argv: object, cwd: Path) -> subprocess.Popen[bytes]:
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    # A shell starts background jobs with Ctrl-C ignored, which children inherit: theirs must be a terminal's.
    reset = None if os.name == "nt" else (lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    command = [sys.executable, "-m", "sow_core", *map(str, argv)]
    return subprocess.Popen(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=reset
    )


def test_a_process_prints_one_line_and_no_noise_of_libraries(place, tiny):
    shutil.copytree(tiny("sdxl"), "model")
    weights = place / "model" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:5000])
    run = start("generate", *GOOD, "--model", "model", "--device", "cpu", cwd=place)
    out, err = run.communicate(timeout=120)
    assert (run.returncode, out) == (2, b"")
    assert err.count(b"\n") == 1 and err.startswith(b"error: Cannot load model/unet")


def test_a_process_that_succeeds_says_only_what_it_wrote(place, tiny):
    run = start("generate", *GOOD, *QUICK, "--model", tiny("sdxl"), "--out", "a.png", cwd=place)
    out, err = run.communicate(timeout=120)
    assert (run.returncode, out, err) == (0, b"a.png\n", b"")


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to a single process")
def test_interrupt_leaves_nothing_behind(place, tiny):
    before = contents(place)
    usual = ["--condition", "face.png", "--prompt", "a cat", "--box", "16,16,32,24", "--size", "64x64"]
    run = start("generate", *usual, "--model", tiny("sd1"), "--device", "cpu", "--cycles", 1000, "--out", "a.png",
                "--report", "r.json", cwd=place)  # fmt: skip
    assert run.stderr is not None
    seen, deadline = b"", time.monotonic() + 120
    while b"cycle 2" not in seen and time.monotonic() < deadline:
        seen += run.stderr.read(1)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out) == (130, b"")
    bar, last = (seen + err).decode().splitlines(keepends=False)[-2:]
    assert last == "interrupted" and "cycle 2" in bar and (seen + err).count(b"\n") == 2  # the bar's line, and that
    assert contents(place) == before
