from __future__ import annotations

import os
from pathlib import Path

import pytest

from sow_core.errors import SowError
from sow_core.files import atomic_write


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
