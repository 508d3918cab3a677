from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sow_core.method.box import Box
from sow_core.method.regions import Regions, box_cells, cell_coverage, token_grid


def regions() -> Regions:
    """A 4x4 condition in the upper middle of 16x12 cells, its related region below."""
    return Regions.build([torch.ones(4, 4)], [Box(32, 16, 32, 32)], [[Box(32, 48, 32, 80)]], 16, 12)


def test_coverage_counts_area() -> None:
    mask = torch.zeros(16, 24)
    mask[:8, :8] = 1
    mask[:8, 8:12] = 1  # half a cell
    mask[8:10, :8] = 1  # a quarter
    assert cell_coverage(mask, 0.5).tolist() == [[1, 1, 0], [0, 0, 0]]
    assert cell_coverage(mask, 1.0).tolist() == [[1, 0, 0], [0, 0, 0]]
    assert cell_coverage(mask, 0.25).tolist() == [[1, 1, 0], [1, 0, 0]]


def test_boxes_cover_cells_by_their_centres() -> None:
    assert box_cells(Box(8, 0, 16, 8), 2, 4).tolist() == [[0, 1, 1, 0], [0, 0, 0, 0]]
    assert box_cells(Box(3, 0, 8, 4), 1, 2).tolist() == [[0, 0]]
    assert box_cells(Box(-8, -8, 100, 100), 2, 2).sum() == 4


@given(height=st.integers(4, 130), width=st.integers(4, 130), depth=st.integers(0, 3))
def test_grids_halve_with_rounding_up(height: int, width: int, depth: int) -> None:
    expected = (math.ceil(height / 2**depth), math.ceil(width / 2**depth))
    assert token_grid(expected[0] * expected[1], height, width) == expected


def test_an_impossible_grid_is_a_defect() -> None:
    with pytest.raises(ValueError, match="no halving"):
        token_grid(77, 16, 16)


def test_later_conditions_own_the_overlap() -> None:
    both = Regions.build([torch.ones(4, 4), torch.ones(4, 4)], [Box(0, 0, 32, 32), Box(16, 0, 32, 32)], [[], []], 8, 8)
    assert both.condition[0].sum() == 8 and both.condition[1].sum() == 16
    assert both.condition.sum(dim=0).max() == 1
    assert both.any_condition.sum() == 24


def test_a_related_region_has_no_cell_of_a_condition() -> None:
    made = Regions.build([torch.ones(4, 4)], [Box(32, 16, 32, 32)], [[Box(0, 0, 96, 128)]], 16, 12)
    assert (made.related * made.any_condition).sum() == 0
    assert made.related.sum() == 16 * 12 - 16


def test_distance_grows_to_one_and_the_nearest_fifth_is_near() -> None:
    maps = regions().at((16, 12))
    inside = maps.related[0] > 0.5
    assert inside.sum() == 40
    assert maps.distance[0][inside].max() == pytest.approx(1.0)
    assert maps.near[0].sum() == 8
    near = maps.near[0] > 0.5
    assert near[inside].sum() == 8, "near tokens are related tokens"
    assert maps.distance[0][near].max() <= maps.distance[0][inside & ~near].min()


@pytest.mark.parametrize("grid", [(8, 6), (4, 3), (2, 2)])
def test_coarse_grids_keep_the_area(grid: tuple[int, int]) -> None:
    maps = regions().at(grid)
    assert maps.condition.shape == (1, grid[0] * grid[1])
    assert 0 <= maps.condition.min() and maps.condition.max() <= 1
    assert maps.condition.mean() == pytest.approx(16 / (16 * 12), rel=0.25)


def test_a_wholly_covered_condition_does_no_harm() -> None:
    made = Regions.build([torch.ones(2, 2), torch.ones(4, 4)], [Box(8, 8, 16, 16), Box(0, 0, 32, 32)], [[], []], 8, 8)
    assert torch.isfinite(torch.cat(made.at((8, 8)))).all()


def test_a_region_of_one_token_in_the_middle_of_what_is_kept() -> None:
    """A hole in a picture, on a layer of an odd grid: its token lies where the condition's centre is."""
    kept = torch.ones(1, 5, 5)
    kept[0, 2, 2] = 0
    maps = Regions(kept, 1.0 - kept).at((5, 5))
    assert torch.isfinite(maps.distance).all() and maps.distance[0, 12] == 0
    assert maps.distance.sum() == 24 and maps.near[0].nonzero().tolist() == [[12]]
