from __future__ import annotations

import pytest

from sow_core.method import families
from sow_core.method.families import FAMILIES, Family


def test_every_family_is_listed_once_under_its_own_name() -> None:
    there = {name: value for name, value in vars(families).items() if isinstance(value, Family)}
    assert set(FAMILIES) == set(there.values()) and len({f.name for f in FAMILIES}) == len(FAMILIES) == len(there)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_token_is_sixteen_px_everywhere(family: Family) -> None:
    assert family.snap == 16


def test_distilled_families_are_of_one_row() -> None:
    assert {f.name for f in FAMILIES if f.one_row} == {
        "Flux.1 dev", "Flux.1 schnell", "Flux.2 dev", "Flux.2 Klein"
    }  # fmt: skip
