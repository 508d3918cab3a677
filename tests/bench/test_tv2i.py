"""`bench tv2i`: faces in the folders they come in, the lines of its jobs, its tables, and all of it once, small."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks.tv2i.cases import make_cases, read_prompts
from benchmarks.tv2i.drawn import draw_faces
from benchmarks.tv2i.faces import cut, find_faces, read_sexes
from benchmarks.tv2i.report import NOT_AT_HAND, SEAM, judged, markdown
from benchmarks.tv2i.variants import PRESETS, PROMPTS, SETTINGS, SOW, TABLES
from sow_core import preset
from sow_core.batch.task import read_task
from sow_core.cli import main
from sow_core.errors import SowError
from sow_core.method.overrides import override
from sow_core.planning.schema import Frame


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Three faces in both layouts."""
    folder = tmp_path_factory.mktemp("drawn")
    for layout in ("alpha", "celeba"):
        draw_faces(folder / layout, 3, layout)
    return folder


def test_the_same_face_from_both_layouts(drawn, tmp_path):
    alpha = find_faces(drawn / "alpha")
    parts = find_faces(drawn / "celeba" / "faces", drawn / "celeba" / "masks")
    assert [f.name for f in alpha] == [f.name for f in parts] == ["0", "1", "2"]
    assert len(parts[0].masks) == 2 and not alpha[0].masks
    masks = []
    for number, face in enumerate((alpha[0], parts[0])):
        (tmp_path / str(number)).mkdir()
        masks.append(np.asarray(Image.open(cut(face, tmp_path / str(number))).getchannel("A")) > 127)
    assert masks[0].shape == masks[1].shape and (masks[0] == masks[1]).mean() > 0.99
    assert 0.4 < masks[0].mean() < 0.95  # cut out with a margin: most of it is face, its corners are not


def test_numbers_come_by_value_and_masks_beside(tmp_path):
    for name in ("10", "9", "9_mask", "10_mask", "a"):
        Image.new("RGB", (8, 8), "white").save(tmp_path / f"{name}.png")
    faces = find_faces(tmp_path)
    assert [f.name for f in faces] == ["a", "9", "10"] and faces[1].masks[0].name == "9_mask.png"
    assert [f.name for f in find_faces(tmp_path, most=2)] == ["a", "9"]
    with pytest.raises(SowError, match="neither a mask nor alpha"):
        cut(faces[0], drawn_nothing(tmp_path))
    with pytest.raises(SowError, match="No faces in"):
        find_faces(tmp_path, drawn_nothing(tmp_path))


def drawn_nothing(folder):
    (folder / "empty").mkdir(exist_ok=True)
    return folder / "empty"


def test_sexes_fill_the_prompts(drawn, tmp_path):
    sexes = read_sexes(drawn / "alpha" / "sexes.txt")
    assert set(sexes) == {"0", "1", "2"} and set(sexes.values()) <= {"man", "woman"}
    face = find_faces(drawn / "alpha", most=1)[0]
    (case,) = make_cases([(face, cut(face, tmp_path))], ["normal"], Frame(128, 128), "offline", sexes, PROMPTS)
    assert case.prompt == f"a photo of a {sexes['0']} on a beach"
    for text in ("1\nSmiling\n0.jpg 1\n", "", "1\nMale\n0.jpg\n"):
        (tmp_path / "bad.txt").write_text(text)
        with pytest.raises(SowError, match="list of attributes"):
            read_sexes(tmp_path / "bad.txt")


def test_a_case_is_a_job_with_the_planners_box_in_the_papers_size(drawn, tmp_path):
    face = find_faces(drawn / "alpha", most=1)[0]
    faces = [(face, cut(face, tmp_path))]
    for case in make_cases(faces, SETTINGS, Frame(512, 512), "offline", {}, read_prompts(None)):
        task = read_task(case.job(SOW, tmp_path, PRESETS["paper"], {"set": ["cycles=1"]}), 1, tmp_path)
        assert task.options["preset"] == PRESETS["paper"][case.setting] and len(task.seeds) == 2
        assert task.options["settings"] == ["cycles=1"]
        assert 180 <= max(case.plan.boxes[0].width, case.plan.boxes[0].height) <= 256
        assert task.options["condition"] == [str(tmp_path / "0.png")]


def test_every_variant_is_a_setting_that_the_engine_has():
    for table in TABLES.values():
        for row in table.rows:
            for setting in table.settings:
                for presets in PRESETS.values():
                    override(preset(row.variant.preset or presets[setting]), row.variant.settings)


