from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sow_core.errors import SowError
from sow_core.method.box import Box
from sow_core.method.condition import GRAY, Condition, extend, kept_mask, make_layout, to_picture, to_tensor
from sow_core.method.config import Fill
from sow_core.method.fidelity import psnr, region_error, seam_contrast
from sow_core.pictures.composite import feathered, paste_back


def condition(box: Box, side: int = 32, value: float = 0.9, **others: object) -> Condition:
    image = torch.full((3, side, side), value)
    return Condition(image, torch.ones(side, side), box, **others)  # type: ignore[arg-type]


def test_a_condition_is_pasted_on_gray() -> None:
    layout = make_layout([condition(Box(16, 24, 32, 32))], 96, 64)
    assert layout.canvas.shape == (3, 64, 96)
    assert torch.allclose(layout.canvas[:, 24:56, 16:48], torch.tensor(0.9))
    assert layout.canvas[0, 0, 0] == pytest.approx(GRAY)
    assert layout.regions.any_condition.sum() == 16


@pytest.mark.parametrize(
    ("fill", "near", "far", "beside"), [("gray", GRAY, GRAY, GRAY), ("keep", 0.3, 0.3, GRAY), ("extend", 0.9, 0.9, 0.9)]
)
def test_what_surrounds_the_kept_pixels(fill: Fill, near: float, far: float, beside: float) -> None:
    mask = torch.zeros(32, 32)
    mask[:16] = 1
    picture = torch.where(mask > 0.5, 0.9, 0.3).expand(3, -1, -1)
    layout = make_layout([Condition(picture, mask, Box(0, 0, 32, 32))], 64, 64, fill=fill)
    assert layout.conditions[0].image[0, 17, 5] == layout.canvas[0, 17, 5] == pytest.approx(GRAY), "shown as given"
    for image in (layout.conditions[0].filled, layout.filled):
        assert image[0, 8, 5] == pytest.approx(0.9)
        assert image[0, 17, 5] == pytest.approx(near) and image[0, 31, 5] == pytest.approx(far)
    assert layout.filled[0, 8, 40] == pytest.approx(beside)
    assert layout.filled[0, 60, 60] == pytest.approx(GRAY)
    assert layout.regions.any_condition.sum() == 8


