"""Resizing with a mask: what it hides has no share in what it keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sow_core.method.box import Box
from sow_core.method.condition import Condition, load_condition, make_layout, to_tensor
from sow_core.pictures.resizing import BAND, resize_kept, resize_plane


@pytest.mark.parametrize("size", [(64, 48), (BAND + 40, 48), (64, 90), (BAND + 90, 130)])
def test_bands_give_what_the_whole_gives(size):
    plane = np.random.default_rng(0).random((BAND + 40, 90), np.float32)
    whole = np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling.BICUBIC))
    assert np.abs(resize_plane(plane, size) - whole).max() < 1e-6


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 99), height=st.integers(8, 60), width=st.integers(8, 60),
    out=st.tuples(st.integers(4, 90), st.integers(4, 90)),
)  # fmt: skip
def test_hidden_pixels_never_show(seed, height, width, out):
    random = np.random.default_rng(seed)
    mask = (random.random((height, width)) < 0.5).astype(np.uint8) * 255
    picture = random.integers(0, 256, (height, width), dtype=np.uint8)
    made = []
    for hidden in (0, 255):
        (plane,), kept = resize_kept([np.where(mask > 0, picture, hidden).astype(np.uint8)], mask, out)
        made.append(plane[kept >= 0.5])
    assert np.array_equal(*made)


def test_a_kept_colour_stays_up_to_the_edge(tmp_path):
    """A white disc on transparent black, the way cut-outs are saved: no dark ring, nor carried outward from one."""
    distance = np.hypot(*(np.mgrid[:500, :500] - 249.5))
    alpha = (np.clip(200.5 - distance, 0, 1) * 255).astype(np.uint8)
    white = np.where(alpha > 0, 255, 0).astype(np.uint8)
    Image.fromarray(np.dstack([white, white, white, alpha])).save(tmp_path / "x.png")
    layout = make_layout([load_condition(tmp_path / "x.png", None, Box(32, 32, 96, 96))], 192, 192)
    item = layout.conditions[0]
    assert item.picture[:, item.mask > 0.5].min() > 0.99
    assert layout.filled[0, 80 - 42, 80] > 0.99, "just outside of the disc"


def test_files_and_tensors_are_resized_alike(tmp_path):
    random = np.random.default_rng(1)
    Image.fromarray(random.integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(tmp_path / "x.png")
    Image.fromarray((random.random((70, 90)) < 0.8).astype(np.uint8) * 255).save(tmp_path / "m.png")
    box = Box(8, 8, 64, 48)
    given = [to_tensor(Image.open(tmp_path / name)) for name in ("x.png", "m.png")]
    layouts = [
        make_layout([made], 128, 64)
        for made in (load_condition(tmp_path / "x.png", tmp_path / "m.png", box), Condition(*given, box))
    ]
    assert layouts[0].canvas.equal(layouts[1].canvas)


def test_a_box_at_the_edge_that_would_snap_outside():
    made = make_layout([Condition(torch.ones(3, 8, 8), torch.ones(8, 8), Box(124, 0, 4, 128))], 128, 128)
    assert made.conditions[0].box == Box(120, 0, 8, 128)
