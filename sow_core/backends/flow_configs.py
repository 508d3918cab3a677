"""The configs of flow transformers and of their text encoders, reduced as those in `configs.py` are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from ..outside.records import Length, Within
from .configs import Count, Heads, Side, Small, Token, Width

Layers = Annotated[int, Within(1, 128)]
Words = Annotated[int, Within(3, 10**6)]
"""Size of a vocabulary."""
Long = Annotated[int, Within(1, 10**7)]
"""Of a sequence."""
Axes = Annotated[tuple[Annotated[int, Within(2, 1024)], ...], Length(3, 4)]
Epsilon = Annotated[float, Within(1e-12, 1)]
Theta = Annotated[float, Within(1, 1e9)]


@dataclass(frozen=True)
class SD3Config:
    """diffusers' SD3Transformer2DModel."""

    sample_size: Side = 128
    patch_size: Annotated[int, Within(1, 16)] = 2
    in_channels: Width = 16
    num_layers: Layers = 18
    attention_head_dim: Heads = 64
    num_attention_heads: Heads = 18
    joint_attention_dim: Width = 4096
    caption_projection_dim: Width = 1152
    pooled_projection_dim: Width = 2048
    out_channels: Width = 16
    pos_embed_max_size: Annotated[int, Within(1, 1024)] = 96
    dual_attention_layers: Annotated[tuple[Annotated[int, Within(0, 127)], ...], Length(0, 128)] = ()
    qk_norm: Literal["rms_norm"] | None = None


@dataclass(frozen=True)
class FluxConfig:
    """diffusers' FluxTransformer2DModel."""

    patch_size: Annotated[int, Within(1, 16)] = 1
    in_channels: Width = 64
    out_channels: Width | None = None
    num_layers: Layers = 19
    num_single_layers: Layers = 38
    attention_head_dim: Heads = 128
    num_attention_heads: Heads = 24
    joint_attention_dim: Width = 4096
    pooled_projection_dim: Width = 768
    guidance_embeds: bool = False
    axes_dims_rope: Axes = (16, 56, 56)


@dataclass(frozen=True)
class ChromaConfig:
    """diffusers' ChromaTransformer2DModel."""

    patch_size: Annotated[int, Within(1, 16)] = 1
    in_channels: Width = 64
    out_channels: Width | None = None
    num_layers: Layers = 19
    num_single_layers: Layers = 38
    attention_head_dim: Heads = 128
    num_attention_heads: Heads = 24
    joint_attention_dim: Width = 4096
    axes_dims_rope: Axes = (16, 56, 56)
    approximator_num_channels: Width = 64
    approximator_hidden_dim: Width = 5120
    approximator_layers: Count = 5


@dataclass(frozen=True)
class Lumina2Config:
    """diffusers' Lumina2Transformer2DModel."""

    sample_size: Side = 128
    patch_size: Annotated[int, Within(1, 16)] = 2
    in_channels: Width = 16
    out_channels: Width | None = None
    hidden_size: Width = 2304
    num_layers: Layers = 26
    num_refiner_layers: Count = 2
    num_attention_heads: Heads = 24
    num_kv_heads: Heads = 8
    multiple_of: Width = 256
    ffn_dim_multiplier: Annotated[float, Within(0.01, 100)] | None = None
    norm_eps: Epsilon = 1e-5
    scaling_factor: Annotated[float, Within(1e-6, 1e4)] = 1.0
    axes_dim_rope: Axes = (32, 32, 32)
    axes_lens: Annotated[tuple[Annotated[int, Within(1, 16384)], ...], Length(3, 4)] = (300, 512, 512)
    cap_feat_dim: Width = 1024


@dataclass(frozen=True)
class ZImageConfig:
    """diffusers' ZImageTransformer2DModel."""

    all_patch_size: Annotated[tuple[Annotated[int, Within(2, 2)], ...], Length(1, 1)] = (2,)
    all_f_patch_size: Annotated[tuple[Annotated[int, Within(1, 1)], ...], Length(1, 1)] = (1,)
    in_channels: Width = 16
    dim: Width = 3840
    n_layers: Layers = 30
    n_refiner_layers: Count = 2
    n_heads: Heads = 30
    n_kv_heads: Heads = 30
    norm_eps: Epsilon = 1e-5
    qk_norm: bool = True
    cap_feat_dim: Width = 2560
    siglip_feat_dim: Width | None = None
    rope_theta: Theta = 256.0
    t_scale: Annotated[float, Within(1e-3, 1e6)] = 1000.0
    axes_dims: Axes = (32, 48, 48)
    axes_lens: Annotated[tuple[Annotated[int, Within(1, 16384)], ...], Length(3, 4)] = (1024, 512, 512)


