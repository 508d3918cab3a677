"""Every flow family from a folder: a step of its own pipeline is ours, the rank form is the explicit mask."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from unit.backends.scene import FOREIGN, SHORT, STRONG, layout, noise

from sow_core.backends.checks import check_index
from sow_core.backends.flows import pack, unpack
from sow_core.backends.loading import load
from sow_core.backends.opening import open_backend
from sow_core.backends.painting import paint
from sow_core.errors import SowError
from sow_core.method.plan import build_plan
from sow_core.method.schedule import to_x0

FOLDERS = ("sd3", "flux", "schnell", "chroma", "lumina2", "z_image", "qwen", "klein")
PROMPT = "a cat on a red chair"
CELLS = {8: (8, 12), 16: (4, 6)}
"""By px per cell: the same canvas."""


def own_step(backend, x: torch.Tensor, t: float) -> torch.Tensor:
    """The clean latents that the family's pipeline reaches in one Euler step from x at time t, by its own prompt."""
    kind, pipe = backend.parts.kind, backend.parts.pipeline
    pipe.set_progress_bar_config(disable=True)
    size = {"height": x.shape[-2] * backend.parts.cell, "width": x.shape[-1] * backend.parts.cell}
    more = {"num_inference_steps": 1, "sigmas": [t], "output_type": "latent", **size}
    if kind == "klein":
        made = pipe(prompt=PROMPT, latents=x, guidance_scale=1.0, **more).images  # as the VAE takes it
        bn, eps = backend.parts.vae.bn, backend.parts.vae.config.batch_norm_eps
        mean, std = bn.running_mean[:, None, None], (bn.running_var + eps).sqrt()[:, None, None]
        return (pipe._patchify_latents(made) - mean) / std
    if kind == "qwen":
        out = pipe(PROMPT, latents=pack(x), true_cfg_scale=1.0, **more).images
    elif kind == "flux":
        out = pipe(PROMPT, latents=pack(x), guidance_scale=3.5, **more).images
    elif kind == "chroma":
        # Its pipeline adds the mask of the padding as numbers; without padding, those are all the same.
        states = backend.states("positive")
        mask = torch.ones(states.shape[:2])
        out = pipe(prompt_embeds=states, prompt_attention_mask=mask, latents=pack(x), guidance_scale=1.0, **more).images
    elif kind == "z_image":
        out = pipe(PROMPT, latents=x, guidance_scale=0.0, **more).images
        return out[:, :, 0] if out.ndim == 5 else out
    else:
        return pipe(PROMPT, latents=x, guidance_scale=1.0, **more).images
    return unpack(out, x.shape[-2] // 2, x.shape[-1] // 2)


@pytest.mark.parametrize("family", FOLDERS)
def test_a_step_is_that_of_the_familys_own_pipeline(family, flows):
    """Sign, told time, packing, rope, prompt and embedded guidance at once."""
    backend = flows(family)
    backend.set_prompts({"positive": PROMPT})
    schedule = backend.schedule(10)
    x = noise(1, backend.channels, *CELLS[backend.parts.cell])
    eps = backend.predict(x, schedule, 7, ("positive",))[0]
    expected = own_step(backend, x, schedule.t[7])
    assert (expected - x).abs().max() > 0.5
    assert torch.allclose(to_x0(x, eps, schedule, 7), expected, atol=2e-4)


@pytest.mark.parametrize("family", FOLDERS)
def test_rows_whose_prompts_differ_in_length_are_each_as_alone(family, flows):
    backend = flows(family)
    backend.set_prompts({"positive": PROMPT, "negative": "blurry"})
    x = noise(2, backend.channels, *CELLS[backend.parts.cell])
    schedule, rows = backend.schedule(10), ("negative", "positive")
    before = backend.text_calls
    both = backend.predict(x, schedule, 6, rows)
    assert backend.text_calls == before + 2 * len(backend.parts.encoders), "each prompt is encoded once"
    for row, name in enumerate(rows):
        alone = backend.predict(x[1:], schedule, 6, (name,))[0, 0]
        assert torch.allclose(both[row, 1], alone, atol=1e-4)
    assert backend.text_calls == before + 2 * len(backend.parts.encoders)


def test_only_a_model_that_is_told_its_guidance_is_told_that_there_is_none(flows):
    for family in ("flux", "schnell", "sd3"):
        backend = flows(family)
        backend.set_prompts({"positive": PROMPT})
        x, schedule = noise(1, 16, 8, 12), backend.schedule(10)
        told, untold = (backend.predict(x, schedule, 6, ("positive",), embedded=e) for e in (True, False))
        assert torch.equal(told, untold) == (family != "flux")


def test_latents_are_scaled_and_shifted_as_the_vae_says(flows):
    backend = flows("flux")
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    vae = backend.parts.vae
    with torch.no_grad():
        z = vae.encode(image * 2 - 1).latent_dist.mode()
        shown = (vae.decode(z).sample / 2 + 0.5).clamp(0, 1)
    made = backend.encode(image)
    assert torch.allclose(made, (z - 0.1159) * 0.3611, atol=1e-5)
    assert torch.allclose(backend.decode(made), shown, atol=1e-4)


def test_a_vae_of_videos_is_used_for_one_frame(flows):
    backend = flows("qwen")
    image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    vae, made = backend.parts.vae, backend.encode(image)
    mean, std = (torch.tensor(vae.config[k])[:, None, None] for k in ("latents_mean", "latents_std"))
    with torch.no_grad():
        z = vae.encode(image[:, :, None] * 2 - 1).latent_dist.mode()
        shown = (vae.decode(z).sample[:, :, 0] / 2 + 0.5).clamp(0, 1)
    assert made.shape == (2, 16, 8, 12) and torch.allclose(made, (z[:, :, 0] - mean) / std, atol=1e-5)
    assert torch.allclose(backend.decode(made), shown, atol=1e-4)


def test_the_language_model_reads_a_text_as_the_whole_model_does(tiny, flows):
    from transformers import Qwen2_5_VLForConditionalGeneration

    whole = Qwen2_5_VLForConditionalGeneration.from_pretrained(tiny("qwen") / "text_encoder").eval()
    ids = torch.randint(0, 256, (1, 12), generator=torch.Generator().manual_seed(1))
    asked = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "output_hidden_states": True}
    with torch.no_grad():
        ours, theirs = (m(**asked).hidden_states[-1] for m in (flows("qwen").parts.encoders[0][1], whole))
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_four_cells_of_flux_2_are_one_of_the_models(flows):
    backend = flows("klein")
    image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    vae, made = backend.parts.vae, backend.encode(image)
    assert made.shape == (2, 128, 4, 6) and backend.channels == 128
    with torch.no_grad():
        z = vae.encode(image * 2 - 1).latent_dist.mode()
        shown = (vae.decode(z).sample / 2 + 0.5).clamp(0, 1)
    patched = backend.parts.pipeline._patchify_latents(z)
    again = made * (vae.bn.running_var + 1e-4).sqrt()[:, None, None] + vae.bn.running_mean[:, None, None]
    assert torch.allclose(again, patched, atol=1e-4) and torch.allclose(backend.decode(made), shown, atol=1e-3)


