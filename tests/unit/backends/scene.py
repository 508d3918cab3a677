"""What the diffusers backend's tests share: a short run, its layout, a control, which processors there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor

from sow_core.backends.diffusers import DiffusersBackend
from sow_core.backends.painting import encode_layout
from sow_core.method.box import Box
from sow_core.method.condition import Condition, Layout, make_layout
from sow_core.method.config import SowConfig
from sow_core.method.engine import run
from sow_core.method.modulation import AttentionControl, Modulation
from sow_core.method.plan import Plan
from sow_core.method.trace import Event

PROMPTS = {"positive": "a cat on a red chair", "negative": "blurry"}
SHORT = SowConfig(steps=5, hi=4, lo=2, cycles=2, preserve=(1,), unguided_tail=1)
STRONG = Modulation(suppress=4.0, enhance=4.0, threshold=0.0)

FOREIGN = {
    "attn_implementation": "owner/repo",
    "_attn_implementation": "owner/repo",
    "_attn_implementation_internal": "owner/repo",
    "_experts_implementation": "owner/repo",
    "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "auto_map": {"AutoModel": "owner/repo--code.Model", "AutoTokenizer": ["owner/repo--code.Tokenizer", None]},
    "custom_pipeline": "owner/repo",
    "_name_or_path": "owner/repo",
    "name_or_path": "owner/repo",
    "use_kernels": True,
    "kernel_config": {"kernel_mapping": {"RMSNorm": "owner/repo:Norm"}},
    "base_model_name_or_path": "owner/repo",
    "vocab_file": "/etc/passwd",
    "tokenizer_class": "owner/repo",
    "dtype": "float8_nonsense",
    "torch_dtype": "float8_nonsense",
    "architectures": ["Evil"],
}
"""Keys by which a config could make a library load other code, or something from elsewhere."""


def layout(width: int = 96, height: int = 64, cell: int = 8, snap: int = 8) -> Layout:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(3, 32, 40, generator=generator)
    box = Box(24, 16, 40, 32)
    condition = Condition(image, torch.ones(32, 40), box, (Box(8, 0, 80, 64),))
    return make_layout([condition], width, height, cell=cell, snap=snap)


def start(plan: Plan, backend: DiffusersBackend, where: Layout, seeds: list[int]) -> Iterator[Event]:
    return run(plan, backend, encode_layout(backend, where, plan), seeds)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def control(modulation: Modulation, images: int = 1) -> AttentionControl:
    made = AttentionControl(layout().regions, modulation, images)
    made.begin(0)
    return made


def kinds(backend: DiffusersBackend) -> Counter[str]:
    return Counter(type(p).__name__ for p in backend.parts.unet.attn_processors.values())
