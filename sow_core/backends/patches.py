"""Weight differences of cross-attention keys (attn2.to_k) in a file that ComfyUI's Load LoRA takes as it is.

A key of the file is the UNet's own name in the original (latent diffusion) layout without ".weight", plus ".diff".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SowError
from .components import readable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_DIFFUSERS = re.compile(
    r"(down_blocks|up_blocks|mid_block)\.(?:(\d+)\.)?attentions\.(\d+)\.(transformer_blocks\.\d+\.attn2\.to_k)\.weight"
)


def original_name(name: str, layers_per_block: int) -> str | None:
    """A diffusers weight's name in the original layout, without ".weight"; None for any but attn2.to_k."""
    found = _DIFFUSERS.fullmatch(name)
    if not found:
        return None
    side, block, index, rest = found.groups()
    if side == "mid_block":
        return f"diffusion_model.middle_block.1.{rest}"
    if side == "down_blocks":
        return f"diffusion_model.input_blocks.{1 + int(block) * (layers_per_block + 1) + int(index)}.1.{rest}"
    return f"diffusion_model.output_blocks.{int(block) * (layers_per_block + 1) + int(index)}.1.{rest}"


def key_weights(unet: Any) -> dict[str, torch.nn.Parameter]:
    """The UNet's attn2.to_k weights by their names in the original layout."""
    layers = unet.config.layers_per_block
    if not isinstance(layers, int):
        raise SowError("This UNet has blocks of different depths: a patch of its keys has no names in other programs.")
    named = ((original_name(name, layers), weight) for name, weight in unet.named_parameters())
    return {name: weight for name, weight in named if name is not None}


def write_patch(path: Path, differences: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Path:
    """Write differences, by names of `key_weights`, as one file. Raises SowError."""
    from safetensors.torch import save

    from ..files import atomic_write

    tensors = {f"{name}.diff": value.detach().cpu().contiguous() for name, value in differences.items()}
    return atomic_write(path, save(tensors, dict(metadata)))


def read_patch(path: str | Path, unet: Any) -> dict[str, Tensor]:
    """A file's differences, by names of `key_weights`. Raises SowError unless they are this UNet's, all of them."""
    import torch
    from safetensors.torch import load_file

    file = Path(path)
    if file.suffix.lower() != ".safetensors" or not file.is_file():
        raise SowError(f"No such patch: {path}; expected a .safetensors file of attn2.to_k differences.")
    with readable(str(path)):
        found = load_file(file)
    weights = key_weights(unet)
    wanted = {f"{name}.diff" for name in weights}
    if set(found) != wanted:
        odd = sorted(set(found) ^ wanted)
        raise SowError(f"{path} is no patch of this model: expected the {len(wanted)} keys of its cross-attention, "
                       f"got {len(found)} ({odd[0]} differs).")  # fmt: skip
    for name, weight in weights.items():
        if found[f"{name}.diff"].shape != weight.shape:
            got = list(found[f"{name}.diff"].shape)
            raise SowError(f"{path} is for another model: {name} is {got}, expected {list(weight.shape)}.")
        if not torch.isfinite(found[f"{name}.diff"]).all():
            raise SowError(f"{path} is damaged: {name} has NaN or infinite values.")
    return {name: found[f"{name}.diff"] for name in weights}


@contextmanager
def patched(unet: Any, differences: Mapping[str, Tensor], strength: float) -> Iterator[None]:
    """The UNet with strength * differences on its keys; bit for bit as before after it. 0 touches nothing."""
    import torch

    weights = key_weights(unet) if strength else {}
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    try:
        with torch.no_grad():
            for name, weight in weights.items():
                weight.add_(differences[name].to(weight), alpha=strength)
        yield
    finally:
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(before[name])


def parse_patch(text: str) -> tuple[str, float]:
    """(file, strength) from "FILE.safetensors[:STRENGTH]"; 1 without one. Raises SowError."""
    name, colon, number = text.rpartition(":")
    if not colon or number.lower().endswith(".safetensors"):
        return text, 1.0
    try:
        strength = float(number)
    except ValueError:
        strength = float("nan")
    if not -4 <= strength <= 4:
        raise SowError(f"Bad --patch {text[:80]!r}: expected FILE.safetensors[:STRENGTH], strength from -4 to 4.")
    return name, strength
