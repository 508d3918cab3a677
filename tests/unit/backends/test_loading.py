"""Loading models: every family from a folder and a checkpoint, and one clear line for all that is none."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import ldm_layout
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import FAMILIES

from sow_core.backends.diffusers import DiffusersBackend
from sow_core.backends.loading import load
from sow_core.errors import SowError
from sow_core.method.advice import Advice

ROWS = ("positive", "negative")
UNET = "unet/diffusion_pytorch_model.safetensors"


def predictions(model: Path, **options) -> torch.Tensor:
    backend = DiffusersBackend.load(model, **options)
    backend.set_prompts({"positive": "a cat on a red chair", "negative": ""})
    x = torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(1))
    return backend.predict(x, backend.schedule(10), 6, ROWS)


def refused(model: object, **options) -> str:
    """The one line with which loading refuses."""
    with pytest.raises(SowError) as caught:
        load(model, **options)  # type: ignore[arg-type]
    text = str(caught.value)
    assert "\n" not in text and len(text) < 400
    return text


@pytest.fixture
def copy(tiny, tmp_path):
    """copy(family): a folder of one's own, to be broken."""

    def made(family: str = "sd1") -> Path:
        return Path(shutil.copytree(tiny(family), tmp_path / f"my {family}"))

    return made


@pytest.fixture(scope="session")
def checkpoint(tiny, tmp_path_factory):
    made: dict[str, Path] = {}

    def file(family: str) -> Path:
        if family not in made:
            target = tmp_path_factory.mktemp("checkpoint") / f"{family}.safetensors"
            made[family] = ldm_layout.convert(tiny(family), target, family)
        return made[family]

    return file


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub cache of our own; hub(name, folder) puts a model into it."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def put(name: str, folder: Path) -> Path:
        root = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        (root / "refs").mkdir(parents=True)
        (root / "refs" / "main").write_text("0" * 40)
        return Path(shutil.copytree(folder, root / "snapshots" / ("0" * 40)))

    return put


def edit(path: Path, **changes) -> None:
    values = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in (values | changes).items() if v != "drop"}))


# -- what loads


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_predicts_what_its_folder_does(family, tiny, checkpoint):
    folder = predictions(tiny(family))
    single = predictions(checkpoint(family), config=tiny(family))
    assert folder.std() > 0.3
    assert torch.allclose(single, folder, atol=1e-4)
    assert not torch.allclose(single[0], single[1], atol=1e-2)  # the text encoder's weights arrived


@pytest.mark.parametrize("family", FAMILIES)
def test_the_autoencoder_of_a_checkpoint(family, tiny, checkpoint):
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    one, other = DiffusersBackend.load(tiny(family)), DiffusersBackend.load(checkpoint(family), config=tiny(family))
    z = one.encode(image)
    assert z.std() > 0.05
    assert torch.allclose(other.encode(image), z, atol=1e-5)
    assert torch.allclose(other.decode(z), one.decode(z), atol=1e-5)


def test_what_the_parts_are(tiny):
    sd, v, xl = (load(tiny(f)) for f in ("sd1", "sd2_v", "sdxl"))
    assert (sd.sdxl, v.sdxl, xl.sdxl) == (False, False, True)
    assert (sd.zero_empty, xl.zero_empty) == (False, True)
    assert v.scheduler_config["prediction_type"] == "v_prediction"
    for module in (xl.unet, xl.vae, *(encoder for _, encoder in xl.encoders)):
        assert not module.training and not any(p.requires_grad for p in module.parameters())


def test_half_precision_keeps_sdxls_autoencoder_in_float32(tiny, checkpoint):
    half = torch.bfloat16
    folder, sd = load(tiny("sdxl"), dtype=half), load(tiny("sd1"), dtype=half)
    single = load(checkpoint("sdxl"), dtype=half, config=tiny("sdxl"))
    assert folder.unet.dtype == single.unet.dtype == sd.unet.dtype == sd.vae.dtype == half
    assert folder.vae.dtype == single.vae.dtype == torch.float32


def test_weights_saved_as_fp16_variant_only(copy, tiny):
    folder = copy()
    for part, name in (("unet", "diffusion_pytorch_model"), ("vae", "diffusion_pytorch_model"),
                       ("text_encoder", "model")):  # fmt: skip
        old = folder / part / f"{name}.safetensors"
        save_file({k: v.half() for k, v in load_file(old).items()}, folder / part / f"{name}.fp16.safetensors")
        old.unlink()
    assert load(folder).unet.dtype == torch.float32
    assert torch.allclose(predictions(folder), predictions(tiny("sd1")), atol=0.05)