def test_tables_have_ours_beside_what_is_printed():
    pictures = [judged({"faces": n, "id": 0.5 + n}, {"region_psnr_db": 20.0, "seam_contrast": 1.0}) for n in (1, 2)]
    text = markdown(["II", "III"], {("normal", "ap"): pictures}, ["a note"])
    row = next(line for line in text.splitlines() if line.startswith("| AP |"))
    assert row == "| AP | 2.0000 | 1.00 | - | 50.0% | .8239 | 13.3 % | 2 |"
    assert f"| AP + DAM + PI | - | - | - | - | {NOT_AT_HAND} | {NOT_AT_HAND} | 0 |" in text
    assert "| full | - | - | - | - | 5.0 % | 0 |" in text and text.endswith("- a note\n")


def test_the_failure_proxy():
    def failed(faces: int, seam: float = 1.0) -> float:
        return judged({"faces": faces}, {"region_psnr_db": 20.0, "seam_contrast": seam})["failed"]

    assert [failed(0), failed(1), failed(2), failed(1, SEAM + 0.1)] == [1.0, 0.0, 1.0, 1.0]
    assert "failed" not in judged({}, {"region_psnr_db": 20.0, "seam_contrast": 9.0})


def test_prompts_of_ones_own(tmp_path):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({s: ["a {who}"] for s in SETTINGS}))
    assert read_prompts(path)["style"] == ["a {who}"]
    path.write_text(json.dumps({"normal": ["x"], "style": []}))
    with pytest.raises(SowError, match="Bad prompts"):
        read_prompts(path)


def test_missing_eyes_are_one_line(tmp_path, monkeypatch):
    from benchmarks.tv2i.measuring import Gauge

    monkeypatch.setitem(sys.modules, "facenet_pytorch", None)
    gauge = Gauge(tmp_path, None, None, None)
    assert gauge.eyes is None and ["facenet-pytorch" in gauge.missing[0], "--clip" in gauge.missing[1]] == [True, True]
    for wrong in ({"facenet": tmp_path / "no.pt"}, {"clip": tmp_path}, {"judges": tmp_path}):
        with pytest.raises(SowError) as caught:
            Gauge(tmp_path, **({"facenet": None, "clip": None, "judges": None} | wrong))
        assert "\n" not in str(caught.value)


def test_clip_looks_at_picture_and_text(tmp_path):
    import torch
    from tiny_models import write_tokenizer
    from transformers import CLIPConfig, CLIPModel

    from benchmarks.tv2i.eyes import ClipText

    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        text = small | {"vocab_size": 600, "eos_token_id": 513}
        vision = small | {"image_size": 32, "patch_size": 16}
        config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
        CLIPModel(config).save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    clip = ClipText(tmp_path)
    red, blue = Image.new("RGB", (40, 40), "red"), Image.new("RGB", (40, 40), "blue")
    values = [clip.match(picture, words) for picture in (red, blue) for words in ("a cat", "a house on a hill")]
    assert len({round(v, 6) for v in values}) == 4 and all(-1 <= v <= 1 for v in values)
    assert clip.match(red, "a cat") == values[0]


def test_from_faces_to_tables_and_on_from_there(drawn, tmp_path, capsys):
    from tiny_models import build

    faces = drawn / "celeba"
    command = ["bench", "tv2i", "--faces", str(faces / "faces"), "--masks", str(faces / "masks"), "--cases", "1",
               "--tables", "I", "--model", str(build("sd1", tmp_path / "model")), "--size", "64x64", "--device", "cpu",
               "--set", "cycles=1", "--out", str(tmp_path / "run")]  # fmt: skip
    assert main(command) == 0
    first = capsys.readouterr().out
    assert "### Table I:" in first and "| SOW | " in first and "not measured" in first
    names = sorted(p.name for p in (tmp_path / "run" / "pictures").glob("*.png"))
    assert len(names) == 2 * 2 * 3 and names[0] == "attribute-0-cow_1.png"
    assert Image.open(tmp_path / "run" / "sheet.png").width > 300
    stamp = (tmp_path / "run" / "pictures" / "results.jsonl").read_bytes()
    assert main(command) == 0 and capsys.readouterr().out == first
    assert (tmp_path / "run" / "pictures" / "results.jsonl").read_bytes() == stamp


@pytest.mark.parametrize("wrong", [["--tables", "V"], ["--cases", "0"], ["--faces", "/nothing"]])
def test_bad_input_is_one_line(drawn, tmp_path, capsys, wrong):
    assert main(["bench", "tv2i", "--faces", str(drawn / "alpha"), "--out", str(tmp_path / "run"), *wrong]) == 2
    assert capsys.readouterr().err.count("\n") == 1
