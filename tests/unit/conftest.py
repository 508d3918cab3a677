"""Fixtures of the unit tests: tiny random models, written once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Callable[[str], Path]:
    """tiny(family): a folder with a tiny random model. Shared: copy it before changing a file in it.

    Skips the test where the installed diffusers is older than the family.
    """
    import tiny_models

    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            tiny_models.needs_class(family)
            made[family] = tiny_models.build(family, tmp_path_factory.mktemp("tiny") / family)
        return made[family]

    return folder
