"""Tiny models as backends."""

from __future__ import annotations

import pytest
from unit.backends.scene import PROMPTS

from sow_core.backends.diffusers import DiffusersBackend


@pytest.fixture(scope="module")
def loaded(tiny):
    """backend(family): loaded once a module; every test leaves it as it was, which is what they test."""
    made: dict[str, DiffusersBackend] = {}

    def backend(family: str = "sd1") -> DiffusersBackend:
        if family not in made:
            made[family] = DiffusersBackend.load(tiny(family))
        made[family].set_prompts(PROMPTS)
        return made[family]

    return backend


@pytest.fixture
def fresh(tiny):
    """A backend of the test's own, to be changed."""
    backend = DiffusersBackend.load(tiny("sd1"))
    backend.set_prompts(PROMPTS)
    return backend
