"""A CLIP folder of transformers as an encoder, on a tiny random model."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image
from tiny_models import build_clip

from sow_core.errors import SowError
from sow_core.retrieval.clip_encoder import ClipEncoder, ClipStates
from sow_core.retrieval.encoders import load_encoder, unit

SIDE = 32


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return build_clip(tmp_path_factory.mktemp("clip"), SIDE)


@pytest.fixture(scope="module")
def encoder(clip):
    return load_encoder(str(clip))


def picture(width=50, height=40, seed=0):
    pixels = torch.rand(height, width, 3, generator=torch.Generator().manual_seed(seed))
    return Image.fromarray((pixels * 255).byte().numpy())


def test_shapes_and_identity(encoder, clip):
    assert encoder.width == 12 and encoder.identity.startswith("clip:")
    assert encoder.pictures([picture(), picture(33, 70)]).shape == (2, 12)
    assert encoder.texts(["a red cube", ""]).shape == (2, 12)
    assert encoder.states("a red cube").shape == (77, 16)
    assert ClipEncoder(clip).identity == encoder.identity


def test_a_folder_that_names_other_code_is_of_no_effect(encoder, clip, tmp_path, monkeypatch):
    """Neither in the config nor in its parts; nothing is asked, and a pickle beside it is not opened."""
    import shutil
    import socket

    asked = []
    monkeypatch.setattr(socket.socket, "connect", lambda *a: asked.append(a))
    folder = shutil.copytree(clip, tmp_path / "clip")
    made = json.loads((folder / "config.json").read_text())
    foreign = {"attn_implementation": "owner/repo", "quantization_config": {"quant_method": "x"}, "auto_map": {"a": 1}}
    for part in (made, made["text_config"], made["vision_config"]):
        part |= foreign
    (folder / "config.json").write_text(json.dumps(made))
    (folder / "pytorch_model.bin").write_bytes(b"no pickle")
    other = load_encoder(str(folder))
    assert torch.equal(other.texts(["a cat"]), encoder.texts(["a cat"])) and not asked


def test_the_same_as_the_library(encoder):
    """transformers' own picture processor and model give the same embedding."""
    from transformers import CLIPImageProcessor

    try:
        processor = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    except ImportError:
        pytest.skip("the library's processor needs torchvision here")
    shot = picture(64, 64)
    values = processor(images=[shot], return_tensors="pt")["pixel_values"]
    seen = encoder.model.get_image_features(pixel_values=values)
    seen = getattr(seen, "pooler_output", seen)  # transformers 5 returns an object
    theirs, ours = unit(seen), unit(encoder.pictures([shot]))
    assert float((theirs * ours).sum()) > 0.9999
    tokens = encoder.tokenizer(["a red cube"], padding="max_length", max_length=77, return_tensors="pt")
    words = encoder.model.get_text_features(**tokens)
    words = getattr(words, "pooler_output", words)
    assert torch.allclose(unit(words), unit(encoder.texts(["a red cube"])), atol=1e-5)


def test_a_mask_hides_in_the_encoders_own_frame(encoder):
    shot, other = picture(64, 32), picture(64, 32, 1)
    mask = Image.new("L", (64, 32))
    mask.paste(255, (32, 0, 64, 32))
    mixed = shot.copy()
    mixed.paste(other.crop((32, 0, 64, 32)), (32, 0))
    # Sizes are cropped to the middle: x from 16 to 48, of which the mask covers the right half.
    cells = encoder.cells(mask, 8)
    assert cells.sum() == 32 and bool(cells[:, 4:].all())
    hidden = encoder.pictures([shot, mixed], [mask, mask])
    assert torch.allclose(hidden[0], hidden[1], atol=2e-2)
    open_ = encoder.pictures([shot, mixed])
    assert (open_[0] - open_[1]).abs().max() > (hidden[0] - hidden[1]).abs().max() * 2


def test_states_of_a_text_encoder_of_its_own(tmp_path, encoder, clip):
    encoder.model.text_model.config.architectures = None
    from transformers import CLIPTextModel

    CLIPTextModel.from_pretrained(clip).save_pretrained(tmp_path)
    encoder.tokenizer.save_pretrained(tmp_path)
    states = ClipStates(tmp_path)
    assert torch.allclose(states.states("a red cube"), encoder.states("a red cube"), atol=1e-5)


def test_bad_folders(tmp_path, clip):
    with pytest.raises(SowError, match="There is no encoder"):
        load_encoder(str(tmp_path / "none"))
    with pytest.raises(SowError, match="config.json"):
        load_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(SowError, match="type 'bert'; expected clip"):
        load_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text((clip / "config.json").read_text())
    with pytest.raises(SowError, match="no .safetensors weights"):
        load_encoder(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(SowError, match="not a whole .safetensors file"):
        load_encoder(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes((clip / "model.safetensors").read_bytes())
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((clip / name).read_bytes())
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [1, 2], "image_std": [0, 0, 0]}')
    with pytest.raises(SowError, match="three numbers"):
        load_encoder(str(tmp_path))
