"""Patches of cross-attention keys: names that ComfyUI's LoRA loader knows, strengths, and the model as it was."""

from __future__ import annotations

import re

import pytest
import torch
from ldm_layout import unet_name
from safetensors.torch import load_file, save_file

from sow_core.backends.diffusers import DiffusersBackend
from sow_core.backends.patches import key_weights, parse_patch, patched, read_patch, write_patch
from sow_core.errors import SowError
from tools.separate.tune import Recipe, tune


@pytest.fixture(scope="module")
def backend(tiny):
    return DiffusersBackend.load(tiny("sd1"))


@pytest.fixture(scope="module")
def differences(backend):
    return tune(backend, [["cat", "dog"]], Recipe(steps=2, rate=1e-3, batch=1, depth=0))


def state(backend):
    return {name: value.clone() for name, value in backend.parts.unet.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_names_are_the_original_layouts(family, tiny):
    """As the tests' own converter of whole checkpoints names them, for each family's arrangement of blocks."""
    unet = DiffusersBackend.load(tiny(family)).parts.unet
    state, layers = unet.state_dict(), unet.config.layers_per_block
    attentive = {int(m[1]) for k in state if (m := re.match(r"up_blocks\.(\d+)\.attentions", k))}
    keys = {f"diffusion_model.{unet_name(k, layers, attentive)}".removesuffix(".weight")
            for k in state if k.endswith("attn2.to_k.weight")}  # fmt: skip
    assert set(key_weights(unet)) == keys and keys


def test_tuning_changes_keys_only_and_leaves_the_model(backend, tiny):
    before = state(backend)
    flags = [p.requires_grad for p in backend.parts.unet.parameters()]
    made = tune(backend, [["cat", "dog"]], Recipe(steps=2, rate=1e-3, batch=1, depth=0))
    assert same(before, state(backend)) and [p.requires_grad for p in backend.parts.unet.parameters()] == flags
    assert set(made) == set(key_weights(backend.parts.unet))
    assert any(value.abs().max() > 0 for value in made.values())
    again = tune(backend, [["cat", "dog"]], Recipe(steps=2, rate=1e-3, batch=1, depth=0))
    assert all(torch.equal(made[name], again[name]) for name in made), "a seed repeats"


def test_a_stop_in_training_leaves_the_model(backend):
    before = state(backend)

    def stop(step, separate, norm):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(backend, [["cat", "dog"]], Recipe(steps=3, rate=1e-3, batch=1, depth=0), stop)
    assert same(before, state(backend)) and all(p.grad is None for p in backend.parts.unet.parameters())


def test_round_trip_and_strengths(backend, differences, tmp_path):
    file = write_patch(tmp_path / "p.safetensors", differences, {"concepts": "cat, dog"})
    assert all(key.endswith("attn2.to_k.diff") and key.startswith("diffusion_model.") for key in load_file(file))
    read = read_patch(file, backend.parts.unet)
    before = state(backend)
    with patched(backend.parts.unet, read, 0.5):
        changed = {n for n, v in state(backend).items() if not torch.equal(v, before[n])}
        assert len(changed) == sum(bool(d.abs().max() > 0) for d in read.values())
    assert same(before, state(backend))
    with patched(backend.parts.unet, read, 0.0):
        assert same(before, state(backend))
    with pytest.raises(RuntimeError), patched(backend.parts.unet, read, 1.0):
        raise RuntimeError
    assert same(before, state(backend))


def test_strength_is_a_factor(backend, differences):
    name, difference = next((n, d) for n, d in differences.items() if d.abs().max() > 0)
    start = key_weights(backend.parts.unet)[name].detach().clone()
    for strength in (0.5, 1.0, -1.0):
        with patched(backend.parts.unet, differences, strength):
            torch.testing.assert_close(key_weights(backend.parts.unet)[name].detach(), start + strength * difference)


def test_bad_patches_are_one_line(backend, differences, tmp_path, tiny):
    file = write_patch(tmp_path / "p.safetensors", differences, {})
    values = load_file(file)
    name = sorted(values)[0]
    for number, wrong in enumerate(
        ({k: v for k, v in values.items() if k != name}, values | {"extra.diff": values[name].clone()},
         values | {name: torch.zeros(3, 3)}, values | {name: values[name] * float("nan")})
    ):  # fmt: skip
        bad = tmp_path / f"{number}.safetensors"
        save_file(wrong, bad)
        with pytest.raises(SowError) as caught:
            read_patch(bad, backend.parts.unet)
        assert "\n" not in str(caught.value) and bad.name in str(caught.value)
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:100])
    for missing in (tmp_path / "no.safetensors", tmp_path / "cut.safetensors", tmp_path / "p.ckpt"):
        with pytest.raises(SowError):
            read_patch(missing, backend.parts.unet)


def test_the_options_text():
    assert parse_patch("a.safetensors") == ("a.safetensors", 1.0)
    assert parse_patch("a.safetensors:.5") == ("a.safetensors", 0.5)
    assert parse_patch("C:\\a.safetensors") == ("C:\\a.safetensors", 1.0)
    for wrong in ("a.safetensors:x", "a.safetensors:9", "a.safetensors:nan"):
        with pytest.raises(SowError, match="Bad --patch"):
            parse_patch(wrong)
