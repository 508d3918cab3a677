"""SOW Layout and SOW Composite on tensors: what the preview shows is what the sampler gets."""

from __future__ import annotations

import json

import pytest
import torch

from .pack import node, part, run_node, sow_error

L = part("nodes.layout")
Box = part("sow_core.method.box").Box
GRAY = part("sow_core.method.condition").GRAY


def picture(height=96, width=64, value=0.9):
    image = torch.full((1, height, width, 3), value)
    image[:, : height // 2, :, 0] = 0.1  # the upper half is cyan
    return image


def layout(**changes):
    values = {"condition": picture(), "width": 256, "height": 192, "bboxes": "64,32,64,96"} | changes
    return run_node("SOW_Layout", **values)


def test_pixels_lie_in_the_box_and_gray_elsewhere():
    spec, preview, canvas, masks, placed, report = layout().args
    assert canvas.shape == (1, 192, 256, 3) and masks.shape == (1, 192, 256)
    assert placed == [{"x": 64, "y": 32, "width": 64, "height": 96}]
    inside = canvas[0, 32:128, 64:128]
    torch.testing.assert_close(inside, picture()[0], atol=1e-4, rtol=0)
    outside = canvas.clone()
    outside[0, 32:128, 64:128] = GRAY
    assert outside.allclose(torch.tensor(GRAY))
    assert masks[0].sum() == 64 * 96 and masks[0, 32:128, 64:128].all()
    assert preview.shape[1] >= 512 or preview.shape[1] % 192 == 0
    assert preview.min() >= 0 and preview.max() <= 1
    assert (spec.width, spec.height, len(spec.conditions)) == (256, 192, 1)
    assert report == "Keeps the whole picture at 64,32,64,96, in colour in the preview."


def test_the_preview_shows_the_box_and_its_label():
    plain, marked = layout().args[2], layout().args[1]
    scale = marked.shape[1] // plain.shape[1]
    grown = plain.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    changed = (marked - grown).abs().amax(-1)[0] > 0.1
    assert changed[32 * scale, 64 * scale : 128 * scale].all(), "the upper edge of the box"
    assert not changed[: 30 * scale].any(), "nothing is drawn above the box"


@pytest.mark.parametrize(("boxes", "bboxes", "expected"), [
    ([{"x": 0, "y": 0, "width": 64, "height": 96, "metadata": {}}], "", 0),
    ([{"x": 0, "y": 0, "width": 64, "height": 96}], "64,32,64,96", 64),
    (None, [{"x": 128, "y": 0, "width": 64, "height": 96}], 128),
    (None, json.dumps([{"x": 128, "y": 0, "width": 64, "height": 96}]), 128),
])
def test_connected_boxes_win_over_drawn_ones(boxes, bboxes, expected):
    assert layout(boxes=boxes, bboxes=bboxes).args[4][0]["x"] == expected


def test_related_boxes_are_kept_and_drawn():
    out = layout(bboxes="[[64,32,64,96],[32,128,128,64]]")
    spec, preview = out.args[0], out.args[1]
    assert spec.conditions[0].related == (Box(32, 128, 128, 64),)
    assert not preview.equal(layout().args[1])
    assert out.args[4][1] == {"x": 32, "y": 128, "width": 128, "height": 64}


@pytest.mark.parametrize(("fit", "box", "placed"), [
    ("fit", "0,0,128,128", (24, 0, 88, 128)), ("stretch", "0,0,128,128", (0, 0, 128, 128)),
    ("crop", "0,0,128,128", (0, 0, 128, 128)),
])
def test_fit(fit, box, placed):
    """64 x 96 into a square: fit keeps the whole picture, crop the middle of it, stretch all of it, distorted."""
    out = layout(bboxes=box, fit=fit)
    assert tuple(out.args[4][0].values()) == placed
    canvas = out.args[2][0]
    x, y, w, h = placed
    cyan = float((canvas[y : y + h, x : x + w, 0] < 0.5).float().mean())
    assert abs(cyan - 0.5) < 0.03  # in all three the border between the halves stays in the middle


def test_crop_cuts_the_middle():
    image = torch.zeros(1, 90, 30, 3)
    image[:, 30:60] = 1.0
    canvas = layout(condition=image, bboxes="0,0,64,64", fit="crop").args[2][0]
    assert canvas[:64, :64].min() > 0.8, "only the white middle third is left"


def test_mask_keeps_its_part_and_the_rest_is_gray():
    mask = torch.zeros(1, 96, 64)
    mask[:, 48:] = 1.0
    _, _, canvas, masks, *_ = layout(mask=mask).args
    assert canvas[0, 32:80, 64:128].allclose(torch.tensor(GRAY)) and masks[0, 32:80].sum() == 0
    assert masks[0, 80:128, 64:128].all()
    inverted = layout(mask=1.0 - mask, invert_mask=True).args[3]
    assert inverted.equal(masks)


def test_a_mask_file_of_zeros_and_ones():
    """Load Image divides it by 255."""
    mask = torch.zeros(1, 96, 64)
    mask[:, 48:] = 1.0
    assert layout(mask=mask / 255).args[3].equal(layout(mask=mask).args[3])
    assert layout(mask=mask / 255, invert_mask=True).args[3].equal(layout(mask=mask, invert_mask=True).args[3])


def test_the_preview_shows_what_is_kept_in_colour_and_the_rest_gray():
    mask = torch.zeros(1, 96, 64)
    mask[:, :48] = 1.0
    preview = layout(mask=mask).args[1][0]
    scale = preview.shape[0] // 192
    kept, rest = preview[70 * scale, 96 * scale], preview[110 * scale, 96 * scale]
    assert kept.amax() - kept.amin() > 0.5, "cyan"
    assert rest.amax() - rest.amin() < 0.02 and rest[0] > 0.55, "the white half, pale on the gray canvas"


def test_crop_to_mask_puts_the_masked_part_into_the_box():
    mask = torch.zeros(1, 96, 64)
    mask[:, 48:80, 16:48] = 1.0
    out = layout(mask=mask, crop_to_mask=True, bboxes="64,64,64,64")
    assert out.args[3][0, 64:128, 64:128].all()
    assert out.args[2][0, 64:128, 64:128, 0].min() > 0.8


def test_load_images_empty_mask_means_no_mask():
    """Load Image answers a black 64 x 64 mask for a picture without transparency."""
    assert layout(mask=torch.zeros(1, 64, 64)).args[3].equal(layout().args[3])
    assert layout(mask=torch.zeros(1, 64, 64), invert_mask=True).args[3].equal(layout().args[3])


def test_two_layouts_in_a_chain():
    first = layout().args[0]
    out = layout(layout=first, bboxes="0,0,64,96", condition=picture(value=0.4))
    spec, _, canvas, masks, placed, report = out.args
    assert len(spec.conditions) == 2 and masks.shape[0] == 2
    assert placed == [{"x": 0, "y": 0, "width": 64, "height": 96}], "the boxes are this node's"
    assert abs(float(canvas[0, 80, 10, 1]) - 0.4) < 0.01 and abs(float(canvas[0, 120, 80, 1]) - 0.9) < 0.01
    assert len(first.conditions) == 1, "the first layout is as it was"


def test_overlapping_conditions_share_no_pixel():
    first = layout().args[0]
    masks = layout(layout=first, bboxes="96,32,64,96").args[3]
    assert (masks.sum(0) <= 1).all() and masks[0, 40, 70] == 1 and masks[1, 40, 100] == 1
    assert "covers 50% of condition 1" in layout(layout=first, bboxes="96,32,64,96").args[5]
    assert "covers" not in layout(layout=first, bboxes="128,32,64,96").args[5]


def test_background_fills_the_canvas_and_is_stretched():
    background = torch.zeros(1, 48, 48, 3)
    background[..., 2] = 1.0
    canvas = layout(background=background).args[2]
    assert canvas[0, 0, 0].tolist() == pytest.approx([0, 0, 1], abs=1e-3)
    chained = layout(layout=layout(background=background).args[0], bboxes="0,0,64,96").args[2]
    assert chained[0, 190, 250].tolist() == pytest.approx([0, 0, 1], abs=1e-3)


def plan(width=256, height=192, count=2):
    S = part("sow_core.planning.schema")
    conditions = tuple(
        S.ConditionPlan(Box(64 * i, 0, 64, 96), (S.RelatedRegion("neck", Box(64 * i, 96, 64, 64)),))
        for i in range(count)
    )
    return S.LayoutPlan(S.Frame(width, height), "a scene", conditions)


def test_a_plan_places_what_nobody_drew():
    out = layout(bboxes="", plan=plan())
    assert out.args[4][0]["x"] == 0 and out.args[0].conditions[0].related == (Box(0, 96, 64, 64),)
    second = layout(bboxes="", plan=plan(), layout=out.args[0])
    assert second.args[4][0]["x"] == 64, "the second layout of a chain takes the plan's second condition"
    assert layout(bboxes="8,8,64,96", plan=plan()).args[4][0]["x"] == 8


@pytest.mark.parametrize(("changes", "message"), [
    ({"bboxes": ""}, "No box: type x,y,width,height"),
    ({"bboxes": "8,8,64,64 related: hair"}, "every box is described"),
    ({"condition": torch.rand(2, 96, 64, 3)}, "Expected 1 picture, got 2"),
    ({"mask": torch.ones(1, 50, 64)}, "Bad mask size. Expected 64x96, as the condition, got 64x50"),
    ({"mask": torch.ones(2, 96, 64)}, "Expected 1 mask"),
    ({"mask": torch.zeros(1, 96, 64)}, "mask keeps nothing"),
    ({"condition": torch.full((1, 96, 64, 3), float("nan"))}, "NaN"),
    ({"bboxes": [{"x": 200, "y": 0, "width": 64, "height": 96}], "width": 256}, "outside the 256x192 canvas"),
    ({"background": torch.rand(2, 192, 256, 3)}, "Bad background batch"),
    ({"condition": torch.rand(96, 64, 3)}, "expected an IMAGE"),
])
def test_linked_values_that_cannot_work(changes, message):
    with pytest.raises((sow_error(), AssertionError), match=message) as caught:
        layout(**changes)
    assert "\n" not in str(caught.value)


def test_chains_and_plans_of_another_size():
    first = layout().args[0]
    with pytest.raises(sow_error(), match="Expected 256x192, as the connected layout, got 256x256"):
        layout(layout=first, height=256)
    with pytest.raises(sow_error(), match="Bad plan size. Expected 256x192"):
        layout(bboxes="", plan=plan(512, 512))
    with pytest.raises(sow_error(), match="places 1 condition"):
        layout(bboxes="", plan=plan(count=1), layout=first)


@pytest.mark.parametrize(("widgets", "message"), [
    ({"width": 500}, "Bad width 500: expected a multiple of 8"), ({"height": 8}, "Bad height 8"),
    ({"bboxes": "200,0,64,64"}, "outside the 256x192 canvas"), ({"bboxes": "{"}, "not.* JSON"),
    ({"boxes": [{"x": 0, "y": 0, "width": 600, "height": 10}], "bboxes": ""}, "outside the 256x192 canvas"),
    ({"bboxes": "[[0,0,64,64],[600,0,64,64]]"}, "related region"),
    ({"bboxes": "8,8,64"}, "several boxes: one a line"),
])
def test_a_wrong_widget_is_said_by_the_run(widgets, message):
    """Not before it: the host would repeat the sentence for every input that a check names, and show none of them."""
    with pytest.raises(sow_error(), match=message) as caught:
        layout(**widgets)
    assert "\n" not in str(caught.value)
    assert getattr(node("SOW_Layout"), "validate_inputs", None) is None


def test_the_host_prints_no_path_before_a_sentence():
    """It writes the module of an error's class, unless that is Python's own."""
    planner_error = part("sow_core.planning.errors").PlannerError
    assert {cls.__module__ for cls in (sow_error(), planner_error)} == {"builtins"}


def test_nothing_that_was_connected_is_changed():
    image, mask = picture(), torch.ones(1, 96, 64)
    before = image.clone(), mask.clone()
    layout(condition=image, mask=mask, crop_to_mask=True)
    assert image.equal(before[0]) and mask.equal(before[1])


def test_composite_brings_the_pixels_back_inside_the_mask_only():
    spec = layout().args[0]
    made = torch.zeros(2, 192, 256, 3)
    image, alpha = run_node("SOW_Composite", image=made, layout=spec, feather=8).args
    assert image.shape == made.shape and alpha.shape == (1, 192, 256)
    torch.testing.assert_close(image[1, 60:100, 88:104], layout().args[2][0, 60:100, 88:104], atol=0.01, rtol=0)
    outside = image.clone()
    outside[:, 32:128, 64:128] = 0
    assert outside.abs().max() == 0
    edge = alpha[0, 80, 64:80]
    assert edge[0] < 0.5 and edge[-1] > 0.95 and (edge.diff() >= 0).all(), "soft inwards from the edge"


def test_composite_knobs_and_errors():
    spec = layout().args[0]
    made = torch.zeros(1, 192, 256, 3)
    hard = run_node("SOW_Composite", image=made, layout=spec, feather=0).args[1]
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    assert run_node("SOW_Composite", image=made, layout=spec, strength=0.0).args[0].equal(made)
    with pytest.raises(sow_error(), match="Bad image size. Expected 256x192.* put SOW Composite before"):
        run_node("SOW_Composite", image=torch.zeros(1, 64, 64, 3), layout=spec)


def test_composite_on_an_enlarged_picture_takes_the_condition_at_that_size():
    fine = torch.rand(1, 192, 128, 3, generator=torch.Generator().manual_seed(1))
    spec = layout(condition=fine).args[0]
    made, alpha = run_node("SOW_Composite", image=torch.zeros(1, 384, 512, 3), layout=spec, feather=0).args
    assert alpha[0, 64:256, 128:256].all() and alpha.sum() == 192 * 128
    torch.testing.assert_close(made[0, 64:256, 128:256], fine[0], atol=1e-4, rtol=0)


def test_the_layout_shows_itself():
    out = layout()
    assert out.ui["text"] == (out.args[5],) and out.ui["images"]
    assert node("SOW_Layout").define_schema().has_intermediate_output
