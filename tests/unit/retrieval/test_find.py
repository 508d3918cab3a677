"""A query from its parts to the pictures: what fits is found, what cannot be is refused in one line."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from unit.retrieval.colours import ColourEncoder, paint

from sow_core import cli
from sow_core.errors import SowError
from sow_core.retrieval import encoders
from sow_core.retrieval.build import update
from sow_core.retrieval.checkpoint import Prior
from sow_core.retrieval.find import Query, composed, digest_of, fused, look_up
from sow_core.retrieval.guidance import Guidance
from sow_core.retrieval.index import NAME, Entry, Index, read_index, write_index
from sow_core.retrieval.prior import PriorConfig, PriorNet

RED = Image.new("RGB", (24, 16), (250, 10, 10))


@pytest.fixture
def indexed(folder, encoder):
    update(folder, folder / NAME, encoder)
    return folder


def search(folder, encoder, query, top=3, leave_out=b""):
    vector = fused(query, encoder, 1.0, 1.0)
    return look_up(folder, read_index(folder / NAME), encoder, vector, top, folder / NAME, leave_out)


def names(answer):
    return [f.name for f in answer.found]


def half(side):
    mask = Image.new("L", (24, 16))
    mask.paste(255, (0, 0, 12, 16) if side == "left" else (12, 0, 24, 16))
    return mask


def test_picture_and_words(indexed, encoder):
    assert names(search(indexed, encoder, Query(RED)))[0] == "red.png"
    assert names(search(indexed, encoder, Query(RED, text="green")))[0] == "yellow.png"
    assert names(search(indexed, encoder, Query(None, text="blue")))[0] == "blue.png"
    yellow = Image.new("RGB", (24, 16), (240, 240, 20))
    assert names(search(indexed, encoder, Query(yellow, without="red")))[0] == "green.png"


def test_the_mask_hides(indexed, encoder):
    both = RED.copy()
    both.paste((10, 250, 10), (12, 0, 24, 16))
    assert names(search(indexed, encoder, Query(both)))[0] == "yellow.png"
    assert names(search(indexed, encoder, Query(both, half("left"))))[0] == "green.png"
    assert names(search(indexed, encoder, Query(both, half("right"))))[0] == "red.png"


def test_scores_fall_and_copies_stand_together(indexed, encoder):
    shutil.copy(indexed / "red.png", indexed / "red2.png")
    update(indexed, indexed / NAME, encoder)
    answer = search(indexed, encoder, Query(RED), top=10)
    assert [f.score for f in answer.found] == sorted((f.score for f in answer.found), reverse=True)
    assert len(answer.found) == 6 and answer.found[0].copies == ("red2.png",)


def test_the_query_itself_is_no_answer(indexed, encoder):
    own = digest_of(indexed / "red.png")
    assert "red.png" not in names(search(indexed, encoder, Query(RED), top=10, leave_out=own))


def test_deleted_and_changed_pictures_are_passed_over(indexed, encoder):
    (indexed / "red.png").unlink()
    paint(indexed / "yellow.png", (1, 1, 1), (40, 40))
    answer = search(indexed, encoder, Query(RED), top=2)
    assert len(answer.found) == 2 and not {"red.png", "yellow.png"} & set(names(answer))
    assert answer.stale >= 1
    for path in indexed.rglob("*.png"):
        path.unlink()
    with pytest.raises(SowError, match="run `sow index"):
        search(indexed, encoder, Query(RED))


def test_a_forged_index_leads_nowhere(tmp_path, indexed, encoder):
    """An index that names a picture behind a link, with its true size and time: it is not looked at."""
    secret = paint(tmp_path / "secret" / "s.png", (250, 0, 0))
    try:
        (indexed / "links").symlink_to(secret.parent)
    except OSError:
        pytest.skip("no symbolic links here")
    state = secret.stat()
    entry = Entry("links/s.png", state.st_size, state.st_mtime_ns, digest_of(secret), 0)
    index = Index((entry,), np.array([[1, 0, 0, 0]], np.float16), encoder.identity, encoder.name)
    write_index(indexed / NAME, index)
    with pytest.raises(SowError, match="as it was indexed"):
        search(indexed, encoder, Query(RED))


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: Query(), "Nothing to look for"),
        (lambda: Query(text="   "), "Nothing to look for"),
        (lambda: Query(text="red", hidden=half("left")), "A mask without a picture"),
        (lambda: Query(RED, Image.new("L", (16, 24), 255)), "Expected 24x16, as the picture, got 16x24"),
        (lambda: Query(RED, Image.new("L", (24, 16), 127)), "The mask is empty"),
        (lambda: Query(RED, Image.new("L", (24, 16), 255)), "covers the whole picture"),
    ],
)
def test_bad_queries(build, text):
    with pytest.raises(SowError, match=text):
        build()


@pytest.mark.parametrize("top", [0, -1, 10_001])
def test_bad_top(indexed, encoder, top):
    with pytest.raises(SowError, match="Bad --top"):
        search(indexed, encoder, Query(RED), top)


def test_another_encoder(indexed, encoder):
    with pytest.raises(SowError, match="re-index"):
        search(indexed, ColourEncoder("colours:2"), Query(RED))


@pytest.fixture
def prior():
    torch.manual_seed(0)
    config = PriorConfig(width=4, depth=1, heads=2, head=4, cross_heads=2, text=4, mask=4, mult=2)
    return Prior(PriorNet(config).eval().requires_grad_(False), encoder="colours:1")


def test_the_prior_composes_and_repeats(encoder, prior):
    query = Query(RED, half("left"), "green", "dark")
    a = composed(query, encoder, prior, Guidance(), 3)
    assert a.shape == (4,) and abs(float(a.norm()) - 1) < 1e-5
    assert torch.equal(a, composed(query, encoder, prior, Guidance(), 3))
    assert not torch.allclose(a, composed(query, encoder, prior, Guidance(), 4), atol=1e-4)
    whole = composed(query, encoder, prior, Guidance(source=1.0), 3)
    assert torch.allclose(whole, torch.nn.functional.normalize(encoder.pictures([RED], [half("left")])[0], dim=0))


def test_priors_that_do_not_belong(encoder, prior):
    with pytest.raises(SowError, match="other encoder weights"):
        composed(Query(RED), ColourEncoder("colours:2"), prior, Guidance(), 0)
    wide = Prior(PriorNet(PriorConfig(width=6, depth=1, heads=1, head=4, cross_heads=1, text=4, mask=4, mult=1)))
    with pytest.raises(SowError, match="do not belong together"):
        composed(Query(RED), encoder, wide, Guidance(), 0)
    words = Prior(PriorNet(PriorConfig(width=4, depth=1, heads=1, head=4, cross_heads=1, text=5, mask=4, mult=1)))
    with pytest.raises(SowError, match="--prior-text"):
        composed(Query(RED), encoder, words, Guidance(), 0)


@pytest.fixture
def line(monkeypatch, capsys):
    """A command line on the colour encoder: its exit code, what it printed, what it complained."""
    monkeypatch.setattr(encoders, "load_encoder", lambda name, device="cpu": ColourEncoder(f"{name}:1"))

    def run(*args):
        code = cli.main([str(a) for a in args])
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


def test_the_commands(line, folder, tmp_path):
    code, out, err = line("index", folder, "--quiet")
    assert code == 0 and out.strip() == str(folder / NAME) and "6 embedded" in err
    code, out, err = line("find", folder, "--image", folder / "red.png", "--text", "green", "--top", 2, "--json")
    assert code == 0 and [row["name"] for row in json.loads(out)][0] == "yellow.png"
    places = "--sheet", tmp_path / "s.png", "--copy-to", tmp_path / "got"
    code, out, err = line("find", folder, "--text", "blue", *places)
    assert code == 0 and out.split()[1] == "blue.png"
    assert Image.open(tmp_path / "s.png").width > 200
    assert (tmp_path / "got" / "1_blue.png").read_bytes() == (folder / "blue.png").read_bytes()
    code, out, err = line("find", folder, "--text", "blue", "--copy-to", tmp_path / "got")
    assert code == 2 and "is there already" in err


def test_a_name_cannot_steer_the_terminal(line, folder):
    paint(folder / "evil\n\x1b[31m.png", (10, 10, 250))
    line("index", folder, "--quiet")
    code, out, err = line("find", folder, "--text", "blue", "--top", 2)
    assert code == 0 and len(out.splitlines()) == 2 and "\x1b" not in out


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "Nothing to look for"),
        (["--text", "red", "--top", "0"], "Bad --top 0"),
        (["--text", "red", "--text-weight", "-1"], "Bad --text-weight -1.0"),
        (["--text", "red", "--image-weight", "nan"], "Bad --image-weight nan"),
        (["--text", "red", "--mask", "m.png"], "A mask without a picture"),
        (["--image", "none.png"], "none.png"),
        (["--text", "red", "--method", "magic"], "magic"),
        (["--text", "red", "--method", "compodiff", "--prior", "none.safetensors"], "There is no prior"),
        (["--text", "red", "--steps", "0"], "Bad steps 0"),
        (["--text", "red", "--seed", "-1"], "Bad --seed"),
        (["--text", "red", "--index", "none"], "sow index FOLDER"),
        (["--text", "red", "--encoder", "other"], "re-index"),
        (["--text", "red", "--sheet", "no/such/folder/s.png"], "Cannot write"),
    ],
)
def test_bad_command_lines(line, indexed_by_line, args, text):
    code, out, err = line("find", indexed_by_line, *args)
    assert code == 2 and not out and err.count("\n") == 1 and text in err


@pytest.fixture
def indexed_by_line(line, folder):
    assert line("index", folder, "--quiet")[0] == 0
    return folder


def test_no_folder(line, tmp_path):
    for command in (["index", tmp_path / "none"], ["find", tmp_path / "none", "--text", "red"]):
        code, out, err = line(*command)
        assert code == 2 and "No such folder" in err
    code, out, err = line("index", tmp_path)
    assert code == 2 and "No pictures in" in err


def test_anew_replaces_an_index_only(line, folder, tmp_path):
    line("index", folder, "--quiet")
    (folder / NAME).write_bytes((folder / NAME).read_bytes()[:-7])
    assert line("index", folder, "--quiet")[0] == 2
    assert line("index", folder, "--quiet", "--anew")[0] == 0
    letter = tmp_path / "letter.txt"
    letter.write_text("dear all")
    code, out, err = line("index", folder, "--index", letter, "--anew", "--quiet")
    assert code == 2 and "it is no index" in err and letter.read_text() == "dear all"