def test_an_sdxl_checkpoint_marked_as_v_prediction(tiny, checkpoint, tmp_path):
    marked = tmp_path / "v.safetensors"
    save_file(load_file(checkpoint("sdxl")) | {"v_pred": torch.tensor([]), "ztsnr": torch.tensor([])}, marked)
    config = load(marked, config=tiny("sdxl")).scheduler_config
    assert config["prediction_type"] == "v_prediction" and config["rescale_betas_zero_snr"] is True


def test_sow_json_recommends(copy):
    folder = copy()
    (folder / "sow.json").write_text('{"guidance": 5, "negative": ""}')
    assert load(folder).recommended == Advice(guidance=5, negative="")
    (folder / "sow.json").write_text('{"guidance": "much"}')
    assert "guidance" in refused(folder)


# -- the hub


def test_a_hub_id_is_looked_up_in_the_local_cache_only(hub, tiny, monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError("went to the network")

    hub("some.one/tiny-model-1.0", tiny("sd1"))
    monkeypatch.setattr(socket.socket, "connect", forbidden)
    assert load("some.one/tiny-model-1.0").name == "some.one/tiny-model-1.0"
    assert "add --download" in refused("some.one/other-2.1")


def test_a_checkpoint_without_config_uses_the_cache_or_says_what_to_do(hub, tiny, checkpoint, monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError("went to the network")

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    assert "--config FOLDER" in refused(checkpoint("sd1"))
    assert "--config FOLDER" in refused(checkpoint("sdxl"))
    hub("stable-diffusion-v1-5/stable-diffusion-v1-5", tiny("sd1"))
    assert torch.equal(predictions(checkpoint("sd1")), predictions(checkpoint("sd1"), config=tiny("sd1")))


def test_an_sd2_checkpoint_does_not_say_what_it_predicts(checkpoint):
    assert "eps or v" in refused(checkpoint("sd2"))


def test_download_without_a_connection(hub, monkeypatch):
    assert refused("some.one/model", download=True).startswith("Cannot load some.one/model")


# -- what is refused


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.BIN", "model.pth"])
def test_pickles_are_refused_with_the_reason(name, tmp_path):
    (tmp_path / name).write_bytes(b"\x80\x02}q\x00.")
    assert "can run code" in refused(tmp_path / name)


def test_a_folder_with_pickled_weights_only(copy):
    folder = copy()
    (folder / UNET).rename(folder / "unet/diffusion_pytorch_model.bin")
    text = refused(folder)
    assert "diffusion_pytorch_model.bin" in text and "can run code" in text
    (folder / "unet/diffusion_pytorch_model.bin").unlink()
    assert "No weights" in refused(folder)


@pytest.mark.parametrize(
    "pipeline",
    [
        "StableDiffusionInpaintPipeline",
        "StableDiffusionInstructPix2PixPipeline",
        "StableDiffusion3InpaintPipeline",
        "FluxFillPipeline",
        "StableVideoDiffusionPipeline",
        "AnimateDiffPipeline",
        "",
    ],
)
def test_other_pipelines(pipeline, tmp_path):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": pipeline} if pipeline else {}))
    text = refused(tmp_path)
    assert (pipeline or "without _class_name") in text and "SDXL" in text


def test_a_refiner_folder(copy):
    folder = copy("sdxl")
    edit(folder / "model_index.json", text_encoder=[None, None], tokenizer=[None, None])
    shutil.rmtree(folder / "text_encoder")
    shutil.rmtree(folder / "tokenizer")
    assert "refiner" in refused(folder)


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        ("unet/config.json", {"in_channels": 9}, "inpainting or edit model (9"),
        ("unet/config.json", {"in_channels": 8}, "inpainting or edit model (8"),
        ("unet/config.json", {"time_cond_proj_dim": 256}, "time_cond_proj_dim"),
        ("unet/config.json", {"addition_embed_type": "image"}, "addition_embed_type"),
        ("model_index.json", {"unet": ["diffusers", "UNetMotionModel"]}, "UNetMotionModel"),
        ("model_index.json", {"vae": ["diffusers", "AutoencoderTiny"]}, "AutoencoderTiny"),
        ("model_index.json", {"text_encoder": ["transformers", "T5EncoderModel"]}, "T5EncoderModel"),
        ("model_index.json", {"text_encoder": "drop"}, "no text_encoder"),
        ("scheduler/scheduler_config.json", {"prediction_type": "sample"}, "'sample'"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "sigmoid"}, "'sigmoid'"),
        ("scheduler/scheduler_config.json", {"sigma_data": 0.5}, "EDM"),
        ("scheduler/scheduler_config.json", {"_class_name": "FlowMatchEulerDiscreteScheduler"}, "flow-matching"),
        ("scheduler/scheduler_config.json", {"beta_start": "drop", "shift": 3.0}, "flow-matching"),
        ("vae/config.json", {"latents_mean": [0.0, 0.0, 0.0, 0.0]}, "shifts its latents"),
    ],
)
def test_configurations_that_cannot_work(file, changes, said, copy):
    folder = copy()
    edit(folder / file, **changes)
    assert said in refused(folder)


