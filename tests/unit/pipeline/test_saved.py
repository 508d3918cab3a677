"""Settings inside a PNG may be anybody's: a checked record or one line, before any work."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sow_core.errors import SowError
from sow_core.method.config import SowConfig
from sow_core.pipeline.finding import bare_name, find_file
from sow_core.pipeline.saved import read_saved
from sow_core.settings import CHUNK, digest, png_bytes

GOOD = {
    "settings": 2, "version": "0.1.0", "model": "demo", "model_config": None, "dtype": None, "device": "cpu",
    "conditions": [{"image": "a.png", "sha256": "0" * 64, "mask": None, "mask_sha256": None, "box": "0,0,64,64",
                    "related": ["0,64,64,64"]}],
    "prompt": "a cat", "negative": "", "extra_prompts": {}, "size": [128, 128], "background": None,
    "background_sha256": None, "seeds": [1, 2], "picture": 1, "paste_back": None, "preset": "normal",
    "config": SowConfig().as_dict(), "plan": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("saved") / "x.png"


def refused(file, values) -> str:
    file.write_bytes(png_bytes(Image.new("RGB", (8, 8)), values))
    with pytest.raises(SowError) as caught:
        read_saved(str(file))
    text = str(caught.value)
    assert text.isprintable() and "x.png" in text
    return text


def test_what_was_saved_is_read(file):
    file.write_bytes(png_bytes(Image.new("RGB", (8, 8)), GOOD))
    saved, config, plan = read_saved(str(file))
    assert saved.seeds == (1, 2) and saved.picture == 1 and config == SowConfig() and plan is None
    older = {key: value for key, value in GOOD.items() if key != "picture"} | {"settings": 1, "seeds": [4]}
    file.write_bytes(png_bytes(Image.new("RGB", (8, 8)), older))
    assert read_saved(str(file))[0].seeds == (4,)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt": 3}, "prompt"), ({"prompt": None}, "prompt"), ({"model": ["a"]}, "model"), ({"seeds": []}, "seeds"),
        ({"seeds": [1.5]}, "seeds"), ({"seeds": "1"}, "seeds"), ({"picture": 2}, "picture"), ({"size": 5}, "size"),
        ({"size": [128, 10**9]}, "size"), ({"background": {}}, "background"), ({"device": "x" * 99}, "device"),
        ({"dtype": "int8"}, "dtype"), ({"paste_back": "all"}, "paste_back"), ({"preset": "wild"}, "wild"),
        ({"plan": [1]}, "plan"), ({"plan": {"sow_plan": 99}}, "version 99"), ({"plan": {}}, "no box"),
        ({"conditions": []}, "conditions"), ({"conditions": {}}, "conditions"), ({"conditions": [3]}, "conditions[0]"),
        ({"conditions": [{"image": "a.png", "sha256": "0", "box": "0,0,8,8"}]}, "sha256"),
        ({"conditions": [{"image": "a.png", "sha256": None, "box": "far"}]}, "box"),
        ({"config": {"cycles": "many"}}, "cycles"), ({"config": {"steps": 10**18}}, "steps"),
        ({"config": []}, "config"), ({"config": {"modulation": {"enhance": {}}}}, "enhance"),
        ({"settings": 3}, "settings"),
        ({"extra_prompts": {"suppress": 1}}, "suppress"),
    ],
)  # fmt: skip
def test_a_bad_value_is_named(change, said, file):
    assert said in refused(file, GOOD | change)


@pytest.mark.parametrize(
    "text",
    ["[]", "null", "{", '{"settings": NaN}', '{"seeds": [1e999]}', '{"seeds": [' + "9" * 5000 + "]}", "[" * 50000,
     '{"a":' * 20000, '"\\ud800"', '{"prompt": "\\u0000"}', "\x1b[31mred"],
)  # fmt: skip
def test_what_is_no_settings_at_all(text, file):
    info = PngInfo()
    info.add_itxt(CHUNK, text)
    Image.new("RGB", (8, 8)).save(file, pnginfo=info)
    with pytest.raises(SowError) as caught:
        read_saved(str(file))
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=250, deadline=None)
@given(data=st.data())
def test_any_value_anywhere_is_read_or_refused_in_one_line(data, file):
    values = copy.deepcopy(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        place = values
        while True:
            key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            inner = place[key]
            if not isinstance(inner, (dict, list)) or not inner or data.draw(st.booleans()):
                break
            place = inner
        if data.draw(st.booleans()):
            place[key] = data.draw(ANY)
        elif isinstance(place, dict) and len(place) > 1:
            del place[key]
    info = PngInfo()
    info.add_itxt(CHUNK, json.dumps(values))
    Image.new("RGB", (8, 8)).save(file, pnginfo=info)
    try:
        saved, config, _ = read_saved(str(file))
    except SowError as error:
        assert str(error).isprintable()
    else:
        assert isinstance(config, SowConfig) and saved.prompt.__class__ is str


@pytest.mark.parametrize(
    ("path", "name"),
    [("/home/anna/a.png", "a.png"), ("a.png", "a.png"), ("C:\\Users\\Anna\\a.png", "a.png"), ("../x/", "x"),
     ("b\udce4.png", "b\\xe4.png")],
)  # fmt: skip
def test_bare_names(path, name):
    assert bare_name(path) == name
    bare_name(path).encode()


def test_a_name_that_leads_elsewhere_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"x")
    monkeypatch.chdir(tmp_path / "in")
    for name in ("../secret.png", str(secret), "..", ""):
        with pytest.raises(SowError, match="neither beside it"):
            find_file(name, digest(secret), tmp_path / "in", "--condition")
