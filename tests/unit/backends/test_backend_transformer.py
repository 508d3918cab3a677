"""Flow transformers of diffusers behind the engine's protocol: sign and told time, prompts, what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from unit.backends.scene import FOREIGN, PROMPTS, SHORT, layout, noise

from sow_core.assets import asset_folder
from sow_core.backends.configs import read_config
from sow_core.backends.diffusers import DiffusersBackend
from sow_core.backends.flow_configs import SD3Config
from sow_core.backends.loading import load
from sow_core.backends.opening import open_backend
from sow_core.backends.painting import paint
from sow_core.errors import SowError
from sow_core.method.plan import build_plan
from sow_core.method.schedule import ddim_step, to_x0

PLAIN = replace(SHORT, modulation=None)


@pytest.fixture
def flow(flows):
    return flows("sd3demo")


@pytest.fixture
def copy(tiny, tmp_path):
    """A folder of one's own with the one it shares parts with beside it."""
    source = tiny("sd3demo")
    for name in ("sd1", "sd3demo"):
        shutil.copytree(source.parent / name, tmp_path / name)
    return tmp_path / "sd3demo"


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_step_is_that_of_the_schedulers_own_sampler(flow):
    """Sign and told time: the net's raw answer through diffusers' Euler step, on our times, against our DDIM step."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    x, schedule = noise(2, 4, 8, 12), flow.schedule(10)
    text = flow._embedding("positive")
    euler = FlowMatchEulerDiscreteScheduler()
    euler.set_timesteps(sigmas=[schedule.t[7], schedule.t[6]])
    with torch.no_grad():
        raw = flow.parts.transformer(
            x,
            encoder_hidden_states=text.states.expand(2, -1, -1),
            pooled_projections=text.pooled.expand(2, -1),
            timestep=euler.timesteps[:1].expand(2),
            return_dict=False,
        )[0]
    expected = euler.step(raw, euler.timesteps[0], x, return_dict=False)[0]
    eps = flow.predict(x, schedule, 7, ("positive",))[0]
    assert torch.allclose(ddim_step(x, eps, schedule, 7, 6), expected, atol=1e-5)
    assert torch.allclose(to_x0(x, eps, schedule, 7), x - schedule.t[7] * raw, atol=1e-5)
    assert (expected - x).abs().max() > 0.05, "the step is large enough to show a wrong sign"


def test_rows_and_images_of_a_batch_are_each_as_alone(flow):
    x, schedule = noise(2, 4, 8, 12), flow.schedule(10)
    both = flow.predict(x, schedule, 6, ("positive", "negative"))
    assert both.shape == (2, 2, 4, 8, 12) and both.dtype == torch.float32
    for row, name in enumerate(("positive", "negative")):
        for image in (0, 1):
            alone = flow.predict(x[image : image + 1], schedule, 6, (name,))[0, 0]
            assert torch.allclose(both[row, image], alone, atol=1e-5)
    assert not torch.allclose(both[0], both[1], atol=1e-3)


def test_each_prompt_is_encoded_once_a_run_in_77_tokens(flow):
    flow.set_prompts(PROMPTS)
    before = flow.text_calls
    flow.predict(noise(1, 4, 8, 8), flow.schedule(10), 6, ("positive", "negative"))
    flow.predict(noise(2, 4, 8, 8), flow.schedule(10), 5, ("positive", "negative"))
    assert flow.text_calls == before + 2 and flow.states("positive").shape == (1, 77, 32)


def test_a_run_keeps_the_condition_as_with_a_unet(flow):
    made = paint(build_plan(PLAIN), flow, layout(), [3])
    assert made.images.shape == (1, 3, 64, 96) and torch.isfinite(made.images).all()
    kept = layout().regions.any_condition
    rough = paint(build_plan(replace(PLAIN, preserve=())), flow, layout(), [3])
    inside = flow.encode(layout().filled[None])[..., kept > 0.5]
    off = [float((m.latents[..., kept > 0.5] - inside).square().mean()) for m in (made, rough)]
    assert off[0] < off[1], "writing the condition back keeps more of it"


def test_the_levels_are_shifted_by_the_setting(flow):
    assert flow.schedule(10).t[7] == pytest.approx(0.696, abs=1e-3)
    assert flow.schedule(10, 2.0).t[7] == pytest.approx(0.821, abs=1e-3)


def test_keeping_things_apart_is_refused_before_the_run_and_in_it(flow):
    flow.set_concepts(())
    with pytest.raises(SowError, match="--separate"):
        flow.set_concepts(("cat",))
    with pytest.raises(SowError, match="--separate"):
        flow.pull(noise(1, 4, 8, 8), flow.schedule(10), 6, lambda maps: maps.sum(), 1)


def test_the_canvas_is_of_whole_tokens(flow):
    with pytest.raises(SowError, match="Bad size 96x72: expected multiples of 16 px"):
        flow.predict(noise(1, 4, 9, 12), flow.schedule(10), 6, ("positive",))


def test_vae_and_size_are_the_models(flow):
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    vae = flow.parts.vae
    with torch.no_grad():
        expected = vae.encode(image * 2 - 1).latent_dist.mode() * vae.config.scaling_factor
    assert torch.allclose(flow.encode(image), expected)
    assert flow.size == (128, 128) and flow.parts.snap == 16


# -- the folder


def test_the_parts_come_from_the_folder_that_is_named(copy):
    parts = load(copy)
    assert parts.family.name == "Stable Diffusion 3"
    expected = DiffusersBackend.load(copy.parent / "sd1").parts.vae.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in parts.vae.state_dict().items())


@pytest.mark.parametrize("name", ["../sd1", "/etc", "sd1/../sd1", "..", ".", "a\\b", "", "sd1/vae", "\x1b[2J"])
def test_the_shared_folder_is_a_name_and_no_path(name, copy):
    edit(copy / "model_index.json", shares=name)
    with pytest.raises(SowError, match="shares"):
        load(copy)


@pytest.mark.parametrize(
    ("changes", "file", "said"),
    [
        ({"shares": "nothing"}, "model_index.json", "not beside it"),
        ({"shares": None}, "model_index.json", "shares"),
        ({"transformer": ["diffusers", "FluxTransformer2DModel"]}, "model_index.json", "FluxTransformer2DModel"),
        ({"_class_name": "DDIMScheduler"}, "scheduler/scheduler_config.json", "FlowMatch"),
        ({"in_channels": 8}, "transformer/config.json", "Cannot load"),
        ({"num_layers": 10**9}, "transformer/config.json", "num_layers"),
        ({"patch_size": 4}, "transformer/config.json", "Cannot load"),
        ({"qk_norm": "owner/repo"}, "transformer/config.json", "qk_norm"),
        ({"joint_attention_dim": 64}, "transformer/config.json", "Cannot load"),
    ],
)
def test_what_does_not_fit_is_one_line(changes, file, said, copy):
    edit(copy / file, **changes)
    with pytest.raises(SowError, match=said) as caught:
        load(copy)
    assert str(caught.value).isprintable()


def test_a_config_that_names_other_code_is_of_no_effect(copy, flow):
    """As with UNets (test_configs.py), for the files that only a flow model has."""
    for file in ("transformer/config.json", "scheduler/scheduler_config.json", "model_index.json"):
        edit(copy / file, **FOREIGN)
    assert not set(read_config(copy / "transformer" / "config.json", SD3Config)) & set(FOREIGN)
    poisoned = open_backend(copy)
    poisoned.set_prompts(PROMPTS)
    flow.set_prompts(PROMPTS)
    x, schedule = noise(1, 4, 8, 12), flow.schedule(10)
    assert torch.equal(*(b.predict(x, schedule, 6, ("positive",)) for b in (poisoned, flow)))


def test_a_text_encoder_of_another_width_is_refused(copy):
    """The transformer's own weights fit its config, but nobody's states would."""
    from diffusers import SD3Transformer2DModel

    config = json.loads((copy / "transformer" / "config.json").read_text()) | {"joint_attention_dim": 48}
    SD3Transformer2DModel.from_config(config).save_pretrained(copy / "transformer")
    with pytest.raises(SowError, match="48"):
        load(copy)


def test_a_transformer_is_no_unet(copy):
    with pytest.raises(SowError, match="flow transformer"):
        DiffusersBackend.load(copy)


def test_the_embedded_folder_points_to_the_demo_models_parts():
    index = json.loads((asset_folder("models") / "demo_flow" / "model_index.json").read_text())
    assert index["shares"] == "demo" and index["_class_name"] == "SowFlow"
