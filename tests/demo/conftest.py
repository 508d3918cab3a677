from __future__ import annotations

import pytest

from sow_core.backends.diffusers import DiffusersBackend


@pytest.fixture(scope="session")
def demo() -> DiffusersBackend:
    """The embedded demo model, loaded once."""
    return DiffusersBackend.load("demo")
