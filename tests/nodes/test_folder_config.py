"""A diffusers UNet config in ComfyUI's words, and what is refused, without ComfyUI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .pack import ROOT, part, sow_error


def demo() -> dict[str, Any]:
    return json.loads((ROOT / "models" / "demo" / "unet" / "config.json").read_text())


def translate(**changes: Any) -> dict[str, Any]:
    return part("nodes.folder.unet").comfy_config({**demo(), **changes})


def test_the_demo_models_config() -> None:
    config, made = demo(), translate()
    assert made["model_channels"] == config["block_out_channels"][0]
    assert made["context_dim"] == config["cross_attention_dim"]
    assert len(made["transformer_depth"]) == sum(made["num_res_blocks"])
    assert len(made["transformer_depth_output"]) == sum(n + 1 for n in made["num_res_blocks"])


def test_widths_that_are_no_multiples() -> None:
    made = translate(block_out_channels=[128, 256, 320])
    widths = [m * made["model_channels"] for m in made["channel_mult"]]
    assert widths == [made["model_channels"] * m for m in made["channel_mult"]] == [128, 256, 320]
    assert all(isinstance(w, int) for w in widths)


def test_depth_per_level_is_read_from_the_deep_end_upwards() -> None:
    made = translate(
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        transformer_layers_per_block=[1, 2, 10], layers_per_block=2, attention_head_dim=[2, 4, 4],
        block_out_channels=[32, 64, 64],
    )  # fmt: skip
    assert made["transformer_depth"] == [0, 0, 2, 2, 10, 10]
    assert made["transformer_depth_output"] == [0, 0, 0, 2, 2, 2, 10, 10, 10]
    assert made["transformer_depth_middle"] == 10
    assert (made["num_heads"], made["num_head_channels"]) == (-1, 16)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("down_block_types", ["AttnDownBlock2D"] * 3),
        ("mid_block_type", "UNetMidBlock2D"),
        ("in_channels", 9),
        ("class_embed_type", "timestep"),
        ("addition_embed_type", "image"),
        ("attention_head_dim", [1, 2, 3]),
    ],
)
def test_other_families_are_refused(name: str, value: Any) -> None:
    with pytest.raises(sow_error(), match=name):
        translate(**{name: value})


def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(sow_error(), match=r"model_index\.json is missing"):
        part("nodes.folder").load_folder(tmp_path)
    (tmp_path / "model_index.json").write_text("[]")
    with pytest.raises(sow_error(), match="expected a JSON object"):
        part("nodes.folder").load_folder(tmp_path)
