"""The diffusers backend against independent computations, on tiny random models of every family."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from tiny_models import FAMILIES
from torch import Tensor, nn

from sow_core.backends.diffusers import DiffusersBackend
from sow_core.backends.painting import encode_layout, paint
from sow_core.errors import SowError
from sow_core.method.box import Box
from sow_core.method.condition import Condition, Layout, make_layout
from sow_core.method.config import SowConfig
from sow_core.method.engine import run
from sow_core.method.modulation import AttentionControl, Modulation
from sow_core.method.plan import Plan, build_plan
from sow_core.method.trace import Event

PROMPTS = {"positive": "a cat on a red chair", "negative": "blurry"}
SHORT = SowConfig(steps=5, hi=4, lo=2, cycles=2, preserve=(1,), unguided_tail=1)
STRONG = Modulation(suppress=4.0, enhance=4.0, threshold=0.0)


@pytest.fixture(scope="module")
def loaded(tiny):
    """backend(family): loaded once a module; every test leaves it as it was, which is what they test."""
    made: dict[str, DiffusersBackend] = {}

    def backend(family: str = "sd1") -> DiffusersBackend:
        if family not in made:
            made[family] = DiffusersBackend.load(tiny(family))
        made[family].set_prompts(PROMPTS)
        return made[family]

    return backend


@pytest.fixture
def fresh(tiny):
    """A backend of the test's own, to be changed."""
    backend = DiffusersBackend.load(tiny("sd1"))
    backend.set_prompts(PROMPTS)
    return backend


def layout(width: int = 96, height: int = 64) -> Layout:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(3, 32, 40, generator=generator)
    box = Box(24, 16, 40, 32)
    return make_layout([Condition(image, torch.ones(32, 40), box, (Box(8, 0, 80, 64),))], width, height)


def start(plan: Plan, backend: DiffusersBackend, where: Layout, seeds: list[int]) -> Iterator[Event]:
    return run(plan, backend, encode_layout(backend, where, plan), seeds)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def control(modulation: Modulation, images: int = 1) -> AttentionControl:
    made = AttentionControl(layout().regions, modulation, images)
    made.begin(0)
    return made


def kinds(backend: DiffusersBackend) -> Counter[str]:
    return Counter(type(p).__name__ for p in backend.parts.unet.attn_processors.values())


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


# -- attention processors


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
