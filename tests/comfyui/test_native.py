"""The native backend against diffusers, in ComfyUI's own process (see inside.py)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def case(inside: dict[str, Any], request: pytest.FixtureRequest) -> Any:
    """The results of the case that the test is named after."""
    result = inside[request.function.__name__.removeprefix("test_")]
    assert not (isinstance(result, dict) and "Traceback" in str(result.get("error"))), result["error"]
    return result


# -- the folder loader


def test_folder_equals_diffusers(case: dict[str, float]) -> None:
    assert case["imported_diffusers"] == 0
    assert max(case[part] for part in ("unet", "encode", "decode", "text")) < 1e-4, case


def test_odd_widths(case: dict[str, float]) -> None:
    assert max(case.values()) < 1e-4, case


def test_folder_errors(case: dict[str, str]) -> None:
    assert "unet/config.json is missing" in case["missing"]
    assert "fetch it again" in case["damaged"]
    assert "No weights in" in case["no_weights"]
    assert "'sample'" in case["scheduler"] and "epsilon or v_prediction" in case["scheduler"]
    assert "model_index.json" in case["json"]
    assert "1 missing" in case["half"]
    assert "SDXL" in case["sdxl"]
    assert all("\n" not in line for line in case.values())


# -- parity


def test_parity_demo(case: dict[str, dict[str, float]]) -> None:
    for name, result in case.items():
        assert result["rms"] < 1e-3, (name, result)
        assert result["indicator_gap"] < 1e-4, (name, result)
    assert case["normal"]["indicators"] == 10 and case["off"]["masses"] == 0


def test_parity_families(case: dict[str, dict[str, float]]) -> None:
    """Eps and v prediction, one and several head counts, SDXL with size conditioning; random weights."""
    assert set(case) == {"sd1", "sd2", "sd2_v", "sdxl"}
    for name, result in case.items():
        assert result["rms"] < 1e-3 * max(result["std"], 1.0), (name, result)
        assert result["indicators"] == 4, (name, result)


def test_sdxl_sizes(case: dict[str, Any]) -> None:
    assert case["told"] == [[999, 999], [128, 128], [64, 64]]


def test_schedule(case: dict[str, Any]) -> None:
    assert case["gap"] < 1e-5
    assert case["t"][1:] == [1.0 + 100 * k for k in range(10)]


# -- what the user has on the MODEL


def test_lora(case: dict[str, float]) -> None:
    assert case["rms"] < 1e-3 and case["effect"] > 0.05 and case["afterwards"] == 0.0, case


def test_other_override(case: dict[str, float]) -> None:
    assert case["identity"] < 1e-4, case
    assert case["effect"] > 0.01 and case["modulation"] > 0.01, case
    assert case["calls"] == 2 * case["layers"] * case["model_calls"]
    assert case["cross"] == case["layers"] * case["model_calls"]


def test_other_patches(case: dict[str, float]) -> None:
    assert case["attn1"] == case["attn2"] == case["layers"] * case["calls"]
    assert case["replaced"] == case["calls"]
    assert case["finite"] == 1 and case["left"] == 2


PATCHES = Path(__file__).resolve().parents[2] / "docs" / "patches.md"
KINDS = dict(re.findall(r"^\| `(\w+)` \| ([\w ]+) \|", PATCHES.read_text(encoding="utf-8"), re.M))


def test_core_patches(case: dict[str, Any]) -> None:
    """docs/patches.md says of every patch what it does, and the node says which have no effect."""
    assert case.pop("afterwards") == 0
    assert set(case) == set(KINDS) and len(case) >= 25
    for name, result in case.items():
        if KINDS[name] == "refused":
            assert "no timesteps" in result["refused"], (name, result)
        elif KINDS[name] == "no effect":
            assert result["change"] == 0 and len(result["said"]) == 1, (name, result)
        else:
            assert KINDS[name] == "works" and result["finite"] and result["change"] > 1e-4, (name, result)
            assert all("Attention is not modulated" in line for line in result["said"]), (name, result)
    for name in ("HyperTile", "TomePatchModel"):
        assert "merges attention tokens" in case[name]["said"][0]


def test_guidance_as_the_hosts(case: dict[str, float]) -> None:
    """RescaleCFG, PAG, SAG and the others: the same as sampling_function makes of the same state."""
    assert len(case) >= 12 and max(case.values()) < 1e-5, case


def test_patches_of_one_prompt(case: dict[str, Any]) -> None:
    assert case["rows"] == [[0], [0, 1]] and case["positive"]


def test_perturbed_attention_is_modulated(case: dict[str, float]) -> None:
    assert case["masses"] == case["calls"] == 0 and case["change"] > 1e-4


def test_early_ranges(case: dict[str, list[str]]) -> None:
    for name, words in (("early", "A positive prompt is limited to the first 30%"), ("shrink", "ends at 35%")):
        (line,) = case[name]
        assert words in line and "begins at 40%" in line
    assert case["late"] == []


def test_area_alone(case: dict[str, float]) -> None:
    """What docs/patches.md says of areas is the host's own doing: its calc_cond_batch answers 0 beyond them."""
    assert case["calls"] >= 10 and case["beyond"] == 0


