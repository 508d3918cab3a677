"""The diffusers backend against independent computations, on tiny random models of every family."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from tiny_models import FAMILIES
from torch import Tensor
from unit.backends.scene import PROMPTS, SHORT, STRONG, layout, noise, start

from sow_core.backends.diffusers import DiffusersBackend
from sow_core.backends.painting import paint
from sow_core.errors import SowError
from sow_core.method.plan import build_plan

# -- whole runs


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_of_every_family(family, loaded):
    backend, plan = loaded(family), build_plan(SHORT)
    before = dict(backend.parts.unet.attn_processors)
    result = paint(plan, backend, layout(), [3])
    assert result.images.shape == (1, 3, 64, 96) and torch.isfinite(result.images).all()
    assert result.latents.dtype == torch.float32 and result.images.std() > 0.01
    assert len(result.trace.calls) == plan.cost.calls
    after = backend.parts.unet.attn_processors
    assert list(after) == list(before) and all(after[name] is before[name] for name in before)


def test_a_batch_equals_its_pictures_alone(loaded):
    backend, plan = loaded(), build_plan(replace(SHORT, modulation=STRONG))
    together = paint(plan, backend, layout(), [5, 6, 7]).latents
    for index, seed in enumerate((5, 6, 7)):
        alone = paint(plan, backend, layout(), [seed]).latents
        assert (alone[0] - together[index]).abs().max() < 1e-3
    assert (together[0] - together[1]).abs().mean() > 0.05


def test_modulation_changes_the_picture_and_its_indicator_is_recorded(loaded):
    backend = loaded()
    plain = paint(build_plan(replace(SHORT, modulation=None)), backend, layout(), [1])
    strong = paint(build_plan(replace(SHORT, modulation=STRONG)), backend, layout(), [1])
    assert (plain.latents - strong.latents).abs().max() > 1e-3
    assert all(c.indicator is None for c in plain.trace.calls)


# -- encoding and decoding


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_latents_are_the_scaled_mean_of_minus_one_to_one(family, loaded):
    backend = loaded(family)
    vae = backend.parts.vae
    image = torch.rand(2, 3, 64, 40, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        mean = vae.encode(image * 2 - 1).latent_dist.mean
    z = backend.encode(image)
    factor = 0.13025 if family == "sdxl" else 0.18215
    assert torch.allclose(z, mean * factor, atol=1e-6) and z.shape == (2, 4, 8, 5)
    assert torch.equal(z, backend.encode(image))  # the mean, no sample
    with torch.no_grad():
        pixels = torch.cat([vae.decode(m[None]).sample for m in mean])
    assert torch.allclose(backend.decode(z), (pixels / 2 + 0.5).clamp(0, 1), atol=1e-5)


def test_decoded_pictures_do_not_depend_on_their_neighbours(loaded):
    backend = loaded()
    z = noise(3, 4, 8, 8)
    assert torch.equal(backend.decode(z)[1], backend.decode(z[1:2])[0])


# -- the schedule


@pytest.mark.parametrize("steps", [5, 10, 25, 50])
@pytest.mark.parametrize("rescaled", [False, True])
def test_the_grid_is_ddims(steps, rescaled, loaded, monkeypatch):
    backend = loaded("sd2_v")
    monkeypatch.setitem(backend.parts.scheduler_config, "rescale_betas_zero_snr", rescaled)
    made = backend.schedule(steps)
    ddim = DDIMScheduler.from_config(
        {**backend.parts.scheduler_config, "_class_name": "DDIMScheduler", "timestep_spacing": "leading"}
    )
    ddim.set_timesteps(steps)
    assert list(reversed(made.t[1:])) == ddim.timesteps.tolist()
    for level in range(1, steps + 1):
        alpha = float(ddim.alphas_cumprod[int(made.t[level])])
        assert made.a[level] ** 2 == pytest.approx(alpha, rel=1e-6)
        assert made.b[level] ** 2 == pytest.approx(1 - alpha, rel=1e-6)
    assert made.a[0] ** 2 == pytest.approx(float(ddim.final_alpha_cumprod), rel=1e-6)
    assert min(made.a) > 0


def test_zero_terminal_snr_is_said_where_a_step_would_touch_it(loaded, monkeypatch):
    backend = loaded("sd2_v")
    assert backend.schedule(1000).steps == 1000
    monkeypatch.setitem(backend.parts.scheduler_config, "rescale_betas_zero_snr", True)
    with pytest.raises(SowError, match="lower the number of steps"):
        backend.schedule(1000)


def test_defaults_of_old_scheduler_configurations(loaded, monkeypatch):
    """Early SD 1.x folders say neither steps_offset nor set_alpha_to_one; they mean 1 and False."""
    backend = loaded()
    expected = backend.schedule(10)
    for key in ("steps_offset", "set_alpha_to_one", "trained_betas", "prediction_type"):
        monkeypatch.delitem(backend.parts.scheduler_config, key)
    assert backend.schedule(10) == expected
    monkeypatch.setitem(backend.parts.scheduler_config, "set_alpha_to_one", True)
    assert backend.schedule(10).a[0] == 1.0


# -- predictions


@pytest.mark.parametrize("family", FAMILIES)
def test_eps_against_the_bare_model(family, loaded):
    """Each row by itself through the UNet, and DDIMScheduler's own conversion of what it predicts."""
    backend = loaded(family)
    parts, schedule, level = backend.parts, backend.schedule(10), 6
    x = noise(2, 4, 8, 12)
    made = backend.predict(x, schedule, level, ("negative", "positive", "empty"))
    assert made.shape == (3, 2, 4, 8, 12) and made.dtype == torch.float32
    ddim = DDIMScheduler.from_config({**parts.scheduler_config, "clip_sample": False})
    ddim.set_timesteps(10)
    time = int(schedule.t[level])
    for row, text in enumerate(("blurry", PROMPTS["positive"], "")):
        extra = {}
        with torch.no_grad():
            if family == "sdxl":
                states, pooled = sdxl_text(parts, text)
                sizes = torch.tensor([[64.0, 96, 0, 0, 64, 96]] * 2)
                extra["added_cond_kwargs"] = {"text_embeds": pooled.expand(2, -1), "time_ids": sizes}
            else:
                states = sd_text(parts, text)
            out = parts.unet(x, time, states.expand(2, -1, -1), **extra).sample
        a, b = schedule.a[level], schedule.b[level]
        eps = a * out + b * x if family == "sd2_v" else out
        assert torch.allclose(made[row], eps, atol=2e-5)
        z0 = ddim.step(out, time, x).pred_original_sample
        assert torch.allclose((x - b * made[row]) / a, z0, atol=1e-4)


