"""Modulation inside a transformer's own attention: equal to an explicit mask, and gone after the call."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from unit.backends.scene import SHORT, STRONG, control, layout, noise, start

from sow_core.backends.joint_mode import JointMode
from sow_core.errors import SowError
from sow_core.method.joint import find_span, token_rows
from sow_core.method.modulation import AttentionControl, Modulation
from sow_core.method.plan import build_plan

CELLS = (8, 12)
"""Of the layout's canvas."""


class Explicit(TorchFunctionMode):
    """The same bias as a written-out mask on the calls with an image: the definition, not the trick."""

    def __init__(self, made: AttentionControl, rows: tuple[str, ...], family, text: int) -> None:
        super().__init__()
        self.made, self.rows, self.family, self.text, self.calls = made, rows, family, text, 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        q, k, v = args[:3] if args else (kwargs.pop("query"), kwargs.pop("key"), kwargs.pop("value"))
        mask = args[3] if len(args) > 3 else kwargs.pop("attn_mask", None)
        cells = (CELLS[0] * 8 // self.family.cell, CELLS[1] * 8 // self.family.cell)
        span = find_span(q.shape[2], cells, self.family, self.text, self.family.diffusers_first)
        if span is None:
            return F.scaled_dot_product_attention(q, k, v, mask, **kwargs)
        self.calls += 1
        maps, s, n = self.made.regions.at(token_rows(cells, self.family)), self.made.modulation, q.shape[2]
        c, away, toward = maps.condition[0], s.suppression(maps, 0)[0], s.enhancement(maps, 0)[0]
        image = slice(span.start, span.start + span.count)
        padding = slice(span.start + span.count, span.start + span.padded)
        bias = torch.zeros(len(self.made.gate), n, n)
        bias[:, image, image] = self.made.gate[:, 0, None, None] * toward[:, None] * c - away[:, None] * (1 - c)
        bias[:, image, padding] -= away[:, None]
        whole = torch.zeros(len(self.rows), *bias.shape)
        whole[self.rows.index("positive")] = bias
        whole = whole.flatten(0, 1)[:, None]
        if mask is not None:
            whole = whole.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else whole + mask
        return F.scaled_dot_product_attention(q, k, v, whole, **kwargs)


def both(backend, rows=("negative", "positive")):
    """eps with the modulation on, by rank and by mask, and with it off; and how many calls the mask saw."""
    cells = (n * 8 // backend.parts.cell for n in CELLS)
    x, schedule, made = noise(2, backend.channels, *cells), backend.schedule(10), control(STRONG, 2)
    made.gate[1] = 0.3
    plain = backend.predict(x, schedule, 7, rows)
    ours = backend.predict(x, schedule, 7, rows, made)
    masked, calls = torch.empty_like(plain), 0
    for index, row in enumerate(rows):  # one by one, as a prompt of another length is
        if row != "positive":
            masked[index] = plain[index]
            continue
        mode = Explicit(made, (row,), backend.family, backend.states(row).shape[1])
        with mode:
            masked[index] = backend.predict(x, schedule, 7, (row,))[0]
        calls = mode.calls
    return ours, masked, plain, calls


@pytest.mark.parametrize("family", ["sd3demo", "sd3", "flux", "chroma", "lumina2", "z_image", "qwen", "klein"])
def test_the_rank_form_is_the_explicit_mask(family, flows):
    ours, masked, plain, calls = both(flows(family))
    assert calls >= 2 and (masked[1] - plain[1]).abs().max() > 0.01
    assert torch.allclose(ours, masked, atol=1e-4), float((ours - masked).abs().max())


def test_a_lora_keeps_its_effect(flows):
    """What a module adds to its layers is in q, k and v when the modulation sees them."""
    backend = flows("flux")
    before = both(backend)[0]
    down, up = noise(4, 64, seed=5), noise(64, 4, seed=6)
    blocks = backend.parts.transformer.transformer_blocks
    hooks = [layer.register_forward_hook(lambda module, given, out: out + 0.2 * given[0] @ down.T @ up.T)
             for block in blocks for layer in (block.attn.to_q, block.attn.to_v)]  # fmt: skip
    try:
        ours, masked, plain, _ = both(backend)
    finally:
        for hook in hooks:
            hook.remove()
    assert (ours - before).abs().max() > 0.05 and (masked[1] - plain[1]).abs().max() > 0.01
    assert torch.allclose(ours, masked, atol=1e-4)
    assert torch.equal(both(backend)[0], before)


def test_zero_strength_is_no_modulation_bit_for_bit(flows):
    backend = flows("sd3demo")
    x, schedule = noise(1, 4, *CELLS), backend.schedule(10)
    rows = ("negative", "positive")
    still = control(Modulation(suppress=0.0, enhance=0.0))
    # the modulated row is computed by itself, which the kernel's own batch may round otherwise: row by row, then
    for row in rows:
        assert torch.equal(backend.predict(x, schedule, 6, (row,), still), backend.predict(x, schedule, 6, (row,)))
    assert torch.equal(backend.predict(x, schedule, 6, rows, still), backend.predict(x, schedule, 6, rows))


def test_the_indicator_comes_from_the_middle_of_the_blocks(flows):
    backend, made = flows("sd3demo"), control(STRONG)
    backend.predict(noise(1, 4, *CELLS), backend.schedule(10), 7, ("positive",), made)
    assert len(made._joint) == 3
    expected = made._joint[1]
    value = made.end()
    assert torch.equal(value, expected[0]) and torch.equal(made.mass_map, expected[1])
    assert made.mass_map.shape == (1, 4, 6) and 0 <= float(value) <= 1


def test_a_run_reports_its_masses_and_indicators(flows):
    plan = build_plan(replace(SHORT, modulation=STRONG))
    last = list(start(plan, flows("sd3demo"), layout(), [1, 2]))[-1]
    trace = last.result.trace
    assert len(trace.masses) == 4 and trace.masses[0][1].shape == (2, 4, 6)
    assert [c.indicator is not None for c in trace.calls if c.phase == "cycle"] == [True] * 4


def test_nothing_is_left_after_an_error_or_a_cancel(flows):
    backend = flows("sd3demo")
    before = {n: id(m) for n, m in backend.parts.transformer.named_modules()}
    processors = dict(backend.parts.transformer.attn_processors)
    events = start(build_plan(replace(SHORT, modulation=STRONG)), backend, layout(), [1])
    for event in events:
        if event.phase == "cycle":
            break
    events.close()
    block = backend.parts.transformer.transformer_blocks[1]
    hook = block.register_forward_hook(lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        backend.predict(noise(1, 4, *CELLS), backend.schedule(10), 7, ("positive",), control(STRONG))
    hook.remove()
    assert not _get_current_function_mode_stack()
    assert {n: id(m) for n, m in backend.parts.transformer.named_modules()} == before
    assert backend.parts.transformer.attn_processors == processors


def test_attention_that_cannot_be_seen_is_said(flows):
    """As under a kernel that does not go through PyTorch's fused attention."""
    from diffusers.models.attention_processor import JointAttnProcessor2_0

    class Hidden(JointAttnProcessor2_0):
        def __call__(self, *args, **kwargs):
            with torch._C.DisableTorchFunction():
                return super().__call__(*args, **kwargs)

    backend = flows("sd3demo")
    net, x, schedule = backend.parts.transformer, noise(1, 4, *CELLS), backend.schedule(10)
    before = net.attn_processors
    net.set_attn_processor(Hidden())
    try:
        with pytest.raises(SowError, match="No joint attention .*--no-attention"):
            backend.predict(x, schedule, 7, ("positive",), control(STRONG))
        backend.predict(x, schedule, 7, ("negative",), control(STRONG))  # which is not modulated
    finally:
        net.set_attn_processor(before)


MASKS = {
    "added": torch.zeros(1, 1, 1, 101).index_fill(3, torch.tensor([3]), -9.0),
    "bool": torch.ones(1, 1, 101, 101, dtype=torch.bool).index_fill(3, torch.tensor([20]), False),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_a_mask_on_the_image_is_refused_and_one_on_the_text_obeyed(mask, flows):
    family = flows("sd3demo").family  # diffusers: image first, 24 tokens, then 77
    q, k, v = (noise(1, 2, 101, 8, seed=n) for n in range(3))
    with pytest.raises(SowError, match="masks the image"), JointMode(control(STRONG), ("positive",), CELLS, family, 77):
        F.scaled_dot_product_attention(q, k, v, mask)
    text = mask.roll(60, 3)
    made = control(STRONG)
    with JointMode(made, ("positive",), CELLS, family, 77):
        ours = F.scaled_dot_product_attention(q, k, v, text)
    with Explicit(made, ("positive",), family, 77):
        expected = F.scaled_dot_product_attention(q, k, v, text)
    assert torch.allclose(ours, expected, atol=1e-5)
