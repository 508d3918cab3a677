"""Joint attention of transformers: where the image stands, and a modulation that leaves the text alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sow_core.method import families as f
from sow_core.method.attention import Kernel, attend_minmax, attend_reference
from sow_core.method.box import Box
from sow_core.method.joint import Span, find_span
from sow_core.method.modulation import AttentionControl, Modulation, indicator
from sow_core.method.regions import Regions

CELLS = (12, 20)
"""60 tokens of 2x2 cells, 240 of one."""

# -- the span


@pytest.mark.parametrize(
    ("family", "first", "text", "tokens", "expected"),
    [
        (f.SD3, "text", 77, 137, Span(77, 60, 60)),
        (f.SD3, "image", 77, 137, Span(0, 60, 60)),  # diffusers
        (f.SD3, "text", 77, 60, Span(0, 60, 60)),  # SD3.5 medium's attn2
        (f.FLUX, "text", 7, 67, Span(7, 60, 60)),
        (f.FLUX2, "text", 7, 752, Span(512, 240, 240)),  # text padded to 512, a cell a token
        (f.FLUX2, "text", 600, 840, Span(600, 240, 240)),
        (f.QWEN_IMAGE, "text", 7, 67, Span(7, 60, 60)),
        (f.LUMINA2, "text", 7, 67, Span(7, 60, 60)),
        (f.LUMINA2, "text", 7, 7, None),  # its text refiner
        (f.LUMINA2, "text", 7, 60, Span(0, 60, 60)),  # its image refiner
        (f.LUMINA2, "text", 60, 60, None),  # either of them
        (f.Z_IMAGE, "text", 7, 96, Span(32, 60, 64)),  # both padded to 32
        (f.Z_IMAGE, "image", 33, 128, Span(0, 60, 64)),
        (f.Z_IMAGE, "text", 40, 64, None),  # its text is padded to as many as its image
        (f.Z_IMAGE, "text", 7, 64, Span(0, 60, 64)),
        (f.CHROMA, "text", 7, 67, Span(7, 60, 60)),
        (f.HIDREAM, "image", None, 81, Span(0, 60, 60)),  # prompt and two states of a block
        (f.FLUX, "text", 7, 127, None),  # a reference picture behind the image
        (f.FLUX, "text", 7, 7, None),
    ],
)
def test_the_image_is_found_by_lengths(family, first, text, tokens, expected) -> None:
    assert find_span(tokens, CELLS, family, text, first) == expected


def test_the_host_decides_what_stands_first() -> None:
    assert find_span(137, CELLS, f.SD3, 77) == Span(77, 60, 60)
    assert find_span(137, CELLS, f.SD3, 77, f.SD3.diffusers_first) == Span(0, 60, 60)
    assert find_span(81, CELLS, f.HIDREAM, None) == Span(0, 60, 60)


@given(
    family=st.sampled_from(f.FAMILIES),
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    text=st.integers(1, 600) | st.none(),
    tokens=st.integers(1, 4000),
)
def test_a_span_lies_within_the_call(family, rows, columns, text, tokens) -> None:
    span = find_span(tokens, (rows, columns), family, text)
    if span is not None:
        assert 0 <= span.start and span.start + span.padded <= tokens and 0 < span.count <= span.padded
        assert span.start == 0 or span.start + span.padded == tokens


# -- the bias

GRID = (8, 8)
SPANS = {
    "text first": (Span(7, 64, 64), 71),
    "image first": (Span(0, 64, 64), 71),
    "padded": (Span(32, 64, 70), 102),
    "padded, image first": (Span(0, 64, 70), 77),
    "image only": (Span(0, 64, 64), 64),
}
BOXES = (Box(0, 0, 48, 48), Box(64, 64, 32, 64), Box(96, 0, 32, 32))
ROWS = ("negative", "positive")


def control(conditions: int = 1, images: int = 2, **settings) -> AttentionControl:
    """On 16x16 cells, so that tokens of two cells a side are partly condition: the boxes are shifted by one cell."""
    boxes = [Box(b.x + 8, b.y, b.width, b.height) if b.right < 128 else b for b in BOXES[:conditions]]
    masks = [torch.ones(b.height // 8, b.width // 8) for b in boxes]
    related = [[Box(32, 32, 64, 64)], [Box(40, 72, 24, 48)], [Box(64, 0, 32, 48)]]
    made = AttentionControl(Regions.build(masks, boxes, related[:conditions], 16, 16), Modulation(**settings), images)
    made.begin(0)
    made.gate[-1] = 0.4
    return made


def explicit(made: AttentionControl, span: Span, tokens: int) -> torch.Tensor:
    """-S on C's attention to what of the image is not C, E on R's to C, nothing wherever text is: [N, T, T]."""
    maps, s = made.regions.at(GRID), made.modulation
    bias = torch.zeros(len(made.gate), tokens, tokens)
    image = slice(span.start, span.start + span.count)
    padding = slice(span.start + span.count, span.start + span.padded)
    for k in range(len(maps.condition)):
        c = maps.condition[k]
        away = s.suppression(maps, 0)[k]
        bias[:, image, image] -= away[:, None] * (1 - c)[None, :]
        bias[:, image, padding] -= away[:, None]
        bias[:, image, image] += made.gate[:, k, None, None] * s.enhancement(maps, 0)[k][:, None] * c[None, :]
    return bias


def qkv(batch: int, tokens: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, 3, tokens, 8, generator=generator) for _ in range(3)]


@pytest.mark.parametrize("kernel", [None, F.scaled_dot_product_attention], ids=["own", "host"])
@pytest.mark.parametrize("where", SPANS)
@pytest.mark.parametrize("conditions", [1, 3])
def test_one_more_channel_is_the_explicit_bias(conditions: int, where: str, kernel: Kernel | None) -> None:
    span, tokens = SPANS[where]
    made = control(conditions, suppress=3.0, enhance=2.0)
    q, k, v = qkv(4, tokens)
    out = made.attend(q, k, v, GRID, ROWS, kernel=kernel, span=span)
    expected, mass = attend_reference(q[2:], k[2:], v[2:], explicit(made, span, tokens), torch.eye(tokens))
    assert torch.allclose(out[2:], expected, atol=1e-5)
    plain = F.scaled_dot_product_attention(q, k, v)
    assert torch.allclose(out[:2], plain[:2], atol=1e-6) and (kernel is not None or torch.equal(out[:2], plain[:2]))
    image = slice(span.start, span.start + span.count)
    assert (out[2:, :, image] - plain[2:, :, image]).abs().max() > 0.05
    text = torch.ones(tokens, dtype=torch.bool)
    text[span.start : span.start + span.padded] = False
    assert torch.allclose(out[2:, :, text], plain[2:, :, text], atol=1e-6), "text queries are as they were"
    value = made.end()
    if text.any():
        assert mass is not None and value is not None and made.mass_map is not None
        on = mass[:, :, image, image] @ made.regions.at(GRID).condition.T
        assert torch.allclose(value, indicator(on, made.regions.at(GRID)), atol=1e-5)
        assert torch.allclose(made.mass_map.flatten(1), on.mean(1).sum(-1), atol=1e-5)
    else:
        assert value is None, "no joint call was seen"


def test_the_condition_keeps_its_attention_to_the_text() -> None:
    """Without the text's channel the condition would turn away from its prompt, too: by a factor that is seen."""
    span, tokens = SPANS["text first"]
    q, k, _ = qkv(2, tokens)
    on_text = torch.cat([torch.ones(2, 3, 7, 8), torch.zeros(2, 3, 64, 8)], 2)
    made = control(suppress=4.0, enhance=0.0)
    inside_rows = made.regions.at(GRID).condition[0] > 0.9
    share = made.attend(q, k, on_text, GRID, ("positive",), span=span)[..., 0][:, :, span.start :]
    before = F.scaled_dot_product_attention(q, k, on_text)[..., 0][:, :, span.start :]
    assert (share[:, :, inside_rows] > before[:, :, inside_rows]).all()


