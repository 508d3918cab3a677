"""Gradients through a VAE to its latents, whatever the caller has switched off, and the VAE as it was."""

from __future__ import annotations

import pytest
import torch
from unit.backends.scene import PROMPTS

from sow_core.backends.diffusers import DiffusersBackend
from sow_core.backends.gradients import slope
from sow_core.errors import SowError


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_slope_of_a_known_function(mode):
    with mode():
        found = slope(torch.tensor([[1.0, -2.0]]), lambda x: x.square().sum(1))
    assert found.tolist() == [[2.0, -4.0]] and not found.requires_grad


def test_small_slopes_survive_half_precision():
    assert float(torch.tensor(2.0**-30, dtype=torch.float16)) == 0.0
    found = slope(torch.ones(1, 4, dtype=torch.float16), lambda x: x.float().sum(1) * 2.0**-30)
    assert torch.equal(found, torch.full((1, 4), 2.0**-30)) and found.dtype == torch.float32


def brightness(weights: torch.Tensor):
    return lambda picture: (picture * weights).mean((1, 2, 3))


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_the_gradient_of_a_picture_is_its_slope(family, loaded):
    backend = loaded(family)
    latents = 0.3 * torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    value = brightness(torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1)))
    with torch.no_grad():
        gradient = backend.picture_slope(latents, value)
        step = 1e-2 * gradient / gradient.flatten(1).norm(dim=1)[:, None, None, None]
        rise = value(backend.decode(latents + step)) - value(backend.decode(latents - step))
    assert (rise > 0).all()
    torch.testing.assert_close(rise, 2 * (gradient * step).sum((1, 2, 3)), rtol=0.05, atol=1e-6)
    alone = backend.picture_slope(latents[1:], value)
    torch.testing.assert_close(alone[0], gradient[1], rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("family", ["sd3", "qwen", "klein"])
def test_every_kind_of_vae_has_a_gradient(family, flows):
    """One that shifts its latents, one of frames, one of patches."""
    backend = flows(family)
    latents = 0.3 * torch.randn(1, backend.channels, 4, 4, generator=torch.Generator().manual_seed(0))
    picture = backend.decode(latents)
    gradient = backend.picture_slope(latents, brightness(torch.rand(picture.shape[1:])))
    assert gradient.shape == latents.shape and gradient.isfinite().all() and gradient.any()


def test_the_vae_is_as_before(fresh):
    vae = fresh.parts.vae
    asked = {name: p.requires_grad for name, p in vae.named_parameters()}
    fresh.picture_slope(torch.zeros(1, 4, 8, 8), brightness(torch.ones(3, 64, 64)))
    assert {name: p.requires_grad for name, p in vae.named_parameters()} == asked
    assert all(p.grad is None for p in vae.parameters())


def test_weights_loaded_under_inference_mode(tiny):
    with torch.inference_mode():
        backend = DiffusersBackend.load(tiny("sd1"))
    backend.set_prompts(PROMPTS)
    assert backend.picture_slope(torch.ones(1, 4, 8, 8), brightness(torch.ones(3, 64, 64))).any()


def test_a_vae_without_a_gradient_is_one_line(fresh, monkeypatch):
    decode = fresh.parts.vae.decode
    monkeypatch.setattr(fresh.parts.vae, "decode", torch.no_grad()(decode))
    with pytest.raises(SowError, match="VAE of this model cannot be differentiated") as error:
        fresh.picture_slope(torch.zeros(1, 4, 8, 8), brightness(torch.ones(3, 64, 64)))
    assert "\n" not in str(error.value)


def test_out_of_memory_keeps_its_name(fresh, monkeypatch):
    def full(*args, **others):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(fresh.parts.vae, "decode", full)
    with pytest.raises(RuntimeError, match="out of memory"):
        fresh.picture_slope(torch.zeros(1, 4, 8, 8), brightness(torch.ones(3, 64, 64)))
