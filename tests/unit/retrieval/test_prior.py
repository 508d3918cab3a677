"""The prior: the published layout, key by key; the guidance's identities; seeds; passes; pickles."""

from __future__ import annotations

import io
import os
import pickle
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from sow_core.errors import SowError
from sow_core.retrieval import convert
from sow_core.retrieval.checkpoint import build, load_prior
from sow_core.retrieval.guidance import Guidance
from sow_core.retrieval.prior import PriorConfig, PriorNet, paces
from sow_core.retrieval.sampler import Conditions, Rows, alphas, guided, sample, times, with_source

SMALL = PriorConfig(width=32, depth=2, heads=3, head=8, cross_heads=2, text=12, mask=4, mult=2)


def published(depth=12, width=768, text=1280, heads=16, head=64, cross=8, mask=64, mult=4):
    """Names and shapes of the published checkpoint, written out by hand: no code of ours is asked."""
    inner, crossed, hidden, wide = heads * head, cross * head, 2 * width, mult * width
    shapes = {"to_text_embeds.0.weight": (width, text), "to_text_embeds.0.bias": (width,),
              "transformer.rel_pos_bias.relative_attention_bias.weight": (32, heads),
              "transformer.norm.g": (width,), "transformer.project_out.weight": (width, width)}  # fmt: skip
    for name, inputs in (("to_time_embeds.0.1", width), ("to_mask_embeds.1", mask * mask)):
        for place, (rows, columns) in {"0.0": (hidden, inputs), "1.0": (hidden, hidden), "2": (width, hidden)}.items():
            shapes |= {f"{name}.net.{place}.weight": (rows, columns), f"{name}.net.{place}.bias": (rows,)}
    for n in range(depth):
        at = f"transformer.layers.{n}"
        for part, queries, keys in ((0, inner, 2 * head), (1, crossed, 2 * crossed)):
            shapes |= {
                f"{at}.{part}.null_kv": (2, head), f"{at}.{part}.norm.g": (width,),
                f"{at}.{part}.to_q.weight": (queries, width), f"{at}.{part}.to_kv.weight": (keys, width),
                f"{at}.{part}.to_out.0.weight": (width, queries), f"{at}.{part}.to_out.1.g": (width,),
            }  # fmt: skip
        shapes |= {f"{at}.2.0.g": (width,), f"{at}.2.1.weight": (2 * wide, width), f"{at}.2.5.weight": (width, wide)}
        shapes[f"{at}.0.rotary_emb.freqs"] = (min(32, head) // 2,)
    made = {}
    for name, shape in shapes.items():
        made["model.net." + name] = paces(2 * shape[0]) if name.endswith("freqs") else torch.randn(shape) * 0.05
    made |= {f"model.noise_scheduler.{n}": torch.zeros(1000) for n in ("betas", "alphas_cumprod", "p2_loss_weight")}
    return made


@pytest.fixture(scope="module")
def small_state():
    return published(depth=2, width=32, text=12, heads=3, head=8, cross=2, mask=4, mult=2)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    return PriorNet(SMALL).eval()


def test_the_published_layout_loads_with_every_key_used():
    """At its full width; one of its twelve layers stands for the others."""
    state = published(depth=1)
    network = build(state, "published")
    assert network.config == PriorConfig(depth=1)
    ours = network.state_dict()
    for key, value in state.items():
        name = key.removeprefix("model.net.")
        if "noise_scheduler" not in key and "rotary" not in key:
            assert torch.equal(ours.pop(name), value)
    assert not ours


def test_sizes_are_told_by_the_shapes(small_state):
    assert build(small_state, "x").config == SMALL
    table = {k: v for k, v in small_state.items() if "to_time_embeds" not in k}
    table["model.net.to_time_embeds.0.weight"] = torch.randn(500, 32)
    assert build(table, "x").config.timesteps == 500


@pytest.mark.parametrize("key", ["transformer.layers.1.1.to_q.weight", "transformer.norm.g", "to_text_embeds.0.weight",
                                 "transformer.layers.0.0.null_kv", "to_mask_embeds.1.net.1.0.bias"])  # fmt: skip
def test_a_missing_key_is_named(small_state, key):
    state = {k: v for k, v in small_state.items() if k != "model.net." + key}
    with pytest.raises(SowError, match=f"{key} is missing"):
        build(state, "x")


def test_an_extra_key_and_a_wrong_shape_are_named(small_state):
    with pytest.raises(SowError, match="surplus is unknown"):
        build(small_state | {"model.net.surplus": torch.zeros(1)}, "x")
    wrong = small_state | {"model.net.transformer.layers.1.2.5.weight": torch.zeros(32, 3)}
    with pytest.raises(SowError, match=r"layers.1.2.5.weight is \[32, 3\], expected \[32, 64\]"):
        build(wrong, "x")
    bad = small_state | {"model.net.transformer.norm.g": torch.full((32,), torch.nan)}
    with pytest.raises(SowError, match="transformer.norm.g has NaN"):
        build(bad, "x")
    turned = small_state | {"model.net.transformer.layers.0.0.rotary_emb.freqs": torch.ones(4)}
    with pytest.raises(SowError, match="other positions"):
        build(turned, "x")


@pytest.mark.parametrize("sizes", [{"width": 0}, {"depth": -1}, {"width": 7}, {"heads": True}, {"mask": 10**9}])
def test_impossible_sizes(sizes):
    with pytest.raises(SowError, match="Bad prior"):
        PriorConfig(**sizes)


def conditions(seed=0, image=True, mask=True):
    g = torch.Generator().manual_seed(seed)
    return Conditions(
        torch.randn(6, 12, generator=g), torch.randn(6, 12, generator=g),
        torch.randn(32, generator=g) if image else None,
        (torch.rand(4, 4, generator=g) > 0.5).float() if mask else None,
    )  # fmt: skip


@torch.no_grad()
def test_the_guidance_identities(network):
    c = conditions()
    rows = Rows.of(network, [c, conditions(1)], 2)
    x = torch.randn(4, 32)
    now = torch.full((4,), 300)
    zero = torch.zeros_like(rows.image)
    full = network(x, now, rows.text, rows.image, rows.mask)
    no_text = network(x, now, rows.negative, rows.image, rows.mask)
    null = network(x, now, rows.negative, zero, rows.mask)

    def same(a, b):
        return torch.allclose(a, b, atol=1e-5)

    assert same(guided(network, x, 300, rows, 1.0, 1.0), full)
    assert same(guided(network, x, 300, rows, 1.0, 0.0), no_text)
    assert same(guided(network, x, 300, rows, 0.0, 0.0), null)
    made = guided(network, x, 300, rows, 1.5, 7.5)
    assert same(made, null + 7.5 * (full - no_text) + 1.5 * (no_text - null))
    assert not same(full, no_text) and not same(no_text, null)  # else the lines above show nothing


def test_every_condition_counts(network):
    c = conditions()
    base = sample(network, [c], Guidance(), [0])
    others = (
        Conditions(c.text + 1, c.negative, c.image, c.mask), Conditions(c.text, c.negative + 1, c.image, c.mask),
        Conditions(c.text, c.negative, None, c.mask), Conditions(c.text, c.negative, c.image, 1 - c.mask),
    )  # fmt: skip
    for other in others:
        assert not torch.allclose(sample(network, [other], Guidance(), [0]), base, atol=1e-4)


def test_without_a_mask_it_is_all_zero(network):
    c = conditions(mask=False)
    same = Conditions(c.text, c.negative, c.image, torch.zeros(4, 4))
    assert torch.equal(sample(network, [c], Guidance(), [5]), sample(network, [same], Guidance(), [5]))


def test_seeds_repeat_bit_for_bit_and_leave_the_global_generator_alone(network):
    torch.manual_seed(11)
    before = torch.get_rng_state()
    a = sample(network, [conditions()], Guidance(steps=4), [7])
    torch.randn(3)
    b = sample(network, [conditions()], Guidance(steps=4), [7])
    assert torch.equal(a, b)
    assert not torch.equal(a, sample(network, [conditions()], Guidance(steps=4), [8]))
    torch.manual_seed(11)
    sample(network, [conditions()], Guidance(steps=4), [7])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_is_its_queries_alone(network):
    asked, seeds = [conditions(0), conditions(1, mask=False), conditions(2, image=False)], [4, 9, 1]
    together = sample(network, asked, Guidance(steps=3), seeds)
    for row, c, seed in zip(together, asked, seeds, strict=True):
        assert torch.allclose(row, sample(network, [c], Guidance(steps=3), [seed])[0], atol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 25])
