"""The index: made, renewed, resumed, and refused as a whole when something is wrong with it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.retrieval.colours import ColourEncoder, paint

from sow_core.errors import SowError
from sow_core.retrieval.build import BATCH, list_pictures, update
from sow_core.retrieval.encoders import unit
from sow_core.retrieval.index import NAME, Entry, Index, is_inside, read_index, write_index


def refuse(text, call):
    with pytest.raises(SowError) as caught:
        call()
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_written_and_read_again(folder, encoder):
    report = update(folder, folder / NAME, encoder)
    assert (report.embedded, report.kept, report.copies, report.pictures) == (6, 0, 0, 6)
    index = read_index(folder / NAME)
    assert [e.name for e in index.entries] == sorted(e.name for e in index.entries)
    assert "deep/purple.png" in {e.name for e in index.entries}
    assert index.vectors.dtype == np.float16 and isinstance(index.vectors, np.memmap)
    assert np.allclose(np.linalg.norm(index.vectors.astype(np.float32), axis=1), 1, atol=1e-3)
    assert index.complete and index.encoder == encoder.identity


def test_other_programs_read_it_too(folder, encoder):
    from safetensors.numpy import load_file

    update(folder, folder / NAME, encoder)
    assert load_file(folder / NAME)["vectors"].shape == (6, 4)


def test_only_what_is_new_is_embedded(folder, encoder):
    update(folder, folder / NAME, encoder)
    paint(folder / "orange.png", (250, 130, 0))
    paint(folder / "red.png", (200, 60, 60), (30, 30))  # changed
    (folder / "blue.png").unlink()
    again = ColourEncoder()
    report = update(folder, folder / NAME, again)
    assert again.seen == report.embedded == 2
    assert (report.kept, report.gone, report.pictures) == (4, 1, 6)
    index = read_index(folder / NAME)
    assert len(index.vectors) == 6  # the vectors of what is gone are gone
    row = {e.name: e.row for e in index.entries}
    from PIL import Image

    fresh = unit(ColourEncoder().pictures([Image.open(folder / "red.png"), Image.open(folder / "green.png")]))
    stored = np.stack([index.vectors[row["red.png"]], index.vectors[row["green.png"]]]).astype(np.float32)
    assert np.allclose(stored, fresh.numpy(), atol=1e-3)


def test_copies_and_moved_files_are_embedded_once(folder, encoder):
    shutil.copy(folder / "red.png", folder / "a copy.png")
    report = update(folder, folder / NAME, encoder)
    assert (encoder.seen, report.embedded, report.copies) == (6, 6, 1)
    index = read_index(folder / NAME)
    rows = {e.name: e.row for e in index.entries}
    assert rows["red.png"] == rows["a copy.png"] and len(index.vectors) == 6
    (folder / "red.png").rename(folder / "moved.png")
    report = update(folder, folder / NAME, encoder)
    assert encoder.seen == 6 and report.pictures == 7


def many(folder, count):
    for i in range(count):
        paint(folder / f"{i:03}.png", (i * 5 % 256, 40, 255 - i * 3 % 256))


@pytest.mark.parametrize("stop", [BATCH, BATCH + 3, 3 * BATCH])
def test_a_stopped_run_goes_on(tmp_path, stop):
    many(tmp_path, 70)
    with pytest.raises(KeyboardInterrupt):
        update(tmp_path, tmp_path / NAME, ColourEncoder(fails_after=stop))
    half = read_index(tmp_path / NAME)
    assert not half.complete and len(half.entries) == stop // BATCH * BATCH
    rest = ColourEncoder()
    report = update(tmp_path, tmp_path / NAME, rest)
    assert rest.seen == 70 - stop // BATCH * BATCH == report.embedded
    whole = tmp_path / "whole.safetensors"
    update(tmp_path, whole, ColourEncoder())
    a, b = read_index(tmp_path / NAME), read_index(whole)
    assert a.entries == b.entries and a.complete and np.array_equal(a.vectors, b.vectors)


def test_a_run_that_writes_often_gives_the_same(tmp_path):
    many(tmp_path, 70)
    update(tmp_path, tmp_path / "often", ColourEncoder(), save_every=-1)
    update(tmp_path, tmp_path / "once", ColourEncoder())
    assert (tmp_path / "often").read_bytes() == (tmp_path / "once").read_bytes()


def test_a_killed_run_goes_on(tmp_path):
    """SIGKILL in the middle: what was written before is whole, and is not embedded again."""
    import signal
    import subprocess
    import sys

    many(tmp_path, 70)
    code = (
        "import os, sys; sys.path[:0] = [{root!r}, {here!r}]\n"
        "from unit.retrieval.colours import ColourEncoder\n"
        "from pathlib import Path\n"
        "from sow_core.retrieval.build import update\n"
        "class Dies(ColourEncoder):\n"
        "    def pictures(self, p, hidden=()):\n"
        "        if self.seen >= 32: os.kill(os.getpid(), {signal})\n"
        "        return super().pictures(p, hidden)\n"
        "update(Path({folder!r}), Path({folder!r}) / {name!r}, Dies(), save_every=-1)\n"
    ).format(root=str(Path(__file__).parents[3]), here=str(Path(__file__).parents[2]), folder=str(tmp_path), name=NAME,
             signal=int(getattr(signal, "SIGKILL", 9)))  # fmt: skip
    died = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert died.returncode != 0
    assert len(read_index(tmp_path / NAME).entries) == 32
    rest = ColourEncoder()
    assert update(tmp_path, tmp_path / NAME, rest).pictures == 70 and rest.seen == 38


def test_unreadable_files_are_told_and_left_out(folder, encoder):
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (folder / "empty.jpg").touch()
    (folder / "notes.txt").write_text("no picture")
    lines = []
    report = update(folder, folder / NAME, encoder, tell=lines.append)
    assert [line.split(":")[0] for line in lines] == ["broken.png", "empty.jpg"]
    assert all("\n" not in line for line in lines) and report.pictures == 6


def test_bad_folders(tmp_path, encoder):
    refuse("No such folder", lambda: update(tmp_path / "none", tmp_path / NAME, encoder))
    refuse("No pictures in", lambda: update(tmp_path, tmp_path / NAME, encoder))
    (tmp_path / "a.png").write_bytes(b"no")
    refuse("No readable picture", lambda: update(tmp_path, tmp_path / NAME, encoder))
    assert not (tmp_path / NAME).exists()


def test_links_out_of_the_folder_are_not_followed(tmp_path, folder, encoder):
    secret = paint(tmp_path / "secret" / "s.png", (1, 2, 3))
    try:
        (folder / "link.png").symlink_to(secret)
        (folder / "links").symlink_to(secret.parent)
        (folder / "own.png").symlink_to(folder / "red.png")
    except OSError:
        pytest.skip("no symbolic links here")
    names = {name for name, _ in list_pictures(folder)}
    assert "own.png" in names and not names & {"link.png", "links/s.png"}


def test_another_encoder_or_version_says_re_index(folder, encoder):
    update(folder, folder / NAME, encoder)
    before = (folder / NAME).read_bytes()
    other = ColourEncoder("colours:2")
    refuse("re-index", lambda: update(folder, folder / NAME, other))
    assert (folder / NAME).read_bytes() == before
    (folder / NAME).write_bytes(before.replace(b'"sow_index": "1"', b'"sow_index": "9"'))
    refuse("another version", lambda: read_index(folder / NAME))
    assert update(folder, folder / NAME, other, anew=True).embedded == 6


def test_missing_and_foreign_files(tmp_path):
    refuse("sow index FOLDER", lambda: read_index(tmp_path / NAME))
    from safetensors.numpy import save_file

    save_file({"vectors": np.zeros((2, 2), np.float16)}, tmp_path / "other.safetensors")
    refuse("damaged", lambda: read_index(tmp_path / "other.safetensors"))
    (tmp_path / "text").write_text("hello, I am no index")
    refuse("damaged", lambda: read_index(tmp_path / "text"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("index") / NAME
    entries = tuple(Entry(f"p{i}.png", 10 + i, 20 + i, bytes([i]) * 32, i) for i in range(5))
    vectors = unit_rows(np.random.default_rng(0).standard_normal((5, 8)))
    write_index(path, Index(entries, vectors, "e:1", "e"))
    return path, path.read_bytes()


def unit_rows(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float16)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_index_is_refused_or_the_same(whole, tmp_path_factory, data):
    """A cut anywhere, or a changed byte outside of the vectors, never gives other entries."""
    path, good = whole
    if data.draw(st.booleans()):
        bad = good[: data.draw(st.integers(0, len(good) - 1))]
    else:
        at = data.draw(st.integers(0, len(good) - 1))
        bad = good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :]
    target = path.with_name("bad")
    target.write_bytes(bad)
    try:
        found = read_index(target)
    except SowError as error:
        assert "\n" not in str(error)
        return
    known = read_index(path)
    assert found.entries == known.entries and found.vectors.shape == known.vectors.shape


@pytest.mark.parametrize("name", ["../x.png", "/etc/x.png", "a/../../x.png", "C:/x.png", "a//x.png", "..\\x.png",
                                  "\0.png"])  # fmt: skip
def test_names_that_climb_are_no_names(tmp_path, name):
    assert not is_inside(name)
    path = tmp_path / NAME
    write_index(path, Index((Entry(name, 1, 1, b"\1" * 32, 0),), np.ones((1, 1), np.float16), "e", "e"))
    refuse("damaged", lambda: read_index(path))


def test_odd_names_survive(tmp_path, encoder):
    for name in ("ä ö.png", "new\nline.png", "quote\".png"):
        paint(tmp_path / name, (9, 90, 200))
    update(tmp_path, tmp_path / NAME, encoder)
    assert {e.name for e in read_index(tmp_path / NAME).entries} == {"ä ö.png", "new\nline.png", "quote\".png"}


def test_a_place_that_cannot_be_written_is_told_first(folder, encoder):
    refuse("Cannot write", lambda: update(folder, folder / "none" / NAME, encoder))
    assert encoder.seen == 0
