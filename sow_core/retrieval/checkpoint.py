"""Reading a prior: the published layout as safetensors, its sizes told by its tensors' shapes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..backends.components import readable
from ..errors import SowError
from ..outside.reading import open_file, parse_json
from .guidance import Guidance
from .prior import PriorConfig, PriorNet, paces

PREFIX = "model.net."
MADE_ANEW = re.compile(r"^(model\.)?noise_scheduler\.|(^|\.)_dummy$")
"""Tensors of the published file that follow from the schedule: not read."""
ROTARY = re.compile(r"\.rotary_emb\.freqs$")
"""The rotary positions' rates, kept as a tensor by the published code: they must be ours."""
PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
RECOMMENDED = "sow_prior"
"""Metadata entry of our own priors: guidance as JSON, and the encoder's identity."""


@dataclass(frozen=True)
class Prior:
    """A prior that is ready to sample from. encoder: the identity that it was trained on ("" if unknown)."""

    network: PriorNet
    guidance: Guidance = Guidance()
    encoder: str = ""


def load_prior(path: Path, device: str = "cpu") -> Prior:
    """Raises SowError for a missing or damaged file, a pickle, and for missing, extra or misshapen tensors (named)."""
    with open_file(path, "the prior") as file:
        head = file.read(4)
    if head.startswith(PICKLES):
        raise SowError(f"{path} is a pickle, which can run code when it is read. Convert it safely: "
                       f"python -m sow_core.retrieval.convert {path.name} prior.safetensors")
    from safetensors import safe_open

    with readable(str(path)), safe_open(path, "pt") as opened:
        meta = opened.metadata() or {}
        state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    network = build(state, str(path)).to(device).eval().requires_grad_(False)
    guidance, encoder = _recommended(meta.get(RECOMMENDED), path)
    return Prior(network, guidance, encoder)


def build(state: dict[str, Tensor], name: str) -> PriorNet:
    """The network of a state dict in the published layout. Raises SowError that names what does not fit."""
    own = {k.removeprefix(PREFIX): v for k, v in state.items() if not MADE_ANEW.search(k)}
    for key in [k for k in own if ROTARY.search(k)]:
        rates = own.pop(key).float()
        if rates.ndim != 1 or not torch.allclose(rates, paces(2 * len(rates)), atol=1e-3):
            raise SowError(f"{name} does not fit the prior: {key} are other positions than the published ones.")
    config, table = sizes(own, name)
    network = PriorNet(config, table)
    expected = network.state_dict()
    for what, keys in (("is missing", expected.keys() - own.keys()), ("is unknown", own.keys() - expected.keys())):
        if keys:
            first, more = sorted(keys)[0], len(keys) - 1
            others = f" (and {more} more)" if more else ""
            raise SowError(f"{name} does not fit the prior: the tensor {first[:100]} {what}{others}.")
    for key, value in own.items():
        if value.shape != expected[key].shape:
            raise SowError(f"{name} does not fit the prior: {key} is {list(value.shape)}, "
                           f"expected {list(expected[key].shape)}.")
        if not bool(torch.isfinite(value.float()).all()):
            raise SowError(f"{name} is damaged: {key} has NaN or infinite values.")
    network.load_state_dict({k: v.float() for k, v in own.items()})
    return network


def sizes(state: dict[str, Tensor], name: str) -> tuple[PriorConfig, bool]:
    """The sizes that the tensors tell, and whether the times lie in a table. Raises SowError."""

    def shape(key: str, dims: int = 2) -> list[int]:
        if key not in state:
            raise SowError(f"{name} does not fit the prior: the tensor {key} is missing.")
        found = list(state[key].shape)
        if len(found) != dims:
            raise SowError(f"{name} does not fit the prior: {key} has {len(found)} dimensions, expected {dims}.")
        return found

    width, text = shape("to_text_embeds.0.weight")
    _, cells = shape("to_mask_embeds.1.net.0.0.weight")
    _, heads = shape("transformer.rel_pos_bias.relative_attention_bias.weight")
    _, head = shape("transformer.layers.0.0.null_kv")
    inner, _ = shape("transformer.layers.0.1.to_q.weight")
    double, _ = shape("transformer.layers.0.2.1.weight")
    layers = {int(m[1]) for k in state if (m := re.match(r"transformer\.layers\.(\d{1,4})\.", k))}
    table = "to_time_embeds.0.weight" in state
    steps = shape("to_time_embeds.0.weight")[0] if table else 1000
    config = PriorConfig(
        width, len(layers), heads, head, inner // max(head, 1), text, math.isqrt(cells), double // 2 // max(width, 1),
        steps,
    )  # fmt: skip
    return config, table


def _recommended(text: str | None, path: Path) -> tuple[Guidance, str]:
    if text is None:
        return Guidance(), ""
    try:
        made: Any = parse_json(text, str(path))
        values = {k: made["guidance"][k] for k in ("image", "text", "steps", "samples")}
        return Guidance(**values), str(made["encoder"])
    except (ValueError, TypeError, KeyError):
        raise SowError(f"{path} is damaged: its settings cannot be read.") from None
