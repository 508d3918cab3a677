"""A newcomer's first picture: the face is kept, whatever Load Image's mask means."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from .pack import ROOT, part, run_node

C = part("nodes.cutout")
FACES = sorted(p.stem.removesuffix("_mask") for p in (ROOT / "pictures").glob("*_mask.png"))


def load_image(picture: Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
    """IMAGE and MASK as the host's Load Image gives them for a picture with transparency."""
    rgba = torch.tensor(list(picture.convert("RGBA").getdata()), dtype=torch.float32)
    rgba = rgba.view(picture.height, picture.width, 4) / 255
    return rgba[None, ..., :3], 1.0 - rgba[None, ..., 3]


def cut_out(name: str, under: str = "black") -> Image.Image:
    """A picture of the pack with what its mask leaves out made transparent."""
    picture, mask = (Image.open(ROOT / "pictures" / f"{name}{end}.png") for end in ("", "_mask"))
    made = picture.convert("RGBA")
    if under != "its own":
        made = Image.new("RGBA", picture.size, under)
        made.paste(picture.convert("RGB"), mask=mask.convert("L"))
    made.putalpha(mask.convert("L"))
    return made


@pytest.mark.parametrize("under", ["black", "white", "its own"])
@pytest.mark.parametrize("name", FACES)
def test_a_cut_out_with_load_images_mask_keeps_the_face(name, under):
    image, mask = load_image(cut_out(name, under))
    size = {"width": 512, "height": 512, "bboxes": "128,128,256,256", "condition": image}
    spec, _, _, masks, _, report = run_node("SOW_Layout", mask=mask, **size).args
    right = run_node("SOW_Layout", mask=1.0 - mask, mask_shows="what is kept", **size).args[3]
    assert masks.equal(right) and "turned round" in report
    assert spec.conditions[0].mask.equal(1.0 - mask[0])


@pytest.mark.parametrize("name", FACES)
def test_a_mask_of_the_subject_stays_as_it_is(name):
    """As SOW Load Example and segmentation nodes give it: white = keep."""
    image, mask = load_image(cut_out(name))
    report = run_node("SOW_Layout", condition=image, mask=1.0 - mask, bboxes="0,0,256,256").args[5]
    assert "turned round" not in report


def plane(*boxes: tuple[int, int, int, int], size=(96, 96)) -> torch.Tensor:
    """A mask [h, w] of rectangles x, y, width, height."""
    made = torch.zeros(size)
    for x, y, width, height in boxes:
        made[y : y + height, x : x + width] = 1
    return made


NOISE = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(("mask", "expected"), [
    (plane((32, 32, 32, 32)), False), (1 - plane((32, 32, 32, 32)), True),  # a painted middle; a cut-out
    (plane((0, 0, 40, 40)), False), (plane((0, 0, 48, 96)), False), (plane((0, 48, 96, 48)), False),  # corner, halves
    (plane((0, 0, 96, 40)), False), (plane((0, 0, 32, 96)), False), (plane((20, 30, 60, 66)), False),  # sky, edge, bust
    (1 - plane((16, 8, 64, 88)), True), (1 - plane((0, 40, 96, 56), (30, 10, 36, 40)), True),  # busts cut below
    (plane((0, 0, 96, 96)), False), (plane(), False),
])
def test_shapes(mask, expected):
    assert C.shows_cut_away(mask, NOISE) is expected


def test_one_flat_colour_along_the_border_is_a_cut_out():
    """A subject that fills the frame leaves little border: then the colour under the transparency tells."""
    mask = 1 - plane((8, 0, 80, 96))
    image = torch.where(mask > 0.5, torch.zeros(()), NOISE)
    assert not C.shows_cut_away(plane((0, 0, 30, 96)), NOISE)
    assert C.shows_cut_away(plane((0, 0, 30, 96)), torch.where(plane((0, 0, 30, 96)) > 0.5, torch.zeros(()), NOISE))
    assert C.shows_cut_away(mask, image)


def test_the_user_has_the_last_word():
    border = (1 - plane((32, 32, 32, 32)))[None]
    image = NOISE.movedim(0, -1)[None]

    def kept(**values):
        spec = run_node("SOW_Layout", condition=image, mask=border, bboxes="0,0,96,96", **values).args[0]
        return spec.conditions[0].mask

    assert kept().equal(1 - border[0]) and kept(mask_shows="what is kept").equal(border[0])
    assert kept(mask_shows="what is cut away").equal(1 - border[0])
    assert kept(invert_mask=True).equal(1 - border[0]), "as workflows that were saved before"


def test_a_planner_keeps_the_face_too():
    image, mask = load_image(cut_out("tom"))
    turned, right = (run_node("SOW_OfflinePlanner", prompt="a man", condition=image, mask=m).args[1]
                     for m in (mask, 1.0 - mask))
    assert turned == right