@pytest.mark.parametrize("file", ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json"])
@pytest.mark.parametrize("content", ["{", "[]", "\xff\xfe"])
def test_damaged_json(file, content, copy):
    folder = copy()
    (folder / file).write_bytes(content.encode("latin-1"))
    assert Path(file).name in refused(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_part_is_missing(part, copy):
    folder = copy()
    shutil.rmtree(folder / part)
    assert part in refused(folder)


@pytest.mark.parametrize("part", [UNET, "vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"])
def test_truncated_weights_in_a_folder(part, copy):
    folder = copy()
    data = (folder / part).read_bytes()
    (folder / part).write_bytes(data[: len(data) // 2])
    assert part.split("/")[0] in refused(folder)


@pytest.mark.parametrize("part", [UNET, "vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"])
def test_a_missing_weight_is_not_made_up(part, copy):
    folder = copy()
    state = load_file(folder / part)
    state.pop(sorted(state)[3])
    save_file(state, folder / part, metadata={"format": "pt"})
    assert "incomplete" in refused(folder)


def test_weights_of_another_shape(copy):
    folder = copy()
    edit(folder / "unet/config.json", cross_attention_dim=40)
    assert "unet" in refused(folder)


def test_not_a_model(tmp_path):
    assert "model_index.json" in refused(tmp_path)
    assert "No such model" in refused(tmp_path / "gone.safetensors")
    assert "No such model" in refused("gone")
    assert "No such model" in refused("a/b/c")
    (tmp_path / "notes.txt").write_text("no model")
    assert "expected .safetensors" in refused(tmp_path / "notes.txt")


def test_truncated_and_foreign_checkpoints(checkpoint, tiny, tmp_path):
    data = checkpoint("sd1").read_bytes()
    broken = tmp_path / "broken.safetensors"
    for part in (b"", data[:4], data[: len(data) // 2], b"\0" * 64):
        broken.write_bytes(part)
        assert "not a whole .safetensors file" in refused(broken, config=tiny("sd1"))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"lora_unet_down_blocks_0.lora_down.weight": (4, 4)}, "LoRA"),
        ({"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": (4, 4)}, "flow model"),
        ({"double_blocks.0.img_attn.qkv.weight": (4, 4)}, "flow model"),
        ({"down_blocks.0.resnets.0.conv1.weight": (4, 4)}, "Load the folder"),
        ({"first_stage_model.encoder.conv_in.weight": (4, 4)}, "part of a model"),
        ({"model.diffusion_model.input_blocks.0.0.weight": (8, 9, 3, 3)}, "inpainting or edit model (9"),
        ({"model.diffusion_model.input_blocks.0.0.weight": (8, 8, 3, 3)}, "inpainting or edit model (8"),
        ({"model.diffusion_model.input_blocks.0.0.weight": (8, 4, 3, 3)}, "no text encoder"),
        ({"model.diffusion_model.input_blocks.0.0.weight": (8, 4, 3, 3),
          "model.diffusion_model.input_blocks.1.0.time_stack.in_layers.0.weight": (8,)}, "video"),
        ({"model.diffusion_model.input_blocks.0.0.weight": (8, 4, 3, 3), "edm_mean": (1,)}, "EDM"),
        ({"model.diffusion_model.input_blocks.0.0.weight": (8, 4, 3, 3),
          "conditioner.embedders.0.model.text_projection": (4, 4)}, "refiner"),
    ],
)  # fmt: skip
def test_files_that_are_no_text_to_image_checkpoint(names, said, tmp_path):
    file = tmp_path / "odd.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in names.items()}, file)
    assert said in refused(file)


def test_config_that_does_not_fit(checkpoint, tiny, copy, tmp_path):
    assert "Bad config" in refused(checkpoint("sd1"), config=tmp_path)
    assert "another family" in refused(checkpoint("sd1"), config=tiny("sdxl"))
    assert "another family" in refused(checkpoint("sdxl"), config=tiny("sd1"))
    folder = copy()
    edit(folder / "unet/config.json", cross_attention_dim=40)
    assert refused(checkpoint("sd1"), config=folder).startswith("Cannot load sd1.safetensors")


def test_a_checkpoint_that_lacks_a_weight(checkpoint, tiny, tmp_path):
    state = load_file(checkpoint("sd1"))
    gone = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
    file = tmp_path / "lacking.safetensors"
    save_file({k: v for k, v in state.items() if k != gone}, file)
    assert "lacks weights" in refused(file, config=tiny("sd1"))


def test_loading_leaves_the_random_state_alone(tiny, checkpoint):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    load(tiny("sdxl"))
    load(checkpoint("sdxl"), config=tiny("sdxl"))
    assert torch.equal(torch.get_rng_state(), before)
