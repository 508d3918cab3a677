"""The denoiser and its text encoder: configurations, initialisation, noise schedule."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Size:
    """Channels of the three resolutions, text width and layers."""

    channels: tuple[int, int, int]
    text: int
    text_layers: int
    heads: int = 4


SIZES = {
    "tiny": Size((16, 32, 32), 32, 1),
    "cpu": Size((64, 128, 128), 128, 3),
    "gpu": Size((128, 256, 320), 192, 4),
}
"""tiny is for tests; cpu has 5.9 M + 0.7 M parameters; gpu about 21 M + 2 M, for 256 px."""

BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000}


def build_unet(size: Size, sample_size: int):  # noqa: ANN201 - diffusers is imported late
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=sample_size,
        block_out_channels=size.channels,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        # diffusers takes this for the number of heads unless num_attention_heads is given (its issue 2011).
        attention_head_dim=size.heads,
        cross_attention_dim=size.text,
        use_linear_projection=True,
        norm_num_groups=8,
    )
    quiet_branches(unet)
    return unet


def build_text(size: Size, tokenizer):  # noqa: ANN001, ANN201
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.text,
            intermediate_size=4 * size.text,
            projection_dim=size.text,
            num_hidden_layers=size.text_layers,
            num_attention_heads=size.heads,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            attn_implementation="eager",
        )
    )


@torch.no_grad()
def quiet_branches(unet: nn.Module) -> None:
    """Zeroes the last layer of every residual branch and of the whole: the net starts as the identity."""
    for name, p in unet.named_parameters():
        if name.endswith(".weight") and any(
            k in name for k in (".conv2.", ".to_out.0.", ".ff.net.2.", "proj_out.")
        ) or name == "conv_out.weight":  # fmt: skip
            p.zero_()


def load(folder: Path) -> tuple[Any, Any]:
    """(unet, text encoder) of a diffusers folder, float32."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel

    full = {"torch_dtype": torch.float32}
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", **full)
    text = CLIPTextModel.from_pretrained(folder / "text_encoder", attn_implementation="eager", **full)
    return unet, text


@torch.no_grad()
def adopt_tokens(text: nn.Module, old_vocab: dict[str, int], tokenizer) -> nn.Module:  # noqa: ANN001
    """The text encoder for another vocabulary: shared tokens keep their embeddings, a new one gets the mean of
    the pieces that it replaces."""
    from transformers import CLIPTextModel

    config = text.config  # type: ignore[union-attr]
    old = text.get_input_embeddings().weight  # type: ignore[operator]
    config.vocab_size = len(tokenizer)
    config.bos_token_id, config.eos_token_id, config.pad_token_id = (
        tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    )  # fmt: skip
    new = CLIPTextModel(config)
    state = text.state_dict()
    key = next(k for k in state if k.endswith("token_embedding.weight"))
    table = new.state_dict()[key].clone()
    for token, i in tokenizer.get_vocab().items():
        if token in old_vocab:
            table[i] = old[old_vocab[token]]
            continue
        stem = token.removesuffix("</w>")
        pieces = [*stem[:-1], stem[-1] + ("</w>" if token.endswith("</w>") else "")]
        table[i] = torch.stack([old[old_vocab[c]] for c in pieces]).mean(0)
    state[key] = table
    new.load_state_dict(state)
    return new


def alphas_cumprod(device: str = "cpu") -> Tensor:
    """[1000] float32 of Stable Diffusion's schedule."""
    n = BETAS["num_train_timesteps"]
    betas = torch.linspace(BETAS["beta_start"] ** 0.5, BETAS["beta_end"] ** 0.5, n, dtype=torch.float64) ** 2  # type: ignore[operator,arg-type]
    return torch.cumprod(1 - betas, 0).float().to(device)


def min_snr_weight(abar: Tensor, gamma: float = 5.0) -> Tensor:
    """Weight of the eps loss, min(SNR, gamma) / SNR (Hang et al. 2023, Eq. 6 for eps prediction)."""
    snr = abar / (1 - abar)
    return snr.clamp(max=gamma) / snr
