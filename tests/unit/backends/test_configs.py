"""A model folder is somebody else's: no key of its configs reaches a library unless our models need it, and none
does unchecked."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import ldm_layout
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from unit.backends.scene import FOREIGN

from sow_core.backends import configs
from sow_core.backends.diffusers import DiffusersBackend
from sow_core.backends.hub import hub_off
from sow_core.backends.loading import load
from sow_core.backends.weights import read_weights, weight_files
from sow_core.errors import SowError

RECORDS = {
    "unet/config.json": configs.UNetConfig,
    "vae/config.json": configs.VAEConfig,
    "text_encoder/config.json": configs.TextConfig,
    "scheduler/scheduler_config.json": configs.SchedulerConfig,
    "tokenizer/tokenizer_config.json": configs.TokenizerConfig,
    "model_index.json": configs.Index,
}


@pytest.fixture
def copy(tiny, tmp_path):
    """copy(family): a folder of one's own, to be broken."""
    return lambda family="sd1": Path(shutil.copytree(tiny(family), tmp_path / f"my {family}"))


def edit(path: Path, **changes) -> None:
    values = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(values | changes))


def predictions(model: Path, **options) -> torch.Tensor:
    backend = DiffusersBackend.load(model, **options)
    backend.set_prompts({"positive": "a cat on a red chair", "negative": ""})
    x = torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(1))
    return backend.predict(x, backend.schedule(10), 6, ("positive", "negative"))


def poisoned(folder: Path) -> Path:
    for file in RECORDS:
        edit(folder / file, **FOREIGN)
    (folder / "text_encoder" / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "owner/repo"}))
    return folder


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_config_that_names_other_code_is_of_no_effect(family, copy, tiny, tmp_path, monkeypatch):
    """No request, with or without the packages that would act upon it, and the same model."""
    asked = []
    monkeypatch.setattr(socket.socket, "connect", lambda *a: asked.append(a))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: asked.append(a) or [])
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    expected = predictions(tiny(family))
    folder = poisoned(copy(family))
    assert torch.equal(predictions(folder), expected)
    checkpoint = ldm_layout.convert(tiny(family), tmp_path / "x.safetensors", family)
    assert torch.allclose(predictions(checkpoint, config=folder), expected, atol=1e-4)
    assert not asked


def test_only_the_keys_of_the_records_are_read(copy):
    folder = poisoned(copy())
    for file, record in RECORDS.items():
        assert not set(configs.read_config(folder / file, record)) & set(FOREIGN)


def test_the_hub_is_off_while_a_model_loads_and_on_again_after_it(copy, monkeypatch):
    import os

    import huggingface_hub.constants as constants

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(ZeroDivisionError), hub_off():
        assert constants.HF_HUB_OFFLINE and os.environ["HF_HUB_OFFLINE"] == "1"
        1 / 0  # noqa: B018
    assert constants.HF_HUB_OFFLINE is False and "HF_HUB_OFFLINE" not in os.environ


# -- values


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("unet/config.json", "block_out_channels", "wide"),
        ("unet/config.json", "block_out_channels", [0, 0]),
        ("unet/config.json", "layers_per_block", 10**9),
        ("unet/config.json", "attention_head_dim", 0),
        ("unet/config.json", "norm_num_groups", 0),
        ("unet/config.json", "norm_num_groups", None),
        ("unet/config.json", "sample_size", "64"),
        ("unet/config.json", "down_block_types", ["EvilBlock"]),
        ("unet/config.json", "act_fn", ["silu"]),
        ("vae/config.json", "scaling_factor", 0),
        ("vae/config.json", "scaling_factor", "big"),
        ("vae/config.json", "block_out_channels", None),
        ("vae/config.json", "layers_per_block", 1e308),
        ("text_encoder/config.json", "num_hidden_layers", 10**15),
        ("text_encoder/config.json", "hidden_size", -1),
        ("text_encoder/config.json", "vocab_size", "all"),
        ("text_encoder/config.json", "max_position_embeddings", 0),
        ("scheduler/scheduler_config.json", "num_train_timesteps", 10**12),
        ("scheduler/scheduler_config.json", "num_train_timesteps", "1000"),
        ("scheduler/scheduler_config.json", "beta_end", 7),
        ("scheduler/scheduler_config.json", "trained_betas", "none"),
        ("scheduler/scheduler_config.json", "prediction_type", {"a": 1}),
        ("scheduler/scheduler_config.json", "steps_offset", -5),
        ("tokenizer/tokenizer_config.json", "model_max_length", 0),
        ("tokenizer/tokenizer_config.json", "bos_token", 7),
        ("model_index.json", "_class_name", ["StableDiffusionPipeline"]),
        ("model_index.json", "unet", {"a": 1}),
        ("sow.json", "guidance", "much"),
        ("sow.json", "negative", [3]),
        ("sow.json", "presets", {"normal": 3}),
    ],
)
def test_a_bad_value_is_named_with_its_file(file, key, value, copy):
    folder = copy()
    edit(folder / file, **{key: value})
    with pytest.raises(SowError) as caught:
        load(folder)
    assert file in str(caught.value) and key in str(caught.value)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_json_is_a_config_or_one_line(data, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any.json"
    record = data.draw(st.sampled_from(sorted(RECORDS.values(), key=str)))
    keys = st.sampled_from([f.name for f in configs.fields(record)]) | st.text(max_size=5)
    path.write_text(json.dumps(data.draw(st.dictionaries(keys, ANY, max_size=4) | ANY)))
    try:
        made = configs.read_config(path, record)
    except SowError as error:
        assert str(error).isprintable() and "any.json" in str(error)
    else:
        assert set(made) <= {f.name for f in configs.fields(record)}


@pytest.fixture(scope="module")
def broken(tiny, tmp_path_factory):
    return Path(shutil.copytree(tiny("sd1"), tmp_path_factory.mktemp("broken") / "sd1"))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_folder_with_any_value_loads_or_is_refused(data, broken):
    """Within their ranges values can still contradict each other or the weights."""
    file = data.draw(st.sampled_from(sorted(RECORDS)))
    before = (broken / file).read_text()
    key = data.draw(st.sampled_from(sorted(set(json.loads(before)) & {f.name for f in configs.fields(RECORDS[file])})))
    value = data.draw(st.integers(1, 70) | st.sampled_from([[1, 2], [8, 16, 16, 16], [32, 64], 0.5, True, None]))
    edit(broken / file, **{key: value})
    try:
        load(broken)
    except SowError as error:
        assert str(error).isprintable()
    finally:
        (broken / file).write_text(before)


# -- the tokenizer


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("vocab.json", "[]"),
        ("vocab.json", '{"a": "b"}'),
        ("vocab.json", '{"a": 99999999}'),
        ("vocab.json", "{}"),
        ("vocab.json", '{"a</w>": 600, "<|startoftext|>": 512, "<|endoftext|>": 513}'),
        ("merges.txt", "\x00\x01"),
        ("tokenizer.json", "{}"),
        ("tokenizer.json", '{"version": "1.0", "model": {"type": "Evil"}}'),
        ("special_tokens_map.json", '{"pad_token": {"content": 5}}'),
    ],
)
def test_a_damaged_tokenizer(file, content, copy):
    folder = copy()
    (folder / "tokenizer" / file).write_text(content)
    with pytest.raises(SowError, match="tokenizer"):
        load(folder)