def tokens(tokenizer, text: str) -> Tensor:
    ids = tokenizer(text).input_ids
    return torch.tensor([ids + [tokenizer.pad_token_id] * (77 - len(ids))])


def sd_text(parts, text: str) -> Tensor:
    tokenizer, encoder = parts.encoders[0]
    return encoder(tokens(tokenizer, text)).last_hidden_state


def sdxl_text(parts, text: str) -> tuple[Tensor, Tensor]:
    outs = [encoder(tokens(t, text), output_hidden_states=True) for t, encoder in parts.encoders]
    states = torch.cat([out.hidden_states[-2] for out in outs], dim=-1)
    pooled = outs[1].text_embeds
    if not text and parts.zero_empty:
        return torch.zeros_like(states), torch.zeros_like(pooled)
    return states, pooled


def test_v_prediction_recovers_a_known_latent(loaded, monkeypatch):
    """v = a eps - b z0 by definition (Salimans & Ho 2022): a model that answers it must give back eps."""
    backend = loaded("sd2_v")
    schedule, level = backend.schedule(10), 7
    z0, eps = noise(1, 4, 8, 8, seed=1), noise(1, 4, 8, 8, seed=2)
    a, b = schedule.a[level], schedule.b[level]
    monkeypatch.setattr(backend.parts.unet, "forward", lambda *args, **kwargs: (a * eps - b * z0,))
    made = backend.predict(a * z0 + b * eps, schedule, level, ("positive",))
    assert torch.allclose(made[0], eps, atol=1e-5)


