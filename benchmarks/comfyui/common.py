"""What the measurements inside ComfyUI share: starting it, a random SD 1.5, and writing results."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: everything here is measured in one thread
HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests" / "comfyui"))
sys.path.append(str(ROOT))  # last: ComfyUI's module `nodes` must stay in front of the pack's folder

from bootstrap import start  # noqa: E402

__all__ = ["ROOT", "keep", "random_sd15", "random_vae", "scene", "start"]

SD15 = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 320, "num_res_blocks": [2, 2, 2, 2],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0], "transformer_depth_output": [1] * 9 + [0] * 3,
    "transformer_depth_middle": 1, "channel_mult": [1, 2, 4, 4], "context_dim": 768, "adm_in_channels": None,
    "use_linear_in_transformer": False, "use_spatial_transformer": True, "use_temporal_attention": False,
    "use_checkpoint": False, "legacy": False,
}  # fmt: skip


def keep(name: str, values: dict[str, Any]) -> None:
    """Print a measurement and write it to results/."""
    import torch

    values = {
        "machine": {"cpu": _cpu(), "threads": torch.get_num_threads(), "torch": torch.__version__},
        **values,
    }
    text = json.dumps(values, indent=2)
    print(text)
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def random_sd15() -> Any:
    """A MODEL of SD 1.5's shape (860 million parameters) with random weights, in float32."""
    import comfy.model_base
    import comfy.model_management
    import comfy.model_patcher
    import comfy.supported_models
    import torch

    config = comfy.supported_models.SD15(SD15)
    config.set_inference_dtype(torch.float32, None)
    base = comfy.model_base.BaseModel(config)
    _randomise(base.diffusion_model)
    return comfy.model_patcher.ModelPatcher(base, torch.device("cpu"), torch.device("cpu"))


def random_vae() -> Any:
    """A VAE of SD 1.5's shape (84 million parameters) with random weights, in float32."""
    import comfy.ldm.models.autoencoder
    import comfy.sd
    import torch

    shape = {"double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128,
             "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0}  # fmt: skip
    module = comfy.ldm.models.autoencoder.AutoencoderKL(ddconfig=shape, embed_dim=4)
    _randomise(module)
    return comfy.sd.VAE(sd=module.state_dict(), dtype=torch.float32)


def _randomise(module: Any) -> None:
    """ComfyUI leaves weights uninitialised until they are loaded; small ones keep every value finite."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0.0, 0.5 / weight[0].numel() ** 0.5, generator=generator)
            else:
                weight.fill_(1.0 if name.endswith("weight") else 0.0)


def scene(pack: Any, size: int, side: int) -> Any:
    """A layout of size x size px with a condition of side x side px and a related region."""
    import torch

    condition, box = pack("sow_core.method.condition"), pack("sow_core.method.box")
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(3, side, side, generator=generator)
    at = (size - side) // 2 // 8 * 8
    related = box.Box(max(at - 16, 0), max(at - 16, 0), side + 32, side + 32)
    return condition.make_layout(
        [condition.Condition(image, torch.ones(side, side), box.Box(at, at, side, side), (related,))],
        size,
        size,
    )
