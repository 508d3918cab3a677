"""The folder loader on a flow transformer, and its agreement with diffusers on the same weights and noise."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.model_management
import torch

from native_cases.common import (
    NORMAL,
    PROMPTS,
    ROOT,
    SHORT,
    WORK,
    Both,
    case,
    core,
    error_line,
    folder,
    layout,
    pack,
    rms,
)

SIZE = {
    "sample_size": 16, "patch_size": 2, "in_channels": 4, "out_channels": 4, "num_layers": 4,
    "attention_head_dim": 64, "num_attention_heads": 3, "joint_attention_dim": 128, "caption_projection_dim": 192,
    "pooled_projection_dim": 128, "pos_embed_max_size": 32, "qk_norm": "rms_norm",
}  # fmt: skip
"""The embedded flow transformer's, of another depth than its width says."""
SHIPPED = ROOT / "models" / "demo_flow"


def random_flow() -> Path:
    """A folder of that shape with random weights, that takes text encoder and VAE of the demo model."""
    from diffusers import SD3Transformer2DModel

    where = WORK / "flow"
    if not where.is_dir():
        torch.manual_seed(0)
        net = SD3Transformer2DModel(**SIZE)
        with torch.no_grad():
            for value in net.parameters():
                spread = 0.7 / value[0].numel() ** 0.5 if value.ndim > 1 else 0.2
                value.copy_(torch.randn_like(value) * spread)
        net.save_pretrained(where / "transformer")
        for part in ("model_index.json", "scheduler"):
            copy = shutil.copytree if (SHIPPED / part).is_dir() else shutil.copy
            copy(SHIPPED / part, where / part)
    return where


class BothFlows(Both):
    """A flow folder in ComfyUI and in diffusers, with the same prompts."""

    def __init__(self, root: Path) -> None:
        self.diffusers = pack("sow_core.backends.opening").open_backend(root)
        self.diffusers.set_prompts(PROMPTS)
        self.model, self.clip, self.vae = folder.load_folder(root)
        self.rows = {k: self.encode(v) for k, v in PROMPTS.items()}


_flows: dict[Path, BothFlows] = {}


def flows(root: Path) -> BothFlows:
    if root not in _flows:
        _flows[root] = BothFlows(root)
    return _flows[root]


@case
def flow_folder() -> dict[str, float]:
    """Net and prompt against diffusers'; the weights that were read stay as they are in the file."""
    b = flows(random_flow())
    text, states = b.encode(PROMPTS["positive"])[0], b.diffusers._embedding("positive")
    comfy.model_management.load_models_gpu([b.model])
    x = torch.randn(2, 4, 12, 18, generator=torch.Generator().manual_seed(1))
    worst = 0.0
    with torch.inference_mode():
        for t in (40.0, 539.0, 894.0):
            time, pair = torch.full((2,), t), (states.states.expand(2, -1, -1), states.pooled.expand(2, -1))
            expected = b.diffusers.parts.transformer(x, *pair, time).sample
            got = b.model.model.diffusion_model(x, time, context=pair[0], y=pair[1])
            worst = max(worst, rms(got, expected) / float(expected.std()))
    state = {f"transformer_blocks.{SIZE['num_layers'] - 1}.norm1_context.linear.weight": torch.randn(8, 4)}
    kept = {key: value.clone() for key, value in state.items()}
    pack("nodes.folder.transformer").renamed(state, SIZE["num_layers"])
    return {
        "net": worst, "std": float(expected.std()), "states": float((text[0] - states.states).abs().max()),
        "pooled": float((text[1]["pooled_output"] - states.pooled).abs().max()),
        "in_place": float(any(not torch.equal(state[key], kept[key]) for key in kept)),
        "shift": float(b.model.get_model_object("model_sampling").shift),
    }  # fmt: skip


@case
def flow_parity() -> dict[str, Any]:
    """Whole runs, with and without modulation, wide, in batches; the shipped weights where they are."""
    Modulation = core["modulation"].Modulation
    b = flows(random_flow())
    strong = Modulation(suppress=4, enhance=4, threshold=0)
    runs = {
        "off": b.parity(replace(SHORT, modulation=None)),
        "normal": b.parity(SHORT),
        "strong": b.parity(replace(SHORT, modulation=strong)),
        "all_rows": b.parity(replace(SHORT, modulation=Modulation(rows="all"))),
        "minmax": b.parity(replace(SHORT, modulation=Modulation(suppress=0.3, enhance=0.3, form="minmax"))),
        "shifted": b.parity(replace(SHORT, level_shift=2.0)),
        "two_conditions": b.parity(SHORT, made=layout(conditions=2, snap=16)),
        "wide": b.parity(SHORT, made=layout(160, 112, 48, snap=16)),
    }
    if list((SHIPPED / "transformer").glob("*.safetensors")):
        shipped = flows(SHIPPED)
        runs |= {"shipped": shipped.parity(NORMAL), "shipped_strong": shipped.parity(replace(SHORT, modulation=strong))}
    return runs


@case
def flow_folder_errors() -> dict[str, str]:
    def broken(name: str, change: Any) -> str:
        where = WORK / f"broken_{name}"
        shutil.copytree(random_flow(), where)
        change(where)
        return error_line(lambda: folder.load_folder(where))

    def edit(path: Path, **values: Any) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return {
        "blocks": broken("blocks", lambda w: edit(w / "transformer/config.json", num_layers=5)),
        "heads": broken("heads", lambda w: edit(w / "transformer/config.json", attention_head_dim=32)),
        "channels": broken("channels", lambda w: edit(w / "transformer/config.json", in_channels=16, out_channels=16)),
        "shares": broken("shares", lambda w: edit(w / "model_index.json", shares="nothing")),
        "scheduler": broken("scheduler", lambda w: edit(w / "scheduler/scheduler_config.json", _class_name="DDIM")),
    }