def test_a_v_model_at_terminal_zero_snr_keeps_the_formula_finite(loaded, monkeypatch):
    backend = loaded("sd2_v")
    monkeypatch.setitem(backend.parts.scheduler_config, "rescale_betas_zero_snr", True)
    result = paint(build_plan(SHORT), backend, layout(), [0])
    assert torch.isfinite(result.latents).all()


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_the_text_encoder_runs_once_for_each_distinct_prompt(family, loaded):
    backend = loaded(family)
    per_text = 2 if family == "sdxl" else 1
    prompts = {"positive": "one", "negative": "two", "suppress": "one", "diverse": "two"}
    for _ in range(2):  # and once again in the next run: a LoRA may have changed the encoder
        backend.set_prompts(prompts)
        before = backend.text_calls
        paint(build_plan(SHORT.changed(extra_rows=True)), backend, layout(), [0, 1])
        assert backend.text_calls - before == 2 * per_text


def test_unused_prompts_are_not_encoded(loaded):
    backend = loaded()
    before = backend.text_calls
    paint(build_plan(replace(SHORT, guidance=1.0, cycles=1)), backend, layout(), [0])
    assert backend.text_calls - before == 1


def test_a_missing_prompt_is_said(loaded):
    backend = loaded()
    with pytest.raises(SowError, match="needs a suppress prompt"):
        paint(build_plan(SHORT.changed(extra_rows=True)), backend, layout(), [0])


def test_long_prompts_are_cut_and_counted(loaded):
    backend = loaded()
    backend.set_prompts({"positive": "a " * 100})
    x = noise(1, 4, 8, 8)
    long = backend.predict(x, backend.schedule(10), 5, ("positive",))
    backend.set_prompts({"positive": "a " * 75})
    assert torch.equal(backend.predict(x, backend.schedule(10), 5, ("positive",)), long)
    assert backend.token_count("a " * 100) == 100


# -- the host's home


@contextmanager
def settings_untouched():
    def state():
        numpy_state = np.random.get_state()
        return (
            torch.get_rng_state().tolist(),
            (numpy_state[1].tolist(), numpy_state[2]),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_default_dtype(),
            torch.get_float32_matmul_precision(),
            torch.backends.cuda.flash_sdp_enabled(),
            torch.backends.cudnn.benchmark,
        )

    before = state()
    yield
    assert state() == before


@pytest.mark.parametrize("grad", [True, False])
def test_the_callers_torch_is_left_alone(grad, loaded):
    backend = loaded()
    with torch.set_grad_enabled(grad), settings_untouched():
        result = paint(build_plan(replace(SHORT, modulation=STRONG)), backend, layout(), [0])
        events = start(build_plan(SHORT), backend, layout(), [0])
        next(events)
        assert torch.is_grad_enabled() == grad  # between two events too
        events.close()
    assert not result.images.requires_grad


def test_a_seed_means_the_same_whatever_the_global_state(loaded):
    backend, plan = loaded(), build_plan(SHORT)
    torch.manual_seed(1)
    one = paint(plan, backend, layout(), [9]).images
    torch.manual_seed(2)
    torch.randn(5)
    assert torch.equal(paint(plan, backend, layout(), [9]).images, one)


def test_dtype_and_mode_of_the_unet_are_kept(tiny):
    backend = DiffusersBackend.load(tiny("sd1"), dtype=torch.bfloat16)
    backend.set_prompts(PROMPTS)
    result = paint(build_plan(replace(SHORT, modulation=STRONG)), backend, layout(), [0])
    assert backend.parts.unet.dtype == torch.bfloat16 and not backend.parts.unet.training
    assert result.latents.dtype == result.images.dtype == torch.float32


# -- damaged weights


@pytest.mark.parametrize("part", ["unet", "vae", "decoder", "text"])
def test_nan_weights_are_said_before_there_is_a_picture(part, fresh):
    parts = fresh.parts
    weight = {
        "unet": parts.unet.conv_in.weight,
        "vae": parts.vae.encoder.conv_in.weight,
        "decoder": parts.vae.decoder.conv_out.weight,
        "text": parts.encoders[0][1].get_input_embeddings().weight,
    }[part]
    with torch.no_grad():
        weight.view(-1)[:] = float("nan")
    with pytest.raises(SowError, match="NaN or infinite values in .*damaged"):
        paint(build_plan(SHORT), fresh, layout(), [0])
