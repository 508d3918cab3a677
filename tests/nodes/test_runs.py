"""SOW Generate on the demo model, and the diagnostics of its trace. The native sampler is tested in ComfyUI itself."""

from __future__ import annotations

import json

import pytest
import torch

from .pack import ROOT, part, run_node, sow_error

torch.set_num_threads(1)
PROMPT = "a photo of a smiling man wearing a suit on a beach"


@pytest.fixture(scope="module")
def pipeline():
    return run_node("SOW_LoadPipeline").args[0]


@pytest.fixture(scope="module")
def layout():
    image, mask = run_node("SOW_LoadExample", example="tom").args
    return run_node("SOW_Layout", condition=image, mask=mask, width=128, height=128,
                    bboxes="[[32,24,64,64],[16,80,96,48]]").args[0]


def generate(pipeline, layout, **changes):
    values = {"prompt": PROMPT, "negative_prompt": "", "cfg": 5.0, "cycles": 2, "seed": 3} | changes
    return run_node("SOW_Generate", pipeline=pipeline, layout=layout, **values)


@pytest.fixture(scope="module")
def made(pipeline, layout):
    bar = _bar()
    bar.reports.clear()
    out = generate(pipeline, layout, batch_size=2)
    return out.args[0], out.args[1], list(bar.reports)


def _bar():
    part("nodes.diffusers_run")
    import comfy.utils

    return comfy.utils.ProgressBar


def test_the_condition_is_kept_and_a_scene_grew(made, layout):
    images, run, _ = made
    assert images.shape == (2, 128, 128, 3) and images.min() >= 0 and images.max() <= 1
    canvas = layout.build().canvas.movedim(0, -1)
    kept = part("sow_core.method.condition").kept_mask(layout.build()) > 0.5
    assert (images[0] - canvas)[kept].abs().mean() < 0.12
    outside = images[0][~kept]
    assert outside.std() > 0.1, "the gray is gone"
    assert (images[0] - images[1])[~kept].abs().mean() > 0.02, "two seeds, two scenes"
    assert (run.seeds, run.trace.cycles) == ((3, 4), [2, 2])


def test_a_seed_means_the_same_alone_and_in_a_batch(made, pipeline, layout):
    alone = generate(pipeline, layout, seed=4).args[0]
    torch.testing.assert_close(alone[0], made[0][1], atol=2e-3, rtol=0)


def test_progress_is_reported_per_call_with_the_true_total(made):
    values = [value for value, _, _ in made[2]]
    calls = len(made[1].trace.calls)
    assert values[:calls] == list(range(1, calls + 1)) and {total for _, total, _ in made[2]} == {calls}
    kind, preview, _ = made[2][0][2]
    assert kind == "JPEG" and preview.size == (16, 16)


def test_a_preview_looks_like_the_picture(made):
    """The linear preview is fitted to this very VAE, so its colours are those of the result."""
    preview = made[2][len(made[1].trace.calls) - 1][2][1]
    small = torch.nn.functional.adaptive_avg_pool2d(made[0][0].movedim(-1, 0), (16, 16))
    seen = torch.tensor(list(preview.getdata()), dtype=torch.float32).view(16, 16, 3).movedim(-1, 0) / 255
    assert (seen - small).abs().mean() < 0.12


def test_a_cancel_stops_within_a_call_and_leaves_the_model(pipeline, layout, made):
    import comfy.model_management as management

    bar = _bar()
    bar.reports.clear()
    management.interrupted = True
    before = dict(pipeline.parts.unet.attn_processors)
    try:
        with pytest.raises(management.InterruptProcessingException):
            generate(pipeline, layout)
    finally:
        management.interrupted = False
    assert len(bar.reports) <= 1 and pipeline.parts.unet.attn_processors == before
    torch.testing.assert_close(generate(pipeline, layout).args[0][0], made[0][0], atol=2e-3, rtol=0)


def test_global_random_state_is_left_alone(pipeline, layout):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    generate(pipeline, layout, cycles=1)
    assert torch.get_rng_state().equal(before)


def test_runs_under_the_hosts_inference_mode(pipeline, layout):
    with torch.inference_mode():
        images = generate(pipeline, layout, cycles=1).args[0]
    assert images.shape == (1, 128, 128, 3)


def test_cycle_sheet(made):
    page = run_node("SOW_CycleSheet", trace=made[1], columns=2).args[0]
    assert page.shape[0] == 1 and page.shape[3] == 3
    assert page.shape[2] < page.shape[1] * 1.2, "canvas, two cycles and the result in two columns"
    wide = run_node("SOW_CycleSheet", trace=made[1], columns=4).args[0]
    assert wide.shape[2] > wide.shape[1]


def test_attention_map(made):
    page, masks = run_node("SOW_AttentionMap", trace=made[1], image_index=1).args
    assert masks.shape == (2, 128, 128) and 0 <= masks.min() and masks.max() == pytest.approx(1.0, abs=0.02)
    face = masks[:, 40:72, 48:80].mean()
    assert face > masks[:, :, :16].mean(), "the condition looks at itself most"
    plain = run_node("SOW_AttentionMap", trace=made[1], opacity=0.0).args[0]
    assert not plain.equal(page)


