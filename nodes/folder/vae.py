"""diffusers' AutoencoderKL inside ComfyUI's VAE, with the group counts and widths of its config.

The module follows the layer names of diffusers (Apache-2.0), so that the weights need no renaming; the
architecture is that of latent diffusion (Rombach et al. 2022, appendix E).
"""

from __future__ import annotations

from typing import Any

from ...sow_core.errors import SowError
from ...sow_core.method.box import CELL


def load_vae(config: dict[str, Any], state: dict[str, Any]) -> Any:
    """ComfyUI's VAE around the weights `state` (diffusers keys, float32); encode gives the posterior's mean.

    Raises SowError if the model is not a KL autoencoder of factor 8.
    """
    import comfy.ldm.models.autoencoder
    import comfy.model_management
    import comfy.model_patcher
    import comfy.sd
    import torch

    from . import check_loaded

    factor = 2 ** (len(config["block_out_channels"]) - 1)
    if factor != CELL:
        raise SowError(f"Expected a VAE with {CELL} px per latent cell, got {factor}.")
    module = build(config)
    missing, unexpected = module.load_state_dict(state, strict=False)
    check_loaded("VAE", list(missing), list(unexpected))

    # comfy.sd.VAE can only be built around a model that it knows; it is given the smallest of those, so that
    # whatever attributes this version of ComfyUI sets are there, and then the module in question.
    smallest = {
        "ch": 32,
        "ch_mult": [1],
        "num_res_blocks": 1,
        "attn_resolutions": [],
        "in_channels": 3,
        "out_ch": 3,
        "resolution": 8,
        "z_channels": config["latent_channels"],
        "double_z": True,
    }
    params = {"ddconfig": smallest, "embed_dim": config["latent_channels"]}
    known = comfy.ldm.models.autoencoder.AutoencoderKL(**params)
    vae = comfy.sd.VAE(sd=known.state_dict(), config={"params": params}, dtype=torch.float32)
    vae.first_stage_model = module.to(vae.vae_dtype)
    vae.latent_channels = config["latent_channels"]
    vae.patcher = comfy.model_patcher.ModelPatcher(
        module, load_device=vae.device, offload_device=comfy.model_management.vae_offload_device()
    )
    vae.size = comfy.model_management.module_size(module)
    return vae


