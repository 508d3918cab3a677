"""SOW Find Picture on the strict stub: the host's folders and nothing else, its bar, its cancel button."""

from __future__ import annotations

import sys

import pytest
import torch
from PIL import Image
from unit.retrieval.colours import ColourEncoder, paint

from .pack import node, part, run_node, sow_error


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host with its folders, and the encoder that tells colours apart in place of the demo's."""
    part("nodes.find")
    import folder_paths

    for kind in ("input", "output", "temp"):
        (tmp_path / kind).mkdir()
        place = str(tmp_path / kind)
        monkeypatch.setattr(folder_paths, f"get_{kind}_directory", lambda place=place: place, raising=False)
    encoder = ColourEncoder("demo:1")
    encoder.name = "demo"
    monkeypatch.setattr(part("sow_core.retrieval.encoders"), "load_encoder", lambda name, device="cpu": encoder)
    for name, rgb in {"red": (250, 10, 10), "green": (10, 250, 10), "deep/blue": (10, 10, 250)}.items():
        paint(tmp_path / "input" / f"{name}.png", rgb)
    paint(tmp_path / "secret.png", (255, 0, 0))
    return tmp_path


def tensor(rgb, height=16, width=24):
    return torch.tensor(rgb).float().div(255).expand(1, height, width, 3).contiguous()


def test_words_find_a_picture(host):
    found, mask, name, score, sheet, report = run_node("SOW_FindPicture", text="blue").result
    assert name == "deep/blue.png" and 0.5 < score <= 1.001
    assert torch.allclose(found, tensor((10, 10, 250))) and mask.shape == (1, 16, 24) and bool((mask == 1).all())
    assert sheet.shape[0] == 1 and "3 embedded" in report
    assert "3 unchanged" in run_node("SOW_FindPicture", text="blue").result[5]


def test_a_subfolder_and_a_rank(host):
    assert run_node("SOW_FindPicture", text="red", folder="deep").result[2] == "blue.png"
    assert run_node("SOW_FindPicture", text="red", rank=3).result[2] in ("green.png", "deep/blue.png")
    with pytest.raises(sow_error(), match="Bad rank 4: only 3"):
        run_node("SOW_FindPicture", text="red", rank=4)


def test_a_picture_finds_others_but_not_itself(host):
    assert run_node("SOW_FindPicture", image=tensor((240, 60, 60))).result[2] == "red.png"
    assert run_node("SOW_FindPicture", image=tensor((250, 10, 10))).result[2] != "red.png"


def test_the_mask_beside_a_picture_and_its_alpha(host):
    Image.new("L", (24, 16), 0).save(host / "input" / "green_mask.png")
    half = Image.new("L", (24, 16), 0)
    half.paste(255, (0, 0, 12, 16))
    half.save(host / "input" / "red_mask.png")
    red = run_node("SOW_FindPicture", text="red").result
    assert red[2] == "red.png" and red[1][0, :, :12].all() and not red[1][0, :, 12:].any()
    assert "3 pictures" in red[5]  # masks are none
    clear = Image.new("RGBA", (24, 16), (10, 10, 250, 255))
    clear.putalpha(half)
    clear.save(host / "input" / "deep" / "blue.png")
    blue = run_node("SOW_FindPicture", text="blue").result
    assert torch.equal(blue[1], red[1])


@pytest.mark.parametrize("folder", ["..", "../", "../input", "deep/../..", "/etc", "C:/Windows", "..\\x", "a/./b", "~",
                                    "none"])  # fmt: skip
def test_no_path_leaves_the_hosts_folders(host, folder):
    with pytest.raises(sow_error(), match="folder"):
        run_node("SOW_FindPicture", text="red", folder=folder)


def test_links_out_are_refused(host):
    try:
        (host / "input" / "out").symlink_to(host)
        (host / "input" / "s.png").symlink_to(host / "secret.png")
    except OSError:
        pytest.skip("no symbolic links here")
    with pytest.raises(sow_error(), match="leads out"):
        run_node("SOW_FindPicture", text="red", folder="out")
    assert run_node("SOW_FindPicture", text="red", top=20).result[5].startswith("3 pictures")


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({}, "Nothing to look for"),
        ({"text": "red", "ignore": torch.ones(1, 16, 24)}, "A mask without a picture"),
        ({"image": tensor((1, 2, 3)), "ignore": torch.ones(1, 8, 8)}, "Bad mask size"),
        ({"image": tensor((1, 2, 3)), "ignore": torch.zeros(1, 16, 24)}, "The mask is empty"),
        ({"image": tensor((1, 2, 3)).expand(2, -1, -1, -1)}, "expected one picture"),
        ({"image": tensor((1, 2, 3)), "ignore": torch.ones(2, 16, 24)}, "expected one mask"),
        ({"text": "red", "place": "output"}, "No pictures in"),
    ],
)
def test_bad_inputs(host, inputs, text):
    with pytest.raises(sow_error(), match=text):
        run_node("SOW_FindPicture", **inputs)


def test_load_images_empty_mask_means_none(host):
    """Load Image gives 64x64 zeros for a picture without alpha."""
    found = run_node("SOW_FindPicture", image=tensor((240, 60, 60)), ignore=torch.zeros(1, 64, 64)).result
    assert found[2] == "red.png"


def test_a_place_or_encoder_of_ones_own_is_not_taken(host):
    find = part("nodes.find")
    with pytest.raises(sow_error(), match="Bad place"):
        find.folder_of("/etc", "")
    with pytest.raises(sow_error(), match="No encoder"):
        find._load("/some/folder")


def test_a_new_picture_is_searched_again(host):
    fingerprint = node("SOW_FindPicture").fingerprint_inputs
    before = fingerprint(place="input", folder="", text="red")
    assert before == fingerprint(place="input", folder="", text="red")
    paint(host / "input" / "new.png", (9, 9, 9))
    assert fingerprint(place="input", folder="", text="red") != before
    assert "Bad folder" in fingerprint(place="input", folder="..")


def test_progress_and_cancel(host, monkeypatch):
    management = sys.modules.get("comfy.model_management") or __import__("comfy.model_management").model_management
    bars = __import__("comfy.utils").utils.ProgressBar
    bars.reports.clear()
    run_node("SOW_FindPicture", text="red")
    assert bars.reports and bars.reports[-1][0] == bars.reports[-1][1] == 3
    paint(host / "input" / "new.png", (9, 9, 9))
    monkeypatch.setattr(management, "interrupted", True)
    with pytest.raises(management.InterruptProcessingException):
        run_node("SOW_FindPicture", text="red")
    monkeypatch.setattr(management, "interrupted", False)
    assert "0 embedded, 4 unchanged" in run_node("SOW_FindPicture", text="red").result[5]


def test_clip_folders_are_those_of_the_host(host, monkeypatch, tmp_path):
    import folder_paths

    (tmp_path / "models" / "big clip").mkdir(parents=True)
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / "models" / "big clip" / name).write_text("{}")
    monkeypatch.setattr(folder_paths, "get_folder_paths", lambda kind: [str(tmp_path / "models")])
    assert part("nodes.find").encoders() == ["demo", "big clip"]
