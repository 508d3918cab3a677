"""One scripted server for all tests of a module, and one place elsewhere that must never see a key."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

# By the name that the tests use: relative, it would be a second copy with scripts of its own.
from unit.planning.loopback import Loopback


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as elsewhere, Loopback(elsewhere=elsewhere.base) as main:
        main.stranger = elsewhere  # type: ignore[attr-defined]
        yield main


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    """No test reads the developer's settings or writes a cache next to them."""
    monkeypatch.setenv("SOW_HOME", str(tmp_path / "home"))
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