def test_as_many_passes_as_steps(network, steps):
    calls = []
    handle = network.register_forward_hook(lambda module, inputs, output: calls.append(len(output)))
    try:
        sample(network, [conditions()], Guidance(steps=steps, samples=2), [0])
    finally:
        handle.remove()
    assert calls == [3 * 2] * steps


def test_the_times_are_the_published_ones():
    assert times(1000, 2) == [666, 332, -1]  # linspace(-1, 1000, 4) without its end, cut to whole numbers
    assert times(1000, 10)[-1] == -1 and len(times(1000, 10)) == 11
    total, before = alphas(1000)
    assert before[0] == 1 and torch.equal(before[1:], total[:-1]) and bool((total.diff() < 0).all())
    # Nichol and Dhariwal's cosine at one half: cos^2(pi / 2 (.5 + .008) / 1.008)
    assert abs(float(total[499]) - 0.4938) < 1e-3


def test_a_lone_step_is_the_guess_itself(network):
    c = conditions()
    noise = torch.randn(2, 32, generator=torch.Generator().manual_seed(3))
    rows = Rows.of(network, [c], 2)
    with torch.no_grad():
        guess = guided(network, noise, times(1000, 1)[0], rows, 1.5, 7.5).mean(0)
    assert torch.allclose(sample(network, [c], Guidance(steps=1), [3])[0], guess, atol=1e-6)