def test_control_and_areas(case: dict[str, float]) -> None:
    assert case["control"] > 1e-3 and case["regional"] > 0.01 and case["only_areas"] == 1  # rounding is near 1e-5
    assert (
        case["calls"] == 12
    )  # 3 of the canvas inversion, 4 of two cycles, 5 of the refine; none of the 4 on the crop


def test_scheduled_hooks(case: dict[str, Any]) -> None:
    times = [t for t, _ in case["calls"]]
    assert len(times) == 16 and any(
        b > a for a, b in zip(times, times[1:], strict=False)
    )  # up and down again
    for t, patched in case["calls"]:
        assert patched == float(t > case["border"]), case
    assert case["effect"] > 0.01 and case["left"] == 0.0


def test_prompts_of_other_lengths(case: dict[str, float]) -> None:
    assert case["tokens"] == 154 and case["finite"] == 1 and case["masses"] == 4


def test_one_call_per_step(case: dict[str, float]) -> None:
    assert case["calls"] == case["planned"] and case["largest"] == 4 * 2


def test_grounding(case: dict[str, Any]) -> None:
    """SOW Turn's looking: the same maps as the diffusers backend's, and nothing stays on the model."""
    assert max(case["gaps"].values()) < 1e-3 and all(case["boxes"].values()), case
    assert case["afterwards"] == 0 and "does not name the umbrella" in case["error"]


def test_judging(case: dict[str, Any]) -> None:
    """SOW Turn's own match: the same errors as the diffusers backend's; cancelled in time; nothing stays."""
    assert case["gap"] < 1e-3 and case["spread"] > 1.02 and case["shape"] == [3, 2], case
    assert case["cancelled"] and case["afterwards"] == 0


def test_grounding_flow(case: dict[str, Any]) -> None:
    if case.get("missing"):
        pytest.skip("models/demo_flow's weights are left out here")
    assert max(case["gaps"].values()) < 1e-3 and all(case["boxes"].values()), case
    assert case["clean"] and "does not name the umbrella" in case["error"]


def test_grounding_families(case: dict[str, dict[str, Any]]) -> None:
    refused = {name for name, found in case.items() if "error" in found}
    assert refused == {"hidream"} and "cannot be read" in case["hidream"]["error"], case
    for name in set(case) - refused:
        found = case[name]
        assert found["side"] == 128 and found["top"] == 1.0 and found["low"] < 0.7, (name, found)
        assert found["again"] == found["after"] == 0, (name, found)


def test_trained_sizes(case: dict[str, Any]) -> None:
    """What SOW Turn takes a window of a large picture by."""
    assert case.pop("cell") == 16
    assert case.pop("folder") == case.pop("clone") == [128, 128]
    assert case == {"sd1": 512, "sd1_v": 512, "sd2": 512, "sd2_v": 768, "sdxl": 1024, "refiner": 1024,
                    "sd3": [1024, 1024], "flux": [1024, 1024], "flux2": [1024, 1024], "qwen": [1328, 1328]}  # fmt: skip


# -- leaving no trace


def test_model_unchanged(case: dict[str, Any]) -> None:
    assert case["run"] and case["rng"] and case["after_error"] and case["after_cancel"] and case["torch"], (
        case
    )
    assert "NaN" in case["error"] and "\n" not in case["error"]
    assert case["cancelled_after"] == 11  # the call under way ends, none follows
    assert case["same_again"]


def test_batches(case: dict[str, float]) -> None:
    assert case["rms"] < 1e-3 < case["others"]


# -- the parts, and what is refused


def test_parts(case: dict[str, Any]) -> None:
    assert case["sow_guider"] < 1e-6 and case["cfg_guider"] < 1e-6
    assert case["trace"] == 16 and case["euler"] == 1
    assert "got Guider_PerpNeg" in case["errors"]["guider"]
    assert "expected 128x128 px" in case["errors"]["latent"] and "got 128x192" in case["errors"]["latent"]
    assert "'empty'" in case["errors"]["row"] and "SOW Guider" in case["errors"]["row"]
    assert "encode it again" in case["errors"]["canvas"]