def test_klein_says_in_its_index_whether_it_is_distilled(copy):
    folder = copy("klein")
    assert load(folder).recommended.guidance == 4.0
    edit(folder / "model_index.json", is_distilled=True)
    assert load(folder).recommended.guidance == 1.0


@pytest.mark.parametrize("family", ["flux", "z_image", "qwen", "klein"])
def test_a_whole_run_with_modulation(family, flows):
    backend = flows(family)
    backend.set_prompts({"positive": PROMPT, "negative": ""})
    config = replace(SHORT, modulation=STRONG, guidance=backend.parts.recommended.guidance, cycles=1)
    where = layout(cell=backend.parts.cell, snap=16)
    made = paint(build_plan(config), backend, where, [3])
    assert made.images.shape == (1, 3, 64, 96) and torch.isfinite(made.images).all()
    assert all(c.indicator is not None for c in made.trace.calls if c.phase == "cycle")


def test_what_a_family_is_run_at_is_its_recommendation(flows):
    assert flows("flux").parts.recommended.guidance == 1.0  # of two rows; 3.5 is what the net is told
    assert flows("sd3").parts.recommended.guidance == 4.5
    assert flows("flux").family.guidance == "embedded" and flows("schnell").family.guidance == "none"


def test_prompts_are_counted_as_the_longest_reader_counts(flows):
    assert flows("sd3").prompt_tokens == 256 and flows("sd3").token_count("a cat") == 5
    assert flows("flux").prompt_tokens == 512