@dataclass(frozen=True)
class QwenImageConfig:
    """diffusers' QwenImageTransformer2DModel; what only its edit models have is read to be refused."""

    patch_size: Annotated[int, Within(1, 16)] = 2
    in_channels: Width = 64
    out_channels: Width | None = 16
    num_layers: Layers = 60
    attention_head_dim: Heads = 128
    num_attention_heads: Heads = 24
    joint_attention_dim: Width = 3584
    guidance_embeds: Literal[False] = False
    axes_dims_rope: Axes = (16, 56, 56)
    zero_cond_t: Literal[False] = False
    use_additional_t_cond: Literal[False] = False
    use_layer3d_rope: Literal[False] = False


@dataclass(frozen=True)
class QwenVAEConfig:
    """diffusers' AutoencoderKLQwenImage: of videos, used for one frame."""

    base_dim: Width = 96
    z_dim: Annotated[int, Within(1, 1024)] = 16
    dim_mult: Annotated[tuple[Count, ...], Length(4, 4)] = (1, 2, 4, 4)
    num_res_blocks: Count = 2
    attn_scales: Annotated[tuple[Annotated[float, Within(0, 64)], ...], Length(0, 8)] = ()
    temperal_downsample: Annotated[tuple[bool, ...], Length(3, 3)] = (False, True, True)
    dropout: Small = 0.0
    input_channels: Annotated[int, Within(3, 3)] = 3
    latents_mean: Annotated[tuple[float, ...], Length(1, 1024)] | None = None
    latents_std: Annotated[tuple[Annotated[float, Within(1e-6, 1e4)], ...], Length(1, 1024)] | None = None


@dataclass(frozen=True)
class Flux2Config:
    """diffusers' Flux2Transformer2DModel."""

    patch_size: Annotated[int, Within(1, 16)] = 1
    in_channels: Width = 128
    out_channels: Width | None = None
    num_layers: Layers = 8
    num_single_layers: Layers = 48
    attention_head_dim: Heads = 128
    num_attention_heads: Heads = 48
    joint_attention_dim: Width = 15360
    timestep_guidance_channels: Width = 256
    mlp_ratio: Annotated[float, Within(0.1, 100)] = 3.0
    axes_dims_rope: Axes = (32, 32, 32, 32)
    rope_theta: Annotated[int, Within(1, 10**9)] = 2000
    eps: Epsilon = 1e-6
    guidance_embeds: bool = True


@dataclass(frozen=True)
class Flux2VAEConfig:
    """diffusers' AutoencoderKLFlux2."""

    in_channels: Annotated[int, Within(3, 3)] = 3
    out_channels: Annotated[int, Within(3, 3)] = 3
    down_block_types: Annotated[tuple[Literal["DownEncoderBlock2D"], ...], Length(1, 8)] = ("DownEncoderBlock2D",) * 4
    up_block_types: Annotated[tuple[Literal["UpDecoderBlock2D"], ...], Length(1, 8)] = ("UpDecoderBlock2D",) * 4
    block_out_channels: Annotated[tuple[Width, ...], Length(1, 8)] = (128, 256, 512, 512)
    decoder_block_out_channels: Annotated[tuple[Width, ...], Length(1, 8)] | None = None
    layers_per_block: Count = 2
    act_fn: Literal["silu", "swish", "mish", "gelu", "relu"] = "silu"
    latent_channels: Annotated[int, Within(1, 1024)] = 32
    norm_num_groups: Annotated[int, Within(1, 1024)] = 32
    sample_size: Side = 1024
    force_upcast: bool = True
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True
    batch_norm_eps: Annotated[float, Within(1e-12, 1)] = 1e-4
    batch_norm_momentum: Small = 0.1
    patch_size: Annotated[tuple[Annotated[int, Within(2, 2)], ...], Length(2, 2)] = (2, 2)


