"""Where keys come from and where they never go."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.outside.test_reading import JSON, one_clear_line

from sow_core.errors import SowError
from sow_core.planning.config import Access, Config, Section, default_folder, write_template
from sow_core.planning.errors import MESSAGES, PlannerError

KEY = "AIzaTest-secret-0123456789"


def config(tmp_path, **data) -> Config:
    (tmp_path / "config.json").write_text(json.dumps(data))
    return Config.load(tmp_path)


def test_no_file_is_fine(tmp_path):
    access = Config.load(tmp_path / "nowhere").gemini()
    assert access.key == "" and access.base_url == ""


def test_the_file_gives_key_and_model(tmp_path):
    access = config(tmp_path, gemini={"api_key": f" {KEY}\n", "model": "gemini-x"}).gemini()
    assert (access.key, access.model) == (KEY, "gemini-x")


def test_a_key_is_in_no_representation(tmp_path):
    loaded = config(tmp_path, gemini={"api_key": KEY})
    assert KEY not in repr(loaded) + str(loaded) + repr(loaded.gemini())


@pytest.mark.parametrize(
    "text, words",
    [
        ("{", "not valid JSON"),
        ("[]", "JSON object"),
        ('{"gemini": 3}', "section gemini"),
        ('{"gemini": {"api_key": 3}}', "section gemini"),
        ('{"gemini": {"base_url": "ftp://x"}}', "base_url"),
        ('{"gemini": {"base_url": "https://user:pw@x"}}', "base_url"),
        ('{"gemini": {"base_url": "http://example.com", "api_key": "' + KEY + '"}}', "unencrypted"),
        ("[" * 100_000, "nested too deeply"),
        ('{"gemini": {"api_key": "' + KEY + '",}}', "a comma before a closing bracket"),
        ('{"gemini": {"api_key": ["' + KEY + '"]}}', "section gemini"),
        ('{"gemini": {"api_key": "' + KEY + '", "base_url": "https://' + KEY + '@["}}', "base_url"),
    ],
)
def test_a_broken_file_is_one_clear_line_without_the_key(tmp_path, text, words):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(SowError, match=words) as caught:
        Config.load(tmp_path).gemini()
    assert KEY not in str(caught.value) and "\n" not in str(caught.value)


def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "AIza bad\u00e9key")
    with pytest.raises(PlannerError) as caught:
        Config.load(tmp_path).gemini()
    assert caught.value.kind == "bad_key" and "AIza" not in str(caught.value)


@pytest.mark.parametrize("form", ['"{}"', "'{}'", " {}\r\n", '"{} "\n', "'\"{}\"'"])
def test_quotes_and_line_breaks_around_a_key_are_taken_off(form, tmp_path, monkeypatch):
    """`set GEMINI_API_KEY="..."` in cmd.exe keeps the quotes; so does a hurried hand in the file."""
    assert config(tmp_path, gemini={"api_key": form.format(KEY)}).gemini().key == KEY
    monkeypatch.setenv("GEMINI_API_KEY", form.format("A" + KEY))
    assert Config.load(tmp_path).gemini().key == "A" + KEY
    monkeypatch.setenv("GEMINI_API_KEY", '""')
    assert Config.load(tmp_path).gemini().key == KEY


def test_a_file_as_powershell_writes_it(tmp_path):
    (tmp_path / "config.json").write_bytes(json.dumps({"gemini": {"api_key": KEY}}).encode("utf-16"))
    assert Config.load(tmp_path).gemini().key == KEY


@pytest.mark.skipif(os.name != "posix", reason="pipes in the file system")
def test_a_pipe_is_no_config_file(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(SowError, match="no ordinary file"):
        Config.load(tmp_path)


def test_without_a_home(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", classmethod(lambda cls: (_ for _ in ()).throw(RuntimeError("no home"))))
    for name in ("SOW_HOME", "XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SowError, match="SOW_HOME"):
        default_folder()
    assert Config.load(tmp_path).shown == str(tmp_path / "config.json")


@given(JSON, st.sampled_from(["", "gemini", "profiles", "profiles.p", "api_key", "base_url", "model", "allow_http"]))
def test_any_config_gives_access_or_one_line(value, place):
    section = {"base_url": "https://h/v1", place: value} if place in Section.__dataclass_fields__ else {}
    data = {"": value, "gemini": {"gemini": value}, "profiles": {"profiles": value}}.get(place)
    if data is None:
        data = {"gemini": section, "profiles": {"p": value if place == "profiles.p" else section}}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(data))
        for ask in (lambda c: c.gemini(), lambda c: c.profile("p"), lambda c: c.profile("")):
            try:
                access = ask(Config.load(folder))
            except SowError as error:
                one_clear_line(error)
            else:
                assert access.key.isprintable() and access.service.isprintable()


def test_profiles(tmp_path):
    loaded = config(
        tmp_path,
        profiles={
            "home": {"base_url": "http://127.0.0.1:11434/v1/", "model": "m"},
            "lan": {"base_url": "http://10.0.0.5:8000/v1", "api_key": KEY, "allow_http": True},
            "empty": {},
        },
    )
    assert loaded.profile("home").base_url == "http://127.0.0.1:11434/v1"
    assert loaded.profile("lan").key == KEY
    with pytest.raises(SowError, match="needs a base_url"):
        loaded.profile("empty")
    with pytest.raises(SowError, match="empty, home, lan"):
        loaded.profile("http://evil.example/v1")
    only = config(tmp_path, profiles={"one": {"base_url": "https://x.example/v1"}})
    assert only.profile("").profile == "one"
    with pytest.raises(SowError, match="none yet"):
        Config.load(tmp_path / "nowhere").profile("")


def test_scrubbing():
    access = Access("Gemini", KEY)
    assert access.scrub(f"bad key {KEY}!") == "bad key [key]!"
    assert Access("x", "short").scrub("a short text") == "a short text"


def test_messages_do_not_name_the_users_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    with pytest.raises(SowError) as caught:
        Config.load(tmp_path / ".config" / "sow").profile("x")
    assert str(tmp_path) not in str(caught.value)
    assert str(Path("~") / ".config" / "sow" / "config.json") in str(caught.value)


def test_the_template_is_its_owners_alone_and_never_overwrites(tmp_path):
    loaded = Config.load(tmp_path / "new")
    file = write_template(loaded)
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Config.load(tmp_path / "new").gemini().key == ""
    with pytest.raises(SowError, match="already"):
        write_template(loaded)


def test_the_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("SOW_HOME", str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv("SOW_HOME")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "c"))
    assert default_folder() == tmp_path / "c" / "sow"


@pytest.mark.parametrize("kind", MESSAGES)
def test_every_message_is_one_line_that_says_what_to_do(kind):
    error = PlannerError(kind, "Gemini", detail="a\nb" * 200, retry_after=17, model="m")
    text = str(error)
    assert "\n" not in text and "{" not in text and 20 < len(text) < 420
    assert isinstance(error, SowError) and error.kind == kind