def test_packing_is_the_pipelines_own():
    from diffusers import FluxPipeline

    x = noise(2, 16, 8, 12)
    assert torch.equal(pack(x), FluxPipeline._pack_latents(x, 2, 16, 8, 12))
    assert torch.equal(unpack(pack(x), 4, 6), x)


# -- folders


@pytest.fixture
def copy(tiny, tmp_path):
    return lambda family: Path(shutil.copytree(tiny(family), tmp_path / f"my {family}"))


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | changes))


@pytest.mark.parametrize("family", ["chroma", "z_image"])
def test_a_config_that_names_other_code_is_of_no_effect(family, copy, flows):
    """Nor does a chat template: a program in the folder of a tokenizer."""
    folder = copy(family)
    for file in ("transformer/config.json", "text_encoder/config.json", "tokenizer/tokenizer_config.json",
                 "scheduler/scheduler_config.json", "model_index.json", "vae/config.json"):  # fmt: skip
        edit(folder / file, **FOREIGN)
    edit(folder / "tokenizer" / "tokenizer_config.json", chat_template="{{ 1 / 0 }}")
    (folder / "tokenizer" / "chat_template.jinja").write_text("{{ 1 / 0 }}")
    made, expected = open_backend(folder), flows(family)
    for backend in (made, expected):
        backend.set_prompts({"positive": PROMPT})
    x, schedule = noise(1, 16, 8, 12), made.schedule(10)
    assert torch.equal(*(b.predict(x, schedule, 6, ("positive",)) for b in (made, expected)))


def test_an_embedding_that_is_stored_under_its_second_name_is_found(copy, flows):
    from safetensors.torch import load_file, save_file

    folder = copy("chroma")
    file = folder / "text_encoder" / "model.safetensors"
    weights = load_file(file)
    names = ("shared.weight", "encoder.embed_tokens.weight")
    kept = next(weights[name] for name in names if name in weights)
    save_file({k: v for k, v in weights.items() if k not in names} | {"shared.weight": kept}, file)
    encoder = load(folder).encoders[0][1]
    assert torch.equal(encoder.get_input_embeddings().weight, kept)
    assert all(not p.is_meta for p in encoder.parameters())


@pytest.mark.parametrize(
    ("family", "file", "changes", "said"),
    [
        ("flux", "transformer/config.json", {"num_layers": 10**9}, "num_layers"),
        ("flux", "transformer/config.json", {"axes_dims_rope": [8]}, "axes_dims_rope"),
        ("flux", "vae/config.json", {"latent_channels": 4}, "Cannot load"),
        ("z_image", "transformer/config.json", {"all_patch_size": [4]}, "all_patch_size"),
        ("z_image", "text_encoder/config.json", {"head_dim": "wide"}, "head_dim"),
        ("qwen", "vae/config.json", {"latents_mean": [0.0]}, "latents_mean"),
        ("qwen", "transformer/config.json", {"zero_cond_t": True}, "zero_cond_t"),
        ("chroma", "text_encoder/config.json", {"feed_forward_proj": "gated-evil"}, "feed_forward_proj"),
        ("chroma", "scheduler/scheduler_config.json", {"_class_name": "PNDMScheduler"}, "FlowMatch"),
        ("chroma", "model_index.json", {"text_encoder": ["transformers", "Evil"]}, "Evil"),
    ],
)
def test_what_does_not_fit_is_one_line(family, file, changes, said, copy):
    folder = copy(family)
    edit(folder / file, **changes)
    with pytest.raises(SowError, match=said) as caught:
        load(folder)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["FluxTransformer2DModel", "AutoencoderKL", "FluxPipeline"])