def preview_factors(vae: Any, latent_scale: float) -> tuple[list[list[float]], list[float]]:
    """A linear latent -> RGB (-1..1) map for previews: weights [C][3] and bias [3].

    Fitted by least squares on a few smooth random latents, decoded once (30 ms for the demo model), because
    the well-known matrices belong to the released models' latents.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(4, vae.latent_channels, 4, 4, generator=generator)
    latents = torch.nn.functional.interpolate(coarse, size=(16, 16), mode="bicubic")
    with torch.inference_mode():
        image = vae.first_stage_model.decode(latents.to(vae.vae_dtype) / latent_scale).float()
    colours = torch.nn.functional.avg_pool2d(image.clamp(-1, 1), CELL)
    x = latents.movedim(1, -1).reshape(-1, vae.latent_channels)
    x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
    solution = torch.linalg.lstsq(x, colours.movedim(1, -1).reshape(-1, 3)).solution
    return solution[:-1].tolist(), solution[-1].tolist()


def build(config: dict[str, Any]) -> Any:
    """The autoencoder as a torch module with `encode(pixels -1..1) -> mean latent` and `decode(latent)`."""
    import torch
    from torch import nn
    from torch.nn import functional

    groups = int(config.get("norm_num_groups", 32))
    widths = list(config["block_out_channels"])
    layers = int(config.get("layers_per_block", 1))
    latent = int(config["latent_channels"])
    attend = bool(config.get("mid_block_add_attention", True))

    def norm(channels: int) -> Any:
        return nn.GroupNorm(groups, channels, eps=1e-6)

    def conv(inside: int, outside: int, size: int = 3, stride: int = 1) -> Any:
        return nn.Conv2d(inside, outside, size, stride, padding=size // 2 if stride == 1 else 0)

    class Resnet(nn.Module):
        def __init__(self, inside: int, outside: int) -> None:
            super().__init__()
            self.norm1, self.conv1 = norm(inside), conv(inside, outside)
            self.norm2, self.conv2 = norm(outside), conv(outside, outside)
            self.conv_shortcut = conv(inside, outside, 1) if inside != outside else None

        def forward(self, x: Any) -> Any:
            h = self.conv1(functional.silu(self.norm1(x)))
            h = self.conv2(functional.silu(self.norm2(h)))
            return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))

    class Attention(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.group_norm = norm(channels)
            self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
            self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

        def forward(self, x: Any) -> Any:
            n = self.group_norm(x).flatten(2).transpose(1, 2).unsqueeze(1)
            out = functional.scaled_dot_product_attention(self.to_q(n), self.to_k(n), self.to_v(n))
            return x + self.to_out[0](out).squeeze(1).transpose(1, 2).reshape(x.shape)

    class Middle(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.resnets = nn.ModuleList([Resnet(channels, channels), Resnet(channels, channels)])
            self.attentions = nn.ModuleList([Attention(channels)] if attend else [])

        def forward(self, x: Any) -> Any:
            x = self.resnets[0](x)
            for attention in self.attentions:
                x = attention(x)
            return self.resnets[1](x)

    class Resize(nn.Module):
        def __init__(self, channels: int, down: bool) -> None:
            super().__init__()
            self.down = down
            self.conv = conv(channels, channels, 3, 2 if down else 1)

        def forward(self, x: Any) -> Any:
            # Down: padded at the right and bottom only, as latent diffusion was trained.
            return self.conv(
                functional.pad(x, (0, 1, 0, 1)) if self.down else functional.interpolate(x, scale_factor=2.0)
            )

    class Level(nn.Module):
        def __init__(self, inside: int, outside: int, count: int, down: bool, last: bool) -> None:
            super().__init__()
            self.resnets = nn.ModuleList(
                [Resnet(inside if i == 0 else outside, outside) for i in range(count)]
            )
            resize = nn.ModuleList([] if last else [Resize(outside, down)])
            setattr(self, "downsamplers" if down else "upsamplers", resize)
            self.resize = "downsamplers" if down else "upsamplers"

        def forward(self, x: Any) -> Any:
            for resnet in self.resnets:
                x = resnet(x)
            for resize in getattr(self, self.resize):
                x = resize(x)
            return x

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv_in = conv(config.get("in_channels", 3), widths[0])
            before = [widths[0], *widths[:-1]]
            self.down_blocks = nn.ModuleList(
                [
                    Level(a, b, layers, True, i == len(widths) - 1)
                    for i, (a, b) in enumerate(zip(before, widths, strict=True))
                ]
            )
            self.mid_block = Middle(widths[-1])
            self.conv_norm_out, self.conv_out = norm(widths[-1]), conv(widths[-1], 2 * latent)

        def forward(self, x: Any) -> Any:
            x = self.conv_in(x)
            for block in self.down_blocks:
                x = block(x)
            return self.conv_out(functional.silu(self.conv_norm_out(self.mid_block(x))))

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            upward = widths[::-1]
            self.conv_in = conv(latent, upward[0])
            self.mid_block = Middle(upward[0])
            before = [upward[0], *upward[:-1]]
            self.up_blocks = nn.ModuleList(
                [
                    Level(a, b, layers + 1, False, i == len(widths) - 1)
                    for i, (a, b) in enumerate(zip(before, upward, strict=True))
                ]
            )
            self.conv_norm_out, self.conv_out = (
                norm(upward[-1]),
                conv(upward[-1], config.get("out_channels", 3)),
            )

        def forward(self, x: Any) -> Any:
            x = self.mid_block(self.conv_in(x))
            for block in self.up_blocks:
                x = block(x)
            return self.conv_out(functional.silu(self.conv_norm_out(x)))

    class Autoencoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = Encoder(), Decoder()
            self.quant_conv = conv(2 * latent, 2 * latent, 1) if config.get("use_quant_conv", True) else None
            self.post_quant_conv = (
                conv(latent, latent, 1) if config.get("use_post_quant_conv", True) else None
            )

        def encode(self, x: Any, **_: Any) -> Any:
            h = self.encoder(x)
            h = h if self.quant_conv is None else self.quant_conv(h)
            return torch.chunk(h, 2, dim=1)[0]

        def decode(self, z: Any, **_: Any) -> Any:
            return self.decoder(z if self.post_quant_conv is None else self.post_quant_conv(z))

    return Autoencoder().eval().requires_grad_(False)