def test_the_source_is_laid_over():
    c, z = conditions(), torch.zeros(32)
    assert torch.allclose(with_source(z, c, 0.25), 0.25 * c.image)
    assert torch.allclose(with_source(z, c, None), 0.05 * c.image)
    assert torch.allclose(with_source(z, conditions(mask=False), None), 0.1 * c.image)
    assert torch.equal(with_source(z, conditions(image=False), 0.5), z)


@pytest.mark.parametrize("values", [{"image": -1.0}, {"text": float("nan")}, {"steps": 0}, {"steps": 999},
                                    {"samples": 0}, {"eta": 1.5}, {"source": -0.1},
                                    {"source": float("inf")}])  # fmt: skip
def test_bad_guidance(values):
    with pytest.raises(SowError, match="expected"):
        Guidance(**values)


def test_a_file_is_read_with_its_guidance(tmp_path, small_state):
    path = tmp_path / "prior.safetensors"
    save_file({k: v for k, v in small_state.items() if "noise" not in k}, path)
    assert load_prior(path).guidance == Guidance()
    meta = {"sow_prior": '{"guidance": {"image": 1.0, "text": 2.0, "steps": 5, "samples": 2}, "encoder": "demo:1"}'}
    save_file(small_state, path, meta)
    prior = load_prior(path)
    assert (prior.guidance.text, prior.encoder) == (2.0, "demo:1")
    wrong = meta["sow_prior"].replace("1.0", '"x"')
    for bad in ("{", '{"guidance": {}}', "[]", wrong, meta["sow_prior"].replace("5", "0")):
        save_file(small_state, path, {"sow_prior": bad})
        with pytest.raises(SowError, match="settings cannot be read"):
            load_prior(path)


def test_bad_files(tmp_path):
    with pytest.raises(SowError, match="There is no prior"):
        load_prior(tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(SowError, match="Cannot load"):
        load_prior(tmp_path / "cut.safetensors")


def test_a_pickle_is_refused_and_says_how_to_convert(tmp_path, small_state):
    path = tmp_path / "pytorch_model.bin"
    torch.save(small_state, path)
    with pytest.raises(SowError, match=r"is a pickle.*python -m sow_core.retrieval.convert"):
        load_prior(path)


@pytest.mark.parametrize("training", [False, True])
def test_the_converter_keeps_every_number(tmp_path, small_state, training):
    """Of the published file, and of a training checkpoint, which holds it as ema_model without the prefix."""
    source, target = tmp_path / "pytorch_model.bin", tmp_path / "prior.safetensors"
    bare = {"ema_model": {k.removeprefix("model."): v for k, v in small_state.items()}}
    torch.save(bare if training else small_state, source)
    assert convert.main([str(source), str(target)]) == 0
    made = load_file(target)
    for key, value in small_state.items():
        if "noise_scheduler" not in key and "rotary" not in key:
            assert torch.equal(made.pop(key), value)
    assert not made
    assert load_prior(target).network.config == SMALL


class Bomb:
    def __reduce__(self):
        return (os.system, ("echo boom > bomb.txt",))


def test_a_pickle_that_would_run_code_does_not(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.bin").write_bytes(pickle.dumps({"model.net.x": Bomb()}, 2))
    buffer = io.BytesIO()
    torch.save({"a": Bomb()}, buffer)
    (tmp_path / "zip.bin").write_bytes(buffer.getvalue())
    for name in ("bad.bin", "zip.bin", "none.bin"):
        assert convert.main([name, "out.safetensors"]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
    assert not (tmp_path / "bomb.txt").exists() and not (tmp_path / "out.safetensors").exists()


def test_what_is_no_prior_is_not_converted(tmp_path, small_state, capsys):
    lacking = {k: v for k, v in small_state.items() if "norm.g" not in k}
    for made in ([1, 2], {"a": 1}, {"weight": torch.zeros(2)}, lacking):
        torch.save(made, tmp_path / "other.bin")
        assert convert.main([str(tmp_path / "other.bin"), str(tmp_path / "out.safetensors")]) == 2
    assert not (tmp_path / "out.safetensors").exists()
    assert "norm.g is missing" in capsys.readouterr().err


def test_importing_the_room_costs_nothing():
    import subprocess

    code = "import sys, sow_core.commands.find, sow_core.commands.index; print({'torch', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