@pytest.mark.parametrize("fill", ["keep", "extend"])
def test_a_fill_never_covers_what_another_condition_keeps(fill: Fill) -> None:
    mask = torch.zeros(32, 32)
    mask[:, :16] = 1
    left = Condition(torch.full((3, 32, 32), 0.2), torch.ones(32, 32), Box(24, 0, 32, 32))
    over = Condition(torch.full((3, 32, 32), 0.8), mask, Box(8, 0, 32, 32))
    canvas = make_layout([left, over], 64, 64, fill=fill).filled
    assert canvas[0, 10, 10] == pytest.approx(0.8) and canvas[0, 10, 30] == pytest.approx(0.2)


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), reach=st.integers(1, 20))
def test_extending_changes_only_the_ring(seed: int, reach: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(3, 40, 40, generator=generator)
    y, x = (int(v) for v in torch.randint(5, 30, (2,), generator=generator))
    mask = torch.zeros(40, 40)
    mask[y : y + 5, x : x + 5] = 1
    out = extend(image, mask, reach)
    ring = torch.zeros(40, 40, dtype=torch.bool)
    ring[max(y - reach, 0) : y + 5 + reach, max(x - reach, 0) : x + 5 + reach] = True
    ring &= mask < 0.5
    assert torch.equal(out[:, ~ring], image[:, ~ring])
    kept = image[:, y : y + 5, x : x + 5].flatten(1)
    low, high = kept.amin(1) - 1e-5, kept.amax(1) + 1e-5
    assert (out[:, ring] >= low[:, None]).all() and (out[:, ring] <= high[:, None]).all()


@settings(max_examples=60)
@given(x=st.integers(0, 90), y=st.integers(0, 60), width=st.integers(9, 60), height=st.integers(9, 60))
def test_pixels_and_latents_agree_wherever_the_box_is(x: int, y: int, width: int, height: int) -> None:
    """Snapping happens before pasting: the kept cells are exactly the pasted pixels."""
    box = Box(x, y, width, height)
    try:
        layout = make_layout([condition(box)], 128, 96)
    except SowError as error:
        assert "outside" in str(error) or "leaves the canvas" in str(error)
        return
    pasted = (layout.canvas[0] - 0.9).abs() < 1e-3
    cells = layout.regions.any_condition.repeat_interleave(8, 0).repeat_interleave(8, 1) > 0.5
    assert torch.equal(pasted, cells)


def test_later_conditions_lie_on_top() -> None:
    layout = make_layout([condition(Box(0, 0, 32, 32), value=0.2), condition(Box(16, 0, 32, 32), value=0.8)], 64, 64)
    assert layout.canvas[0, 0, 0] == pytest.approx(0.2) and layout.canvas[0, 0, 20] == pytest.approx(0.8)
    assert layout.regions.condition[0].sum() == 8


def test_backgrounds() -> None:
    colour = make_layout([condition(Box(0, 0, 16, 16))], 64, 64, background=(1.0, 0.0, 0.5))
    assert colour.canvas[:, 60, 60].tolist() == [1.0, 0.0, 0.5]
    picture = torch.rand(3, 64, 64)
    given = make_layout([condition(Box(0, 0, 16, 16))], 64, 64, background=picture)
    assert torch.equal(given.canvas[:, 20:], picture[:, 20:])
    with pytest.raises(SowError, match="Expected 64x64, as the canvas, got 32x64"):
        make_layout([condition(Box(0, 0, 16, 16))], 64, 64, background=torch.rand(3, 64, 32))


@pytest.mark.parametrize(
    ("box", "width", "height", "message"),
    [
        (Box(40, 0, 32, 32), 64, 64, "outside the 64x64 canvas"),
        (Box(-1, 0, 32, 32), 64, 64, "outside"),
        (Box(0, 0, 32, 32), 60, 64, "Bad width 60"),
        (Box(0, 0, 32, 32), 64, 8200, "Bad height 8200"),
    ],
)
def test_bad_geometry(box: Box, width: int, height: int, message: str) -> None:
    with pytest.raises(SowError, match=message):
        make_layout([condition(box)], width, height)


def test_bad_conditions() -> None:
    image = torch.rand(3, 20, 30)
    box = Box(0, 0, 32, 32)
    with pytest.raises(SowError, match="Expected 30x20, as its picture, got 20x30"):
        Condition(image, torch.ones(30, 20), box)
    with pytest.raises(SowError, match="keeps nothing: its brightest value is 0"):
        Condition(image, torch.zeros(20, 30), box)
    with pytest.raises(SowError, match="NaN"):
        Condition(image * torch.nan, torch.ones(20, 30), box)
    with pytest.raises(SowError, match="RGB"):
        Condition(torch.rand(4, 20, 30), torch.ones(20, 30), box)
    with pytest.raises(SowError, match="no whole 8-px cell"):
        speck = torch.zeros(64, 64)
        speck[3, 3] = 1
        make_layout([Condition(torch.rand(3, 64, 64), speck, Box(0, 0, 64, 64))], 64, 64)
    with pytest.raises(SowError, match="at least one"):
        make_layout([], 64, 64)
    with pytest.raises(SowError, match="related region"):
        make_layout([condition(box, related=(Box(200, 0, 8, 8),))], 64, 64)


def test_pictures_survive_the_round_trip() -> None:
    image = torch.rand(3, 5, 7)
    assert (to_tensor(to_picture(image)) - image).abs().max() <= 0.5 / 255 + 1e-6


def test_fidelity_of_the_exact_paste_is_perfect_and_its_seam_hard() -> None:
    layout = make_layout([condition(Box(16, 16, 32, 32))], 64, 64)
    assert region_error(layout.canvas, layout) == pytest.approx(0.0, abs=1e-6)
    noisy = layout.canvas + 0.1
    assert region_error(noisy, layout) == pytest.approx(0.1, abs=1e-5)
    assert psnr(0.1) == pytest.approx(20.0)
    assert kept_mask(layout).sum() == 32 * 32
    generator = torch.Generator().manual_seed(0)
    texture = torch.rand(3, 64, 64, generator=generator) * 0.2 + 0.4
    assert seam_contrast(texture, layout) == pytest.approx(1.0, abs=0.15)
    hard = torch.where(kept_mask(layout) > 0.5, texture + 0.4, texture)
    assert seam_contrast(hard, layout) > 3


def test_paste_back_keeps_the_middle_and_blends_the_edge() -> None:
    layout = make_layout([condition(Box(16, 16, 32, 32))], 64, 64)
    images = torch.zeros(2, 3, 64, 64)
    out = paste_back(images, layout.canvas, kept_mask(layout), feather=6)
    assert out[0, 0, 32, 32] == pytest.approx(0.9, abs=1e-5)
    assert torch.equal(out[:, :, :16], images[:, :, :16]), "nothing outside the mask changes"
    edge = out[0, 0, 16:32, 32]
    assert (edge.diff() >= -1e-6).all() and edge[0] < 0.3
    assert torch.equal(paste_back(images, layout.canvas, kept_mask(layout), 0)[0, 0] > 0, kept_mask(layout) > 0.5)
    full = torch.ones(40, 40)
    assert torch.allclose(feathered(full, 5), full), "the picture's own border is no edge"


def test_a_layout_lies_on_a_transformers_tokens() -> None:
    """Boxes on 16 px, cells of 8 or of 16: the mask keeps whole cells of the model's latent."""
    for cell in (8, 16):
        made = make_layout([condition(Box(20, 40, 30, 44))], 96, 128, cell=cell, snap=16)
        assert made.conditions[0].box == Box(16, 48, 32, 48)
        assert (made.regions.height, made.regions.width) == (128 // cell, 96 // cell)
        assert made.regions.any_condition.sum() == 32 * 48 // cell**2
        assert made.conditions[0].cells.shape == (48 // cell, 32 // cell)
    with pytest.raises(SowError, match="multiple of 16"):
        make_layout([condition(Box(0, 0, 32, 32))], 104, 128, snap=16)


def test_colours_reach_past_a_larger_cell() -> None:
    near, far = (make_layout([condition(Box(64, 64, 32, 32), value=0.0)], 192, 192, cell=cell, snap=16).filled
                 for cell in (8, 16))  # fmt: skip
    for made, width in ((near, 16), (far, 32)):
        assert (made[:, 80, 96 : 96 + width] == 0).all() and (made[:, 80, 96 + width] == GRAY).all()
