"""Lines of a jobs file: the names of `generate`, their types, paths beside the file, ids that are file names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sow_core.batch.task import Defaults, ModelKey, Task, read_task
from sow_core.errors import SowError
from sow_core.pipeline.options import Options

FOLDER = Path("/jobs").absolute()
LINE = {"condition": "a.png", "prompt": "x"}


def options(**more) -> dict:
    return read_task(LINE | more, 7, FOLDER).options


def test_one_of_each_may_stand_alone():
    made = read_task(LINE | {"mask": "m.png", "box": "1,2,3,4", "related": "0,0,8,8"}, 7, FOLDER)
    assert made.options["condition"] == [str(FOLDER / "a.png")] and made.options["mask"] == [str(FOLDER / "m.png")]
    assert made.options["box"] == ["1,2,3,4"] and made.options["related"] == ["0,0,8,8"]
    assert (made.id, made.seeds, made.names, made.model) == ("000007", [0], ["000007.png"], ModelKey())


def test_several_of_each():
    made = options(condition=["a.png", "b.png"], mask=[None, ""], box=[[1, 2, 3, 4], None], size=[64, 128])
    assert [Path(p).name for p in made["condition"]] == ["a.png", "b.png"] and made["mask"] == [None, ""]
    assert made["box"] == [[1, 2, 3, 4], None] and made["size"] == (64, 128)
    assert options(box=[1, 2, 3, 4])["box"] == [[1, 2, 3, 4]]


def test_settings_as_text_list_or_object():
    assert options(set="cycles=3")["settings"] == ["cycles=3"]
    assert options(set={"cycles": 3, "preserve": [4, 3], "extra_rows": False})["settings"] == [
        "cycles=3", "preserve=4,3", "extra_rows=False"]  # fmt: skip


def test_every_option_of_generate_is_known():
    """Or a new option would be one that batches refuse."""
    from dataclasses import fields

    from sow_core.batch.task import _Line

    assert {f.name for f in fields(Options)} - {"settings"} <= {f.name for f in fields(_Line)}


def test_files_lie_beside_the_jobs(tmp_path):
    made = read_task(LINE | {"plan": "p.json", "patch": "w.safetensors:0.5"}, 1, tmp_path).options
    assert (made["plan"], made["patch"]) == (str(tmp_path / "p.json"), str(tmp_path / "w.safetensors:0.5"))


def test_the_fingerprint_is_of_every_file(tmp_path):
    names = {"condition": "a.png", "mask": "m.png", "plan": "p.json", "patch": "w.safetensors", "background": "b.png"}
    for name in names.values():
        (tmp_path / name).write_text("x")
    made = read_task(LINE | names | {"patch": "w.safetensors:0.5"}, 1, tmp_path)
    seen = {made.fingerprint()}
    for name in names.values():
        (tmp_path / name).write_text("y")
        seen.add(made.fingerprint())
    assert len(seen) == 6 and None not in seen
    (tmp_path / "m.png").unlink()
    assert made.fingerprint() is None
    assert read_task(LINE | {"background": "red"}, 1, tmp_path).fingerprint() is not None


def test_hyphens_as_on_the_command_line():
    made = options(**{"paste-back": 4, "no-attention": True})
    assert made["paste_back"] == 4 and made["no_attention"] is True


def test_a_line_wins_over_the_defaults():
    defaults = Defaults({"preset": "fast", "settings": ["cycles=1"], "prompt": "y", "seeds": [5]}, ModelKey("m", "c"))
    made = read_task(LINE | {"set": "cycles=2", "model": "n", "seed": 9, "count": 2}, 1, FOLDER, defaults)
    assert made.options["prompt"] == "x" and made.options["preset"] == "fast"
    assert made.options["settings"] == ["cycles=1", "cycles=2"]
    assert made.seeds == [9, 10] and made.model == ModelKey("n", "c", None)
    assert read_task(LINE, 1, FOLDER, defaults).seeds == [5]


def test_a_background_is_a_file_beside_or_a_colour(tmp_path):
    (tmp_path / "sky.png").touch()
    assert read_task(LINE | {"background": "sky.png"}, 1, tmp_path).options["background"] == str(tmp_path / "sky.png")
    assert read_task(LINE | {"background": "skyblue"}, 1, tmp_path).options["background"] == "skyblue"


def test_the_digest_tells_what_is_asked():
    first = read_task(LINE | {"id": "a"}, 1, FOLDER).digest
    assert read_task(LINE | {"id": "b"}, 2, Path("/elsewhere")).digest == first
    assert read_task(LINE | {"prompt": "y"}, 1, FOLDER).digest != first
    assert read_task(LINE, 1, FOLDER, Defaults({"cfg": 3.0})).digest != first
    assert read_task(LINE, 1, FOLDER, Defaults({}, ModelKey("other"))).digest != first


@pytest.mark.parametrize("name", ["a", "tom 2", "Übung.v2", "000001", "a@b+c=d-e", "x" * 120])
def test_good_ids(name):
    assert read_task(LINE | {"id": name}, 1, FOLDER).id == name


@pytest.mark.parametrize(
    "name",
    ["", ".a", "../a", "a/b", "a\\b", "a:b", "con", "NUL", "com1.x", "a.", "a ", "-a", "x" * 121, "ü" * 61, "a\n"],
)
def test_bad_ids(name):
    with pytest.raises(SowError, match="Bad id"):
        read_task(LINE | {"id": name}, 1, FOLDER)


@pytest.mark.parametrize(
    ("wrong", "part"),
    [
        ({"colour": "red"}, "'colour'"),
        ({"prompt": 5}, "prompt 5"),
        ({"condition": None}, "No condition"),
        ({"condition": {}}, "condition"),
        ({"box": {"x": 1}}, "box"),
        ({"count": 0}, "--count 0"),
        ({"count": 10**9}, "--count"),
        ({"seeds": []}, "Bad seeds"),
        ({"steps": True}, "steps"),
        ({"patch": "w.safetensors:9"}, "strength from -4 to 4"),
        ({"cfg": "high"}, "cfg"),
        ({"download": True}, "'download'"),
        ({"device": "cuda"}, "'device'"),
    ],
)
def test_wrong_lines_are_one_line(wrong, part):
    with pytest.raises(SowError) as caught:
        read_task(LINE | wrong, 1, FOLDER)
    assert part in str(caught.value) and "\n" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(["id", "condition", "mask", "box", "set", "size", "seeds", "count", "related", "background"])


@given(JSON | st.dictionaries(NAMES, JSON, max_size=5).map(lambda values: LINE | values))
def test_whatever_stands_there_is_a_task_or_an_error(values):
    try:
        made = read_task(values, 3, FOLDER)
    except SowError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(made, Task) and len(made.names) == len(made.seeds) >= 1
        assert all(Path(name).name == name for name in made.names)