@pytest.mark.parametrize("kernel", [None, F.scaled_dot_product_attention], ids=["own", "host"])
@pytest.mark.parametrize("where", SPANS)
def test_zero_strength_is_the_plain_kernel_bit_for_bit(where: str, kernel: Kernel | None) -> None:
    span, tokens = SPANS[where]
    made = control(suppress=0.0, enhance=0.0)
    q, k, v = qkv(4, tokens)
    out = made.attend(q, k, v, GRID, ROWS, kernel=kernel, span=span)
    assert torch.equal(out, F.scaled_dot_product_attention(q, k, v))


def test_in_the_refine_only_its_own_strength_counts() -> None:
    span, tokens = SPANS["text first"]
    q, k, v = qkv(4, tokens)
    made = control(suppress=4.0, enhance=2.0)
    made.begin(None)
    assert torch.equal(made.attend(q, k, v, GRID, ROWS, span=span), F.scaled_dot_product_attention(q, k, v))
    made = control(suppress=0.0, enhance=0.0, suppress_refine=4.0)
    made.begin(None)
    assert not torch.allclose(made.attend(q, k, v, GRID, ROWS, span=span), F.scaled_dot_product_attention(q, k, v))


@pytest.mark.parametrize("where", SPANS)
def test_the_cut_lets_nothing_through_between_condition_and_rest(where: str) -> None:
    span, tokens = SPANS[where]
    made = control(form="cut")
    q, k = (F.pad(x, (0, tokens - 8)) for x in qkv(2, tokens)[:2])  # as wide as what is to be seen
    condition = made.regions.at(GRID).condition[0]
    sees = made.attend(q, k, torch.eye(tokens).expand(2, 3, -1, -1), GRID, ("positive",), span=span)
    image = slice(span.start, span.start + span.count)
    inside, outside = condition > 0.999, condition < 0.001
    within = sees[:, :, image, image]
    assert within[:, :, inside][..., outside].max() < 1e-4 and within[:, :, outside][..., inside].max() < 1e-4
    plain = F.scaled_dot_product_attention(q, k, torch.eye(tokens).expand(2, 3, -1, -1))
    assert torch.allclose(sees[:, :, : span.start], plain[:, :, : span.start], atol=1e-6)


