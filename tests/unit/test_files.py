from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from sow_core.errors import SowError
from sow_core.files import atomic_write, atomic_write_all, check_outputs, check_writable
from sow_core.settings import png_bytes


def test_text_bytes_and_writers(tmp_path: Path) -> None:
    assert atomic_write(tmp_path / "a", "grün").read_text("utf-8") == "grün"
    assert atomic_write(tmp_path / "a", b"\x00").read_bytes() == b"\x00"
    assert atomic_write(tmp_path / "b", lambda file: file.write(b"z")).read_bytes() == b"z"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_a_failing_writer_leaves_the_old_file(tmp_path: Path) -> None:
    target = atomic_write(tmp_path / "a", "old")

    def half(file: object) -> None:
        file.write(b"new")  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write(target, half)
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_ordinary_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    made = atomic_write(tmp_path / "a", "x")
    assert made.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(SowError, match="does not exist"):
        atomic_write(tmp_path / "no" / "a", "x")
    with pytest.raises(SowError, match="it is a folder"):
        atomic_write(tmp_path, "x")
    if os.geteuid() != 0:  # root may write anywhere
        tmp_path.chmod(0o500)
        with pytest.raises(SowError, match="not writable"):
            atomic_write(tmp_path / "a", "x")


def test_all_files_or_none(tmp_path: Path) -> None:
    """A disk that fills while the second is written leaves the first as it was."""
    old = atomic_write(tmp_path / "a", "old")

    def full(file: object) -> None:
        file.write(b"new")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    with pytest.raises(SowError, match="b: No space left"):
        atomic_write_all([(old, "new"), (tmp_path / "b", full)])
    assert old.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "a\0b.png", "\ud800.png", "folder/" * 900 + "a.png"])
def test_names_that_no_file_can_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(SowError, match="Cannot write"):
        check_writable(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such pipes here")
def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SowError, match="no ordinary file"):
        check_writable(tmp_path / "pipe")


def test_an_output_replaces_only_what_was_made_here(tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 8))
    ours = (
        ("a.png", png_bytes(picture)),
        ("b.png", png_bytes(picture, {"prompt": "x" * 5000})),
        ("c.json", b'{\n  "sow_plan": 1,\n'),
        ("d.json", b'{"sow_report": 1}'),
        ("e.png", b""),
    )
    for name, content in ours:
        (tmp_path / name).write_bytes(content)
        assert check_outputs([tmp_path / name]) == [tmp_path / name]
    picture.save(tmp_path / "photo.png")
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    (tmp_path / "tqdm.py").write_text("x = 1")
    for name in ("photo.png", "model_index.json", "tqdm.py"):
        with pytest.raises(SowError, match=f"{name}: a file that was not made here lies there"):
            check_outputs([tmp_path / name])


def test_an_output_is_never_an_input(tmp_path: Path) -> None:
    made = atomic_write(tmp_path / "a.png", png_bytes(Image.new("RGB", (8, 8))))
    names = ["a.png", "../" + tmp_path.name + "/a.png", "hard.png"]
    os.link(made, tmp_path / "hard.png")
    if os.name != "nt":  # where a symbolic link takes a privilege
        (tmp_path / "soft.png").symlink_to(made)
        names.append("soft.png")
    for name in names:
        with pytest.raises(SowError, match="it is an input, or another output"):
            check_outputs([tmp_path / name], [made])
    with pytest.raises(SowError, match="another output"):
        check_outputs([tmp_path / "n.png", tmp_path / "n.png"])