def test_refused(case: dict[str, str]) -> None:
    for name, words in {
        "flow": "family that does not run here (BaseModel)",
        "inpainting": "inpainting",
        "video": "video",
        "edm": "no timesteps",
        "no_unet": "no UNet",
        "prompt": "values per token, got 768",
        "empty_prompt": "positive CONDITIONING is empty",
        "vae": "8 px per latent cell",
        "vae_channels": "16 latent channels",
        "no_seed": "No seed",
        "row": "need the prompt 'empty'",
        "pooled": "pooled output",
    }.items():
        assert words in case[name] and "\n" not in case[name], (name, case[name])


# -- flow transformers, small and random

FLOW = {"sd3", "flux", "schnell", "flux2", "qwen", "lumina2", "z_image", "chroma", "hidream"}


def test_flow_euler(case: dict[str, float]) -> None:
    """Our step is Euler's on the host's own guided prediction: neither sign nor told time is wrong."""
    assert set(case) == FLOW and max(case.values()) < 1e-5, case


def test_flow_runs(case: dict[str, Any]) -> None:
    assert set(case) == FLOW
    for name, result in case.items():
        channels, cells = (128, 10) if name == "flux2" else (16, 20)
        frames = [1] if name == "qwen" else []
        assert result["shape"] == [2, channels, *frames, cells, cells], (name, result)
        assert result["images"] == [2, 160, 160, 3] and result["previews"] == 4
        assert result["finite"] and result["batch"] < 1e-3 < result["seeds"], (name, result)
        assert result["kept"] < 1e-5, (name, result)  # written back down to level 0


def test_flow_parts(case: dict[str, Any]) -> None:
    assert max(case[name] for name in ("flux", "qwen", "flux2")) < 1e-5, case
    assert "The VAE makes 16 latent channels, the MODEL takes 128" in case["size"]
    assert case["grids"] == [[8, 16], [8, 16], [16, 16]]


def test_flow_shift(case: dict[str, Any]) -> None:
    assert case["host"] == 0 and case["ours"] > 1e-3, case
    assert case["sigmas"][5] == pytest.approx(0.5388, abs=1e-4) and case["sigmas"][-1] == 0
    assert case["sigmas"] == sorted(case["sigmas"], reverse=True)


def test_flow_guidance(case: dict[str, Any]) -> None:
    for phase, level, told in case["told"]:
        assert told == (1.0 if phase == "invert" or (phase == "refine" and level <= 2) else 2.5), case
    assert {phase for phase, _, _ in case["told"]} == {"invert", "cycle", "refine"} and set(case["rows"]) == {1}


def test_flow_unchanged(case: dict[str, Any]) -> None:
    """After a run and a cancel at the fifth call; the next run is the same again."""
    assert set(case) == FLOW and all(result == [True, 5, True, True] for result in case.values()), case


def test_flow_patched_guidance(case: dict[str, dict[str, float]]) -> None:
    assert all(found["rms"] < 1e-5 and found["effect"] > 1e-4 for found in case.values()) and len(case) == 2, case


def test_flow_joint(case: dict[str, dict[str, Any]]) -> None:
    """Every family as with the explicit matrix in each layer; bit for bit the model's own at strength 0."""
    assert set(case) == FLOW
    for name, found in case.items():
        assert found["gap"] < 1e-5 and found["effect"] > 1e-4 and found["negative"] == 0, (name, found)
        assert found["idle"] and 0 < found["indicator"] < 1, (name, found)
        assert found["chained"] < 1e-5 and found["calls"] >= 2, (name, found)


def test_flow_lengths(case: dict[str, dict[str, Any]]) -> None:
    for name, found in case.items():
        assert found["calls"] == [[0], [1]], (name, found)
        assert found["gap"] < 1e-5 and found["effect"] > 1e-4 and found["negative"] == 0, (name, found)


def test_flow_modulated_runs(case: dict[str, Any]) -> None:
    assert set(case["runs"]) == FLOW and case["silent"] == [] and case["finite"]
    for name, found in case["runs"].items():
        assert found["indicators"] == 4 and found["map"] == [2, 10, 10] and found["unchanged"], (name, found)
        assert found["batch"] < 1e-3 and found["effect"] > 1e-4, (name, found)
    (line,), (cached,), (dear,) = case["said"], case["cached"], case["dear"]
    assert "reference pictures" in line and "replaces blocks" in cached
    assert dear == "Flux.1 dev is made for cfg 1: at 3 a call takes twice as long and the picture may be overdone."


