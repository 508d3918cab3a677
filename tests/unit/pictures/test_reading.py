"""Pictures and masks from files: what is decoded, how large, and what counts as kept."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image

from sow_core.errors import SowError
from sow_core.pictures import reading
from sow_core.pictures.reading import load_kept, load_mask, load_picture

DISC = np.hypot(*(np.mgrid[:40, :40] - 19.5)) < 12
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 24\n%%EndComments\n(x) print\n%%EOF\n"


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["cat.png", "cat.eps", "cat.jpg"])
def test_no_program_is_started_for_a_picture(name, tmp_path, monkeypatch):
    """Pillow goes by the content: EPS in a file of any name would start Ghostscript."""
    started = []
    monkeypatch.setattr("subprocess.check_call", lambda *a, **k: started.append(a))
    monkeypatch.setattr("subprocess.run", lambda *a, **k: started.append(a))
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs", raising=False)
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **k: started.append(a))
    (tmp_path / name).write_bytes(EPS)
    with pytest.raises(SowError, match="no format read here"):
        load_picture(tmp_path / name)
    assert not started


def test_only_listed_formats_are_decoded(tmp_path):
    picture = Image.new("RGB", (8, 8), "red")
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM"):
        (tmp_path / "x.png").write_bytes(encoded(picture, kind))
        assert load_picture(tmp_path / "x.png")[0].size == (8, 8), kind
    for kind in ("EPS", "PDF", "ICNS", "PCX", "SGI", "TGA"):
        (tmp_path / "x.png").write_bytes(encoded(picture.resize((16, 16)), kind))
        with pytest.raises(SowError, match="no format read here"):
            load_picture(tmp_path / "x.png")


def test_a_large_picture_without_a_warning_and_a_larger_one_refused(tmp_path, monkeypatch):
    (tmp_path / "x.png").write_bytes(encoded(Image.new("1", (100, 60))))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)  # Pillow warns above, and refuses above twice this
    monkeypatch.setattr(reading, "MOST_PIXELS", 6000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_picture(tmp_path / "x.png")[0].size == (100, 60)
    for limit in (5000, 2000):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        monkeypatch.setattr(reading, "MOST_PIXELS", 5999)
        with pytest.raises(SowError, match="x.png is too large: expected at most .* make it smaller"):
            load_picture(tmp_path / "x.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such pipes here")
def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(SowError, match="no ordinary file"):
        load_picture(tmp_path / "x.png")


def test_what_is_held_is_not_decoded_again(tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    first = load_kept(tmp_path / "x.png")
    assert load_kept(tmp_path / "x.png") is first
    Image.new("RGB", (9, 8)).save(tmp_path / "x.png")
    assert load_kept(tmp_path / "x.png").picture.size == (9, 8), "a changed file is read anew"
    opened = []
    monkeypatch.setattr(reading, "open_picture", lambda path: opened.append(path) or Image.new("RGB", (8, 8)))
    for _ in range(2):
        load_kept(tmp_path / "x.png")
    assert len(opened) == 2, "nobody held it"


def palette(values: np.ndarray) -> Image.Image:
    made = Image.fromarray(values.astype(np.uint8)).convert("P")
    made.putpalette([0, 0, 0, 255, 255, 255] + [0] * 762)
    return made


def coloured(*rgb: int) -> Image.Image:
    return Image.fromarray(np.where(DISC[..., None], np.array(rgb), 0).astype(np.uint8))


def transparent(inside: int, hidden: int) -> Image.Image:
    gray = Image.fromarray(np.where(DISC, inside, hidden).astype(np.uint8))
    return Image.merge("LA", (gray, Image.fromarray((DISC * 255).astype(np.uint8))))


MASKS = {
    "gray": Image.fromarray((DISC * 255).astype(np.uint8)),
    "half": Image.fromarray(np.where(DISC, 128, 127).astype(np.uint8)),
    "bits": Image.fromarray(DISC),
    "zeros and ones": Image.fromarray(DISC.astype(np.uint8)),
    "16 bits": Image.fromarray((DISC * 65535).astype(np.uint16)),
    "palette": palette(DISC),
    "red": coloured(255, 0, 0),
    "blue": coloured(0, 0, 255),
    "VOC dark red": coloured(128, 0, 0),
    "magenta": coloured(255, 0, 255),
    "white on transparent": transparent(255, 0),
    "one flat colour": transparent(9, 9),
    "black on hidden white": transparent(0, 255),
    "white, hidden white": transparent(255, 255),
}


@pytest.mark.parametrize("kind", MASKS)
def test_one_rule_for_all_masks(kind, tmp_path):
    MASKS[kind].save(tmp_path / "m.png")
    assert ((np.asarray(load_mask(tmp_path / "m.png")) >= reading.KEEP) == DISC).all()


def test_an_alpha_of_zeros_and_ones(tmp_path):
    picture = Image.new("RGB", (40, 40), "red")
    picture.putalpha(MASKS["zeros and ones"])
    picture.save(tmp_path / "x.png")
    assert ((np.asarray(load_kept(tmp_path / "x.png").mask) >= reading.KEEP) == DISC).all()


def test_a_refused_mask_tells_what_was_found(tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "x.png")
    Image.fromarray((DISC * 90).astype(np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(SowError, match="m.png keeps nothing: its brightest value is 90 of 255, and 128 or more"):
        load_kept(tmp_path / "x.png", tmp_path / "m.png")


WHOLE = [
    encoded(coloured(255, 90, 0), "PNG"),
    encoded(transparent(200, 10), "PNG"),
    encoded(coloured(255, 90, 0), "JPEG"),
    encoded(coloured(255, 90, 0), "WEBP"),
    encoded(coloured(255, 90, 0), "TIFF"),
    encoded(palette(DISC), "GIF"),
    encoded(coloured(255, 90, 0), "BMP"),
    encoded(coloured(255, 90, 0), "PPM"),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Whole pictures with bytes replaced and an end cut off, and bytes of any kind behind a picture's first ones."""
    whole = bytearray(draw(st.sampled_from(WHOLE)))
    if draw(st.booleans()):
        return bytes(whole[: draw(st.integers(0, 16))]) + draw(st.binary(max_size=200))
    for _ in range(draw(st.integers(1, 8))):
        whole[draw(st.integers(0, len(whole) - 1))] = draw(st.integers(0, 255))
    return bytes(whole[: draw(st.integers(0, len(whole)))]) if draw(st.booleans()) else bytes(whole)


@settings(max_examples=400, deadline=None)
@given(content=st.one_of(damaged(), st.binary(max_size=300)))
def test_any_bytes_are_a_picture_or_one_line(content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any.png"
    Path(path).write_bytes(content)
    for read in (load_kept, load_mask):
        try:
            read(path)
        except SowError as error:
            assert str(error).isprintable()
