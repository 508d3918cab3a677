"""Where a word stands in a prompt, and what is said where the attention to it cannot be read."""

from __future__ import annotations

import pytest
import torch

from sow_core.backends.opening import open_backend
from sow_core.errors import SowError
from sow_core.turns import grounding

PROMPT = "a Red cube and a blue, cubed thing; a woman with a round face and pale skin"


@pytest.mark.parametrize(
    "word, found",
    [
        ("red cube", [["Red"], ["cube"]]),
        ("green cube", [["cube"]]),
        ("blue cubed", [["blue"], ["cubed"]]),
        ("face", [["face", "skin"]]),
        ("round face", [["round"], ["face", "skin"]]),
        ("cub", []),
        ("", []),
    ],
)
def test_spans_are_of_whole_words_side_by_side_or_the_last_alone(word, found):
    spans = grounding.word_spans(PROMPT, word)
    assert [[PROMPT[a:b] for a, b in part] for part in spans] == found


def test_the_first_of_the_same_words_is_meant():
    assert grounding.word_spans("a hat and a hat", "hat") == [[(2, 5)]]


def test_a_box_is_told_in_px_of_the_models_cells():
    seen = torch.zeros(8, 8)
    seen[2:4, 1:5] = 1.0
    boxes = [grounding.box_of(seen, "hat", cell) for cell in (8, 16)]
    assert [(b.x, b.y, b.width, b.height) for b in boxes] == [(8, 16, 32, 16), (16, 32, 64, 32)]


@pytest.fixture(scope="module")
def flow(tiny):
    return open_backend(tiny("sd3demo"))


def test_a_transformers_map_is_on_latent_cells_and_repeats_itself(flow):
    picture = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0))
    maps = [grounding.word_map(flow, picture, "a red hat", "red hat") for _ in range(2)]
    assert maps[0].shape == (8, 12) and torch.equal(*maps)
    assert float(maps[0].max()) == 1.0 and float(maps[0].min()) < 0.5


def test_words_that_the_prompt_does_not_have_are_one_line(flow):
    for prompt in ("a red ball", "a" * 80 + " hat"):  # the second is cut off before its hat
        with pytest.raises(SowError, match="does not name the hat; give --thing 'hat=X,Y,W,H'"):
            grounding.word_map(flow, torch.zeros(3, 64, 64), prompt, "hat")


def test_attention_that_cannot_be_seen_is_one_line(flow):
    """As under a kernel that does not go through PyTorch's fused attention."""
    from diffusers.models.attention_processor import JointAttnProcessor2_0

    class Hidden(JointAttnProcessor2_0):
        def __call__(self, *args, **kwargs):
            with torch._C.DisableTorchFunction():
                return super().__call__(*args, **kwargs)

    net = flow.parts.transformer
    before = net.attn_processors
    net.set_attn_processor(Hidden())
    try:
        with pytest.raises(SowError, match="cannot be read.*--thing 'hat=X,Y,W,H' or --region"):
            grounding.word_map(flow, torch.zeros(3, 64, 64), "a hat", "hat")
    finally:
        net.set_attn_processor(before)