def test_flow_lora(case: dict[str, float]) -> None:
    assert case["rms"] < 1e-4 and case["effect"] > 0.01 and case["afterwards"] == 0, case


def test_flow_ranges(case: dict[str, float]) -> None:
    assert set(case) == FLOW and max(case.values()) < 1e-4, case


def test_flow_refused(case: dict[str, str]) -> None:
    words = {
        "image_to_image": "turns one picture into another",
        "cosmos": "Cosmos' own kind of flow",
        "noise_scale": "noised 8 times as strongly",
        "pixels": "works on pixels",
        "video": "makes video",
        "unknown": "does not run here (AuraFlow)",
        "fill": "384 values per token instead of 64",
        "edit": "takes a second picture",
        "layers": "in layers",
        "separate": "this MODEL is Flux.1 dev: remove SOW Separate",
        "vae": "of different families",
        "cells": "16 px per latent cell; this one has 8",
        "canvas": "Bad width 168: expected a multiple of 16",
        "prompt": "expected 40 values per token, got 44",
        "pooled": "no pooled output",
        "llama": "no Llama states",
    }
    assert set(case) == set(words)
    for name, line in case.items():
        assert words[name] in line and "\n" not in line, (name, line)


def test_flow_folder(case: dict[str, float]) -> None:
    assert case["net"] < 1e-5 and case["std"] > 0.1 and case["states"] < 1e-4 and case["pooled"] < 1e-4, case
    assert case["in_place"] == 0 and case["shift"] == 1.0


def test_flow_parity(case: dict[str, dict[str, float]]) -> None:
    """The same weights and noise in both worlds; fourteen modulated calls and more."""
    assert len(case) >= 8
    for name, found in case.items():
        assert found["rms"] < 1e-4 and found["std"] > 0.1, (name, found)
        assert found["indicator_gap"] < 1e-4 and (found["indicators"] > 0) == (name != "off"), (name, found)


def test_flow_families(case: dict[str, dict[str, float]]) -> None:
    """What both worlds have: whole modulated runs on the same weights, converted as the host converts them."""
    assert set(case) == {"flux", "schnell", "chroma", "lumina2", "z_image", "qwen", "klein"}
    for name, found in case.items():
        assert found["rms"] < 1e-4 and found["std"] > 0.1, (name, found)
        assert found["indicators"] == 4 and found["indicator_gap"] < 1e-4, (name, found)


def test_flow_folder_errors(case: dict[str, str]) -> None:
    words = {"blocks": "do not fit their config.json", "heads": "3 heads of 32", "channels": "16 latent channels",
             "shares": "text encoder of nothing", "scheduler": "has the scheduler DDIM"}  # fmt: skip
    assert set(case) == set(words)
    for name, line in case.items():
        assert words[name] in line and "\n" not in line, (name, line)


# -- separation and patches


def test_separate_parity(case: dict[str, Any]) -> None:
    assert case["steps"] == 5 and case["rms"] < 1e-3 < case["effect"], case
    assert case["loss_gap"] < 1e-4 and case["afterwards"] == 0 and case["same_weights"], case


def test_separate_ordinary_sampler(case: dict[str, Any]) -> None:
    assert case["unneeded"] == 0 and case["afterwards"] == 0 and case["effect"] > 1e-3, case
    assert case["same_weights"] and not case["options"] and case["calls"] == 2, case


def test_separate_weights_of_inference_mode(case: dict[str, Any]) -> None:
    assert case["inference"] and case["rms"] < 1e-4 and case["same_weights"], case


def test_separate_with_lora_and_another_override(case: dict[str, float]) -> None:
    assert case["lora"] > 1e-3 and case["chained"] < 1e-5, case
    assert 0 < case["differentiated"] < case["calls"], case


def test_separate_errors(case: dict[str, str]) -> None:
    assert "cannot be differentiated" in case["stuck"] and "remove it, or load" in case["stuck"]
    assert "'horse' does not stand in the prompt" in case["word"]
    assert "one plain positive prompt" in case["mask"]
    assert "choose another depth" in case["depth"]
    assert "put SOW Separate between" in case["nothing"]


def test_separate_tokens(case: dict[str, Any]) -> None:
    assert case["word"] == case["weighted"] == case["diffusers"] and len(case["word"][0]) == 1
    assert len(case["phrase"][0]) == 2 and case["far"][0][0] > 77


def test_patch_through_load_lora(case: dict[str, float]) -> None:
    assert case["effect 0.0"] == 0 and case["effect 0.5"] > 1e-3 and case["effect 1.0"] > 1e-3, case
    assert max(case[f"rms {s}"] for s in (0.0, 0.5, 1.0)) < 1e-3, case