def test_metrics(made):
    out = run_node("SOW_Metrics", trace=made[1])
    report, data, curve = out.args
    values = json.loads(data)
    assert values["model_calls"] == len(made[1].trace.calls) and values["cycles"] == 2
    assert values["kept_psnr_db"] > 15 and 0 < values["indicator_mean"] < 1
    assert f"{values['kept_psnr_db']:g} dB" in report and out.ui.value == report
    assert curve.shape[1:] == (360, 720, 3) and curve.std() > 0.05


def test_diagnostics_without_modulation(pipeline, layout):
    run = generate(pipeline, layout, attention=0.0, cycles=1).args[1]
    assert json.loads(run_node("SOW_Metrics", trace=run).args[1])["indicator_mean"] is None
    with pytest.raises(sow_error(), match="measured no attention"):
        run_node("SOW_AttentionMap", trace=run)


@pytest.mark.parametrize("node_id", ["SOW_CycleSheet", "SOW_AttentionMap", "SOW_Metrics"])
def test_a_picture_that_the_run_did_not_make(made, node_id):
    with pytest.raises(sow_error(), match="expected 0 to 1, the run made 2"):
        run_node(node_id, trace=made[1], image_index=5)


def test_two_conditions(pipeline, layout):
    image, mask = run_node("SOW_LoadExample", example="mia").args
    both = run_node("SOW_Layout", condition=image, mask=mask, width=128, height=128, bboxes="72,8,48,48",
                    layout=layout).args[0]
    images, run = generate(pipeline, both, cycles=1).args
    assert images.shape == (1, 128, 128, 3) and len(run.layout.conditions) == 2


@pytest.mark.parametrize("preset", ["normal", "attribute", "style", "fast", "cow_official"])
def test_every_preset_runs(pipeline, layout, preset):
    assert torch.isfinite(generate(pipeline, layout, preset=preset, cycles=1).args[0]).all()


def test_examples():
    image, mask = run_node("SOW_LoadExample", example="cat").args
    assert image.shape == (1, *mask.shape[1:], 3) and 0.05 < mask.mean() < 0.95
    with pytest.raises(sow_error(), match="No example '../secret'"):
        part("nodes.example_nodes").SOWLoadExample.execute("../secret")


@pytest.mark.parametrize("name", ["folder: nothing", "file: nothing.safetensors", "../../etc"])
def test_a_model_that_is_not_there(name):
    with pytest.raises(sow_error(), match="No model"):
        part("nodes.diffusers_run").load_pipeline(name, "auto", "none", False)


def test_models_are_listed_by_name_only(tmp_path, monkeypatch):
    D = part("nodes.diffusers_run")
    import folder_paths

    (tmp_path / "sub" / "sd15" / "unet").mkdir(parents=True)
    (tmp_path / "sub" / "sd15" / "model_index.json").write_text("{}")
    (tmp_path / "sub" / "sd15" / "unet" / "model_index.json").write_text("{}")
    monkeypatch.setattr(folder_paths, "get_folder_paths", lambda kind: [str(tmp_path)])
    monkeypatch.setattr(folder_paths, "get_filename_list", lambda kind: ["a.safetensors", "b.ckpt"])
    assert D.available() == ["demo", "demo_flow", "folder: sub/sd15", "file: a.safetensors"]
    assert D.resolve("folder: sub/sd15") == str(tmp_path / "sub" / "sd15")


def test_a_missing_package_is_said_by_its_node(monkeypatch):
    import builtins

    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "diffusers":
            raise ModuleNotFoundError("No module named 'diffusers'", name="diffusers")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(sow_error(), match="needs the package diffusers: pip install"):
        part("nodes.diffusers_run").load_pipeline("demo", "auto", "none", False)


def test_the_demo_is_found():
    assert (ROOT / "models" / "demo" / "model_index.json").is_file()


def test_a_flow_model_moves_the_box_to_its_tokens(tmp_path, layout, host_page):
    """Tokens of 16 px: the face of 32,24 lies at 32,32, in the trace's layout too, and the node says so."""
    import tiny_models

    loaded = part("sow_core.backends.loading").load(tiny_models.build("sd3demo", tmp_path / "sd3demo"))
    pipeline = part("nodes.diffusers_run").Pipeline(loaded, False)
    images, run = generate(pipeline, layout, cycles=1).args
    assert images.shape == (1, 128, 128, 3) and torch.isfinite(images).all()
    assert str(run.layout.conditions[0].box) == "32,32,64,64"
    assert "moved 32,24,64,64 to 32,32,64,64" in host_page[-1][0]
    assert [round(call.timestep, 3) for call in run.trace.calls[-5:]] == [0.539, 0.455, 0.365, 0.257, 0.04]