def test_a_diffusers_older_than_the_family_is_one_line_before_any_weights_are_read(name, copy, monkeypatch):
    import diffusers

    folder = copy("flux")
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    has = vars(type(diffusers))["__getattr__"]

    def old(module, asked):
        if asked == name:
            raise AttributeError(asked)
        return has(module, asked)

    monkeypatch.setattr(type(diffusers), "__getattr__", old)  # classes are looked up when first asked for
    monkeypatch.delitem(vars(diffusers), name, raising=False)
    said = f"diffusers {diffusers.__version__} does not know {name}: install a newer one (pip install -U diffusers)."
    with pytest.raises(SowError) as caught:
        load(folder)
    assert str(caught.value) == said


def test_a_tokenizer_without_its_rules_is_refused(copy):
    folder = copy("chroma")
    (folder / "tokenizer" / "tokenizer.json").unlink()
    (folder / "tokenizer" / "spiece.model").write_bytes(b"x")
    with pytest.raises(SowError, match="tokenizer.json"):
        load(folder)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("FluxFillPipeline", "fills masks"),
        ("StableDiffusion3InpaintPipeline", "fills masks"),
        ("FluxKontextPipeline", "edits pictures"),
        ("QwenImageEditPipeline", "edits pictures"),
        ("ZImageOmniPipeline", "edits pictures"),
        ("FluxControlNetPipeline", "guided by another picture"),
        ("Flux2Pipeline", "runs in ComfyUI"),
        ("Flux2KleinInpaintPipeline", "fills masks"),
        ("HiDreamImagePipeline", "runs in ComfyUI"),
        ("WanPipeline", "video"),
        ("QwenImageLayeredPipeline", "layers"),
        ("AuraFlowPipeline", "expected a text-to-image model of SD 1.x, .*Z-Image"),
        ("", "without _class_name"),
    ],
)
def test_other_pipelines_are_refused_each_with_its_reason(kind, said):
    with pytest.raises(SowError, match=said):
        check_index("x", {"_class_name": kind})


def test_a_model_from_python_snaps_to_its_tokens_and_says_what_has_no_effect(tiny):
    from PIL import Image

    import sow_core as sow
    from sow_core.pipeline.job import check
    from sow_core.pipeline.options import Options

    model, said = sow.load(tiny("flux"), device="cpu"), []
    face = Image.new("RGB", (32, 24), (200, 120, 40))
    asked = {"condition": [face], "box": [sow.Box(20, 14, 32, 32)], "prompt": PROMPT, "negative": "blurry",
             "size": "96x64", "cycles": 1, "settings": ["steps=4", "hi=3", "lo=2", "preserve=1"]}  # fmt: skip
    made = model.make(check(Options.named(asked)), say=said.append)
    assert made.job.config.guidance == 1.0 and made.images[0].size == (96, 64)
    assert (made.layout.conditions[0].box, made.layout.snap) == (sow.Box(16, 16, 32, 32), 16)
    assert said == ["note: without guidance (cfg 1) the negative prompt has no effect."]
    with pytest.raises(SowError, match="Bad width 72: expected a multiple of 16"):
        model.make(check(Options.named(asked | {"size": "72x64", "box": None})), say=said.append)
    assert model.size == (1024, 1024)
