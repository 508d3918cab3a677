"""Reading cross-attention with its gradient from a diffusers UNet, and leaving it as it was."""

from __future__ import annotations

import pytest
import torch

from sow_core.backends.concepts import pull, reading
from sow_core.backends.diffusers import DiffusersBackend
from sow_core.backends.gradients import differentiable
from sow_core.errors import SowError
from sow_core.method.separation import concept_maps, loss


@pytest.fixture(scope="module")
def backend(tiny):
    made = DiffusersBackend.load(tiny("sd1"))
    made.set_prompts({"positive": "a cat and a dog"})
    return made


def call(backend, states):
    def run(x):
        return backend.parts.unet(x, torch.tensor(601), encoder_hidden_states=states.expand(len(x), -1, -1))

    return run


def layers(backend, x, grid):
    states = backend._embedding("positive").states
    with reading(backend.parts.unet, grid) as kept, torch.no_grad():
        out = call(backend, states)(x).sample
    return out, kept


def test_probabilities_are_the_models_own_and_change_nothing(backend):
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    states = backend._embedding("positive").states
    before = dict(backend.parts.unet.attn_processors)
    with torch.no_grad():
        plain = call(backend, states)(x).sample
    out, kept = layers(backend, x, (8, 8))
    assert torch.equal(out, plain)
    assert kept and all(p.shape[0] == 2 and p.shape[2:] == (64, states.shape[1]) for p in kept)
    for p in kept:
        torch.testing.assert_close(p.sum(-1), torch.ones(p.shape[:-1]), atol=1e-5, rtol=0)
    assert backend.parts.unet.attn_processors == before


def test_the_gradient_is_the_slope(backend):
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    states = backend._embedding("positive").states

    def objective(layers):
        return loss(concept_maps(layers, [(2,), (5,)], (8, 8)), 0.5)

    def value(state):
        with reading(backend.parts.unet, (8, 8)) as kept, torch.no_grad():
            call(backend, states)(state)
        return objective([p[0] for p in kept]).item()

    with reading(backend.parts.unet, (8, 8)) as kept, differentiable(backend.parts.unet):
        grad, values, _ = pull(x, lambda z: call(backend, states)(z).sample, kept, objective)
    assert values.shape == (1,) and values.item() == pytest.approx(value(x), abs=1e-6)
    way = grad / grad.norm()
    slope = (value(x + 0.05 * way) - value(x - 0.05 * way)) / 0.1
    assert slope == pytest.approx(grad.norm().item(), rel=0.2)
    assert value(x - 0.1 * way) < value(x)


def test_weights_are_frozen_and_thawed_and_an_error_leaves_the_model(backend):
    unet = backend.parts.unet
    first = next(unet.parameters())
    flags = [p.requires_grad for p in unet.parameters()]
    before = dict(unet.attn_processors)
    with pytest.raises(RuntimeError, match="stop"), differentiable(unet), reading(unet, (8, 8)):
        assert not first.requires_grad
        raise RuntimeError("stop")
    assert [p.requires_grad for p in unet.parameters()] == flags and unet.attn_processors == before
    assert first.grad is None


def test_a_model_loaded_under_a_hosts_inference_mode(tiny):
    """Its weights cannot take part in autograd; copies do, and the very same weights are there again afterwards."""
    with torch.inference_mode():
        made = DiffusersBackend.load(tiny("sd1"))
        made.set_prompts({"positive": "a cat and a dog"})
        made.set_concepts(["cat", "dog"])
        before = {n: id(p) for n, p in made.parts.unet.named_parameters()}
        assert next(made.parts.unet.parameters()).is_inference()
        found = made.pull(torch.randn(1, 4, 8, 8), made.schedule(10), 7, lambda maps: loss(maps, 0.5), 0)
    assert torch.isfinite(found.gradient).all() and found.gradient.abs().sum() > 0
    assert {n: id(p) for n, p in made.parts.unet.named_parameters()} == before


def test_a_grid_that_no_layer_has(backend):
    backend.set_concepts(["cat"])
    with pytest.raises(SowError, match="choose another separate.depth"):
        backend.pull(torch.randn(1, 4, 16, 16), backend.schedule(10), 7, lambda maps: maps.sum(), 6)


def test_words_must_stand_in_the_prompt(backend):
    backend.set_concepts(["cat", "dog"])
    with pytest.raises(SowError, match="'horse' does not stand in the prompt"):
        backend.set_concepts(["cat", "horse"])
    backend.set_prompts({"positive": "a cat and a dog"})
    with pytest.raises(SowError, match="No things to keep apart"):
        backend.pull(torch.randn(1, 4, 8, 8), backend.schedule(10), 7, lambda maps: maps.sum(), 0)


def test_a_foreign_processor_is_refused(backend):
    class IPAdapterAttnProcessor:
        def __call__(self, *args, **kwargs):
            raise AssertionError

    unet = backend.parts.unet
    before = dict(unet.attn_processors)
    name = next(n for n in before if n.endswith("attn2.processor"))
    unet.set_attn_processor({**before, name: IPAdapterAttnProcessor()})
    try:
        with pytest.raises(SowError, match="IPAdapterAttnProcessor"), reading(unet, (8, 8)):
            pass
    finally:
        unet.set_attn_processor(before)