# -- weights


def shard(folder: Path, pattern: str, index: str | None = None, named: str | None = None) -> None:
    whole = next(folder.glob("*.safetensors"))
    state = load_file(whole)
    whole.unlink()
    keys, places = sorted(state), {}
    for number, part in enumerate((keys[: len(keys) // 2], keys[len(keys) // 2 :]), 1):
        name = pattern.format(number)
        save_file({key: state[key] for key in part}, folder / name)
        places |= dict.fromkeys(part, named or name)
    if index:
        (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": places}))


@pytest.mark.parametrize(
    ("pattern", "index"),
    [
        ("diffusion_pytorch_model-{:05d}-of-00002.safetensors", "diffusion_pytorch_model.safetensors.index.json"),
        ("diffusion_pytorch_model.fp16-{:05d}-of-00002.safetensors",
         "diffusion_pytorch_model.safetensors.index.fp16.json"),
        ("diffusion_pytorch_model-{:05d}-of-00002.fp16.safetensors",
         "diffusion_pytorch_model.safetensors.index.fp16.json"),
        ("model-{:05d}-of-00002.safetensors", None),
    ],
)  # fmt: skip
def test_shards_of_every_naming(pattern, index, copy, tiny):
    folder = copy()
    shard(folder / "unet", pattern, index)
    whole = read_weights(tiny("sd1") / "unet")
    found = read_weights(folder / "unet")
    assert found.keys() == whole.keys() and all(torch.equal(found[key], whole[key]) for key in whole)


def test_a_variant_and_its_shards(tmp_path):
    for name in ("model.non_ema", "model.fp16-00001-of-00002", "model.fp16-00002-of-00002", "model.other"):
        (tmp_path / f"{name}.safetensors").touch()
    assert [p.name[6:16] for p in weight_files(tmp_path)] == ["fp16-00001", "fp16-00002"]
    (tmp_path / "model.safetensors").touch()
    assert [p.name for p in weight_files(tmp_path)] == ["model.safetensors"]


def test_a_missing_shard(copy):
    folder = copy()
    shard(folder / "unet", "model-{:05d}-of-00002.safetensors")
    (folder / "unet" / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(SowError, match="shard 2 of 2 is missing"):
        load(folder)


@pytest.mark.parametrize("named", ["pytorch_model.bin", "../model.safetensors", "/tmp/model.safetensors", "x.pt"])
def test_an_index_that_names_another_file_is_refused(named, copy):
    folder = copy()
    index = "diffusion_pytorch_model.safetensors.index.json"
    shard(folder / "unet", "diffusion_pytorch_model-{:05d}-of-00002.safetensors", index, named)
    with pytest.raises(SowError, match=r"weight_map .*index\.json: it names") as caught:
        load(folder)
    assert ("can run code" in str(caught.value)) == named.endswith((".bin", ".pt"))


def test_an_autoencoder_with_the_names_of_old(copy, tiny):
    """Stable Diffusion 1.x still has them."""
    folder = copy()
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def old(key: str) -> str:
        for new, name in names.items():
            key = key.replace(f"attentions.0.{new}.", f"attentions.0.{name}.")
        return key

    state = {old(key): value for key, value in load_file(file).items()}
    assert "decoder.mid_block.attentions.0.proj_attn.weight" in state
    save_file(state, file)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(DiffusersBackend.load(folder).encode(image), DiffusersBackend.load(tiny("sd1")).encode(image))
