"""Tiny models as backends."""

from __future__ import annotations

import pytest
from unit.backends.scene import PROMPTS

from sow_core.backends.diffusers import DiffusersBackend
from sow_core.backends.opening import open_backend


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


@pytest.fixture(scope="session")
def flows(tiny):
    """flows(family): a tiny flow transformer, loaded once; every test leaves it as it was."""
    made = {}

    def backend(family: str = "sd3demo"):
        if family not in made:
            made[family] = open_backend(tiny(family))
        made[family].set_prompts(PROMPTS)
        return made[family]

    return backend


@pytest.fixture
def fresh(tiny):
    """A backend of the test's own, to be changed."""
    backend = DiffusersBackend.load(tiny("sd1"))
    backend.set_prompts(PROMPTS)
    return backend
