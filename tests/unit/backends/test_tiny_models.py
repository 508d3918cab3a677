"""The random stand-ins that other tests lean on: loadable by diffusers, repeatable, no side effects."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tiny_models import FAMILIES, FLOW_FAMILIES, build, missing_class


def digest(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*.safetensors"))}


@pytest.mark.parametrize("family", FAMILIES)
def test_loads_and_samples_in_diffusers(family, tmp_path):
    import torch
    from diffusers import DiffusionPipeline

    pipe = DiffusionPipeline.from_pretrained(build(family, tmp_path), local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    assert pipe.scheduler.config.prediction_type == ("v_prediction" if family == "sd2_v" else "epsilon")
    assert sum(p.numel() for p in pipe.unet.parameters()) < 4e6
    image = pipe("a cat", height=64, width=96, num_inference_steps=2, output_type="pt",
                 generator=torch.Generator().manual_seed(0)).images
    assert image.shape == (1, 3, 64, 96) and bool(image.isfinite().all()) and image.std() > 0.01


def test_same_seed_same_weights_and_the_callers_randomness_is_untouched(tmp_path):
    import torch

    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = digest(build("sd2", tmp_path / "a"))
    assert torch.equal(torch.get_rng_state(), before)
    assert digest(build("sd2", tmp_path / "b")) == first
    assert digest(build("sd2", tmp_path / "c", seed=1)) != first


def test_unknown_family_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Unknown family 'sd9'"):
        build("sd9", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_no_family_is_left_out_where_diffusers_is_new_enough():
    """A wrong name in the list would skip its tests everywhere, in silence."""
    import diffusers

    since = {"lumina2": 33, "chroma": 34, "qwen": 35, "z_image": 36, "klein": 37}
    major, minor = (int(part) for part in diffusers.__version__.split(".")[:2])
    expected = {family for family, first in since.items() if (major, minor) < (0, first)}
    assert {family for family in FLOW_FAMILIES if missing_class(family)} == expected