@pytest.mark.parametrize("where", SPANS)
def test_the_written_out_form_leaves_text_alone(where: str) -> None:
    span, tokens = SPANS[where]
    made = control(suppress=0.3, enhance=0.3, form="minmax")
    q, k, v = qkv(2, tokens)
    out = made.attend(q, k, v, GRID, ("positive",), span=span)
    suppress, enhance, _ = made.matrices(GRID, ("positive",), span, tokens)
    assert torch.allclose(out, attend_minmax(q, k, v, suppress, enhance)[0], atol=1e-6)
    text = torch.ones(tokens, dtype=torch.bool)
    text[span.start : span.start + span.padded] = False
    assert not suppress[:, text].any() and not suppress[..., text].any() and not enhance[:, text].any()
    assert not enhance[..., text].any()
    plain = F.scaled_dot_product_attention(q, k, v)
    assert torch.allclose(out[:, :, text], plain[:, :, text], atol=1e-6)


# -- which calls feed the indicator


def test_the_middle_third_of_the_joint_calls_counts() -> None:
    """On any grid; calls without text do not count."""
    span, tokens = SPANS["text first"]
    made, images = control(images=1), []
    for call in range(7):
        q, k, v = (x + call for x in qkv(1, tokens))
        alone = control(images=1)
        alone.gate = made.gate
        for one in (made, alone):
            one.attend(q * (1 + call), k, v, GRID, ("positive",), span=span)
            one.attend(q[:, :, :64], k[:, :, :64], v[:, :, :64], GRID, ("positive",), span=SPANS["image only"][0])
        images.append((alone.end(), alone.mass_map))
    value = made.end()
    assert torch.allclose(value, torch.stack([images[n][0] for n in (2, 3, 4)]).mean(0), atol=1e-6)
    assert torch.equal(made.mass_map, images[4][1])


def test_a_grid_of_4096_tokens_closes_the_gate() -> None:
    """A UNet's layers of that size do not count; a transformer has no others."""
    regions = Regions.build([torch.ones(16, 16)], [Box(0, 0, 128, 128)], [[Box(0, 0, 256, 256)]], 128, 128)
    made = AttentionControl(regions, Modulation(threshold=0.01, width=0.01), 1)
    made.begin(0)
    q, k, v = (torch.zeros(1, 1, 4096 + 5, 8) for _ in range(3))
    made.attend(q, k, v, (64, 64), ("positive",), span=Span(5, 4096, 4096))
    assert made.end() is not None and float(made.gate) == 0.0
