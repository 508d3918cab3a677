"""Attention processors of the diffusers backend: put in when needed, taken out, and at peace with others'."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch import Tensor, nn
from unit.backends.scene import SHORT, STRONG, control, kinds, layout, noise, start

from sow_core.backends.painting import paint
from sow_core.errors import SowError
from sow_core.method.modulation import Modulation
from sow_core.method.plan import build_plan


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_without_strength_every_bit_is_the_bare_models(family, loaded):
    backend = loaded(family)
    x, schedule = noise(1, 4, 8, 12), backend.schedule(10)
    plain = backend.predict(x, schedule, 6, ("negative", "positive"))
    off = Modulation(suppress=0.0, enhance=0.0)
    zero = paint(build_plan(replace(SHORT, modulation=off)), backend, layout(), [1])
    none = paint(build_plan(replace(SHORT, modulation=None)), backend, layout(), [1])
    assert torch.equal(zero.images, none.images) and torch.equal(zero.latents, none.latents)
    with backend.session():
        modulated = backend.predict(x, schedule, 6, ("negative", "positive"), control(STRONG))
        idle = backend.predict(x, schedule, 6, ("negative", "positive"))
        assert "SowAttnProcessor" in kinds(backend)
    assert torch.equal(idle, plain)  # the processors are there, and do nothing
    assert torch.allclose(modulated[0], plain[0], atol=1e-5)  # the negative row is never modulated
    assert (modulated[1] - plain[1]).abs().max() > 1e-3


def test_only_self_attention_is_taken_and_only_when_needed(loaded):
    backend = loaded()
    x, schedule = noise(1, 4, 8, 12), backend.schedule(10)
    before = kinds(backend)
    with backend.session():
        backend.predict(x, schedule, 6, ("positive",))
        assert kinds(backend) == before
        backend.predict(x, schedule, 6, ("positive",), control(STRONG))
        for name, processor in backend.parts.unet.attn_processors.items():
            assert (type(processor).__name__ == "SowAttnProcessor") == name.endswith("attn1.processor")
    assert kinds(backend) == before


@pytest.mark.parametrize("ending", ["close", "error", "outside"])
def test_everything_is_restored_however_a_run_ends(ending, fresh):
    unet = fresh.parts.unet
    before, mode, dtype = dict(unet.attn_processors), unet.training, unet.dtype
    events = start(build_plan(replace(SHORT, modulation=STRONG)), fresh, layout(), [0])
    while not any(type(p).__name__ == "SowAttnProcessor" for p in unet.attn_processors.values()):
        next(events)
    if ending == "close":
        events.close()
    elif ending == "outside":
        with pytest.raises(KeyError):
            events.throw(KeyError("the caller's"))
    else:
        handle = unet.mid_block.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("broke")))
        with pytest.raises(RuntimeError, match="broke"):
            list(events)
        handle.remove()
    after = unet.attn_processors
    assert list(after) == list(before) and all(after[name] is before[name] for name in before)
    assert (unet.training, unet.dtype) == (mode, dtype)
    result = paint(build_plan(replace(SHORT, modulation=STRONG)), fresh, layout(), [0])
    assert torch.isfinite(result.images).all()


def test_a_progress_callback_that_raises_stops_cleanly(loaded):
    backend = loaded()
    before = kinds(backend)

    def stop(event):
        if event.cycle == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        paint(build_plan(replace(SHORT, modulation=STRONG)), backend, layout(), [0], stop)
    assert kinds(backend) == before


class OtherPack(nn.Module):
    """Another pack's processor on cross-attention, as IP-Adapter's: an nn.Module with weights of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), 0.5))
        self.calls = 0

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        self.calls += 1
        out = AttnProcessor2_0()(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        return out + self.scale


def test_processors_on_cross_attention_stay_and_act(fresh):
    unet = fresh.parts.unet
    x, schedule = noise(1, 4, 8, 12), fresh.schedule(10)
    with fresh.session():
        bare = fresh.predict(x, schedule, 6, ("positive",), control(STRONG))
    mixed = dict(unet.attn_processors)
    name = next(n for n in mixed if n.endswith("attn2.processor"))
    adapter = OtherPack(unet.get_submodule(name.removesuffix(".processor")).to_q.in_features)
    mixed[name] = adapter
    unet.set_attn_processor(dict(mixed))
    with fresh.session():
        made = fresh.predict(x, schedule, 6, ("positive",), control(STRONG))
        assert unet.attn_processors[name] is adapter and adapter.calls == 1
    assert unet.attn_processors[name] is adapter
    assert (made - bare).abs().max() > 1e-3


class Adapted(nn.Module):
    """A low-rank adapter around a linear layer, in the place where PEFT puts its own."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base_layer = base
        self.down = nn.Linear(base.in_features, 2, bias=False)
        self.up = nn.Linear(2, base.out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base_layer(x) + self.up(self.down(x))


def test_a_lora_on_self_attention_keeps_its_effect(fresh):
    """In a modulated layer the adapted projection counts exactly as its merged weight does."""
    x, schedule = noise(1, 4, 8, 12), fresh.schedule(10)
    with fresh.session():
        bare = fresh.predict(x, schedule, 6, ("positive",), control(STRONG))
    torch.manual_seed(0)
    layers = [m for n, m in fresh.parts.unet.named_modules() if n.endswith("attn1")]
    plain = [layer.to_v for layer in layers]
    for layer in layers:
        layer.to_v = Adapted(layer.to_v)
        layer.to_v.requires_grad_(False)
    with fresh.session():
        adapted = fresh.predict(x, schedule, 6, ("positive",), control(STRONG))
    for layer, linear in zip(layers, plain, strict=True):
        linear.weight.add_(layer.to_v.up.weight @ layer.to_v.down.weight)
        layer.to_v = linear
    with fresh.session():
        merged = fresh.predict(x, schedule, 6, ("positive",), control(STRONG))
    assert (adapted - bare).abs().max() > 1e-3
    assert torch.allclose(adapted, merged, atol=1e-4)


def test_anothers_self_attention_stops_only_a_modulated_run(fresh):
    class TiledSelfAttention(AttnProcessor2_0):
        pass

    unet = fresh.parts.unet
    mixed = dict(unet.attn_processors)
    name = next(n for n in mixed if n.endswith("attn1.processor"))
    mixed[name] = TiledSelfAttention()
    unet.set_attn_processor(dict(mixed))
    paint(build_plan(replace(SHORT, modulation=None)), fresh, layout(), [0])
    with pytest.raises(SowError, match="TiledSelfAttention; remove it, or switch modulation off"):
        paint(build_plan(replace(SHORT, modulation=STRONG)), fresh, layout(), [0])
    after = unet.attn_processors
    assert all(after[n] is mixed[n] for n in mixed)


@pytest.mark.parametrize("change", ["fused", "eager", "sliced"])
def test_the_librarys_own_kinds_of_self_attention(change, fresh):
    unet = fresh.parts.unet
    x, schedule = noise(1, 4, 8, 12), fresh.schedule(10)
    with fresh.session():
        expected = fresh.predict(x, schedule, 6, ("negative", "positive"), control(STRONG))
    if change == "fused":
        unet.fuse_qkv_projections()
    elif change == "eager":
        unet.set_attn_processor(AttnProcessor())
    else:
        unet.set_attention_slice(1)
    before = kinds(fresh)
    with fresh.session():
        made = fresh.predict(x, schedule, 6, ("negative", "positive"), control(STRONG))
    assert torch.allclose(made, expected, atol=1e-4)
    assert kinds(fresh) == before


def test_minmax_runs_and_differs_from_bias(loaded):
    backend = loaded()
    literal = Modulation(suppress=0.5, enhance=0.5, form="minmax", threshold=0.0)
    x, schedule = noise(1, 4, 8, 12), backend.schedule(10)
    with backend.session():
        plain = backend.predict(x, schedule, 6, ("negative", "positive"))
        made = backend.predict(x, schedule, 6, ("negative", "positive"), control(literal))
    assert torch.allclose(made[0], plain[0], atol=1e-4)
    assert (made[1] - plain[1]).abs().max() > 1e-3