# -- text encoders, of transformers


@dataclass(frozen=True)
class T5Config:
    vocab_size: Words = 32128
    d_model: Width = 512
    d_kv: Width = 64
    d_ff: Annotated[int, Within(1, 65536)] = 2048
    num_layers: Layers = 6
    num_heads: Heads = 8
    relative_attention_num_buckets: Annotated[int, Within(2, 1024)] = 32
    relative_attention_max_distance: Annotated[int, Within(2, 16384)] = 128
    dropout_rate: Small = 0.1
    layer_norm_epsilon: Epsilon = 1e-6
    feed_forward_proj: Literal["relu", "gated-gelu"] = "relu"
    pad_token_id: Annotated[int, Within(0, 10**6)] | None = 0
    eos_token_id: Annotated[int, Within(0, 10**6)] | None = 1


@dataclass(frozen=True)
class Rope:
    """How transformers 5 writes what was `rope_theta`."""

    rope_type: Literal["default"] = "default"
    rope_theta: Theta = 10000.0


@dataclass(frozen=True)
class Gemma2Config:
    vocab_size: Words = 256000
    hidden_size: Width = 2304
    intermediate_size: Annotated[int, Within(1, 65536)] = 9216
    num_hidden_layers: Layers = 26
    num_attention_heads: Heads = 8
    num_key_value_heads: Heads = 4
    head_dim: Width = 256
    hidden_activation: Literal["gelu_pytorch_tanh"] = "gelu_pytorch_tanh"
    max_position_embeddings: Long = 8192
    rms_norm_eps: Epsilon = 1e-6
    rope_theta: Theta | None = None
    rope_parameters: Rope | None = None
    attention_bias: bool = False
    attention_dropout: Small = 0.0
    query_pre_attn_scalar: Annotated[int, Within(1, 65536)] = 256
    sliding_window: Long | None = 4096
    attn_logit_softcapping: Annotated[float, Within(1e-3, 1e6)] | None = 50.0
    pad_token_id: Annotated[int, Within(0, 10**6)] | None = 0
    eos_token_id: Annotated[int, Within(0, 10**6)] | None = 1
    bos_token_id: Annotated[int, Within(0, 10**6)] | None = 2


@dataclass(frozen=True)
class Qwen3Config:
    vocab_size: Words = 151936
    hidden_size: Width = 4096
    intermediate_size: Annotated[int, Within(1, 65536)] = 22016
    num_hidden_layers: Layers = 32
    num_attention_heads: Heads = 32
    num_key_value_heads: Heads = 32
    head_dim: Width = 128
    hidden_act: Literal["silu"] = "silu"
    max_position_embeddings: Long = 32768
    rms_norm_eps: Epsilon = 1e-6
    rope_theta: Theta | None = None
    rope_parameters: Rope | None = None
    attention_bias: bool = False
    attention_dropout: Small = 0.0
    eos_token_id: Annotated[int, Within(0, 10**6)] | None = None
    bos_token_id: Annotated[int, Within(0, 10**6)] | None = None


@dataclass(frozen=True)
class Qwen25Config:
    """The language model of Qwen2.5-VL. Where its rope puts pictures is of no matter to text."""

    vocab_size: Words = 152064
    hidden_size: Width = 8192
    intermediate_size: Annotated[int, Within(1, 65536)] = 29568
    num_hidden_layers: Layers = 80
    num_attention_heads: Heads = 64
    num_key_value_heads: Heads = 8
    hidden_act: Literal["silu"] = "silu"
    max_position_embeddings: Long = 32768
    rms_norm_eps: Epsilon = 1e-5
    rope_theta: Theta | None = None
    rope_parameters: Rope | None = None
    attention_dropout: Small = 0.0
    eos_token_id: Annotated[int, Within(0, 10**6)] | None = None
    bos_token_id: Annotated[int, Within(0, 10**6)] | None = None


@dataclass(frozen=True)
class SpecialTokens:
    """tokenizer_config.json and special_tokens_map.json of a tokenizer whose tokenizer.json has all else."""

    bos_token: Token = None
    eos_token: Token = None
    unk_token: Token = None
    pad_token: Token = None

