"""The flow transformer: Stable Diffusion 3's architecture in small, its times, and the states of the text it reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Size:
    """Joint blocks, and heads of 64 channels."""

    blocks: int
    heads: int


SIZES = {"tiny": Size(2, 1), "cpu": Size(6, 3)}
"""tiny is for tests; cpu has 7.8 M parameters (15.5 MB in float16)."""
HEAD, PATCH, TEXT = 64, 2, 128
"""Channels of a head; latent cells along a token's side; channels of the demo model's text states."""


def build(size: Size, latent_size: int):  # noqa: ANN201 - diffusers is imported late
    """A new transformer that answers 0 (its last layer and the branches' gates are zero)."""
    from diffusers import SD3Transformer2DModel

    net = SD3Transformer2DModel(
        sample_size=latent_size,
        patch_size=PATCH,
        in_channels=4,
        out_channels=4,
        num_layers=size.blocks,
        attention_head_dim=HEAD,
        num_attention_heads=size.heads,
        joint_attention_dim=TEXT,
        caption_projection_dim=HEAD * size.heads,
        pooled_projection_dim=TEXT,
        pos_embed_max_size=2 * latent_size,
        qk_norm="rms_norm",
    )
    quiet(net)
    return net


@torch.no_grad()
def quiet(net: nn.Module) -> None:
    """Zeroes what scales and gates the branches, and the last layer (adaLN-zero, Peebles and Xie 2022)."""
    for name, p in net.named_parameters():
        if ".norm1.linear." in name or ".norm1_context.linear." in name or name.startswith(("norm_out.", "proj_out.")):
            p.zero_()


class Words(nn.Module):
    """The demo model's own tokenizer and text encoder, frozen: what the transformer reads of a caption."""

    def __init__(self, folder: Path):
        super().__init__()
        from transformers import CLIPTextModel, CLIPTokenizer

        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        text = CLIPTextModel.from_pretrained(
            folder / "text_encoder", attn_implementation="eager", torch_dtype=torch.float32
        )
        self.text = text.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, captions: list[str], length: int) -> tuple[Tensor, Tensor]:
        """(states [B,length,TEXT], pooled [B,TEXT], the state of the end token) of captions padded to `length`."""
        ids = self.tokenizer(
            captions, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        ).input_ids.to(self.text.device)
        out = self.text(ids)
        return out.last_hidden_state, out.pooler_output


def times(even: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Noise times [N] in 0..1 from even numbers [N]: even themselves where `uniform` [N], else logit-normal (Esser
    et al. 2024, Eq. 19, location 0, scale 1), which dwells on the middle."""
    inside = torch.from_numpy(even).clamp(1e-4, 1 - 1e-4)
    normal = torch.sigmoid(torch.special.ndtri(inside)).numpy()
    return np.where(uniform, even, normal).astype(np.float32)
