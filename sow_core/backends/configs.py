"""The configs of a model folder, reduced to what our models need before a library sees them.

A config can name other code, another repository, a kernel or a way to unpack the weights (`auto_map`,
`attn_implementation`, `quantization_config`, `_name_or_path`, ...), and libraries act upon that. Only the keys of the
records below get past this module, each with its type and range checked: an error names the file and the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from ..errors import SowError
from ..outside.reading import MOST_BYTES, read_json_file
from ..outside.records import Length, Within, field_types, read_record
from ..outside.text import one_line

Count = Annotated[int, Within(1, 64)]
"""Layers, heads, groups."""
Width = Annotated[int, Within(1, 16384)]
"""Channels of a layer."""
Side = Annotated[int, Within(1, 16384)]
"""Of a picture or a latent."""
Heads = Annotated[int, Within(1, 1024)]
Small = Annotated[float, Within(0, 1)]
Factor = Annotated[float, Within(1e-6, 1e4)]
Name = Annotated[str, Length(most=100)]
Activation = Literal["silu", "swish", "mish", "gelu", "relu"]
PerLevel = Count | Annotated[tuple[Count, ...], Length(1, 8)]


@dataclass(frozen=True)
class UNetConfig:
    """diffusers' UNet2DConditionModel, as far as a Stable Diffusion UNet uses it."""

    sample_size: Side | Annotated[tuple[Side, ...], Length(2, 2)] | None = None
    in_channels: Width = 4
    out_channels: Width = 4
    center_input_sample: bool = False
    flip_sin_to_cos: bool = True
    freq_shift: Annotated[float, Within(-10, 10)] = 0
    down_block_types: Annotated[tuple[Literal["CrossAttnDownBlock2D", "DownBlock2D"], ...], Length(1, 8)] = ()
    mid_block_type: Literal["UNetMidBlock2DCrossAttn"] | None = None
    up_block_types: Annotated[tuple[Literal["CrossAttnUpBlock2D", "UpBlock2D"], ...], Length(1, 8)] = ()
    only_cross_attention: bool | Annotated[tuple[bool, ...], Length(1, 8)] = False
    block_out_channels: Annotated[tuple[Width, ...], Length(1, 8)] = ()
    layers_per_block: PerLevel = 2
    downsample_padding: Annotated[int, Within(0, 4)] = 1
    mid_block_scale_factor: Factor = 1
    dropout: Small = 0.0
    act_fn: Activation = "silu"
    norm_num_groups: Annotated[int, Within(1, 1024)] = 32
    norm_eps: Annotated[float, Within(1e-12, 1)] = 1e-5
    cross_attention_dim: Width | Annotated[tuple[Width, ...], Length(1, 8)] = 1280
    transformer_layers_per_block: PerLevel | Annotated[tuple[PerLevel, ...], Length(1, 8)] = 1
    reverse_transformer_layers_per_block: Annotated[tuple[PerLevel, ...], Length(1, 8)] | None = None
    attention_head_dim: Heads | Annotated[tuple[Heads, ...], Length(1, 8)] = 8
    num_attention_heads: PerLevel | None = None
    dual_cross_attention: bool = False
    use_linear_projection: bool = False
    addition_embed_type: Name | None = None
    addition_time_embed_dim: Width | None = None
    upcast_attention: bool = False
    resnet_time_scale_shift: Literal["default", "scale_shift"] = "default"
    resnet_skip_time_act: bool = False
    resnet_out_scale_factor: Factor = 1.0
    time_embedding_type: Literal["positional", "fourier"] = "positional"
    time_embedding_dim: Width | None = None
    time_embedding_act_fn: Activation | None = None
    timestep_post_act: Activation | None = None
    conv_in_kernel: Annotated[int, Within(1, 9)] = 3
    conv_out_kernel: Annotated[int, Within(1, 9)] = 3
    projection_class_embeddings_input_dim: Width | None = None
    attention_type: Literal["default"] = "default"
    mid_block_only_cross_attention: bool | None = None
    cross_attention_norm: Literal["layer_norm", "group_norm"] | None = None
    # Read to be refused (`checks.check_unet_config`): what they ask for is not Stable Diffusion's.
    class_embed_type: Name | None = None
    num_class_embeds: Annotated[int, Within(0, 10**6)] | None = None
    time_cond_proj_dim: Annotated[int, Within(0, 10**6)] | None = None
    encoder_hid_dim_type: Name | None = None


@dataclass(frozen=True)
class VAEConfig:
    """diffusers' AutoencoderKL."""

    in_channels: Annotated[int, Within(3, 3)] = 3
    out_channels: Annotated[int, Within(3, 3)] = 3
    down_block_types: Annotated[tuple[Literal["DownEncoderBlock2D"], ...], Length(1, 8)] = ()
    up_block_types: Annotated[tuple[Literal["UpDecoderBlock2D"], ...], Length(1, 8)] = ()
    block_out_channels: Annotated[tuple[Width, ...], Length(1, 8)] = ()
    layers_per_block: Count = 1
    act_fn: Activation = "silu"
    latent_channels: Annotated[int, Within(1, 1024)] = 4
    norm_num_groups: Annotated[int, Within(1, 1024)] = 32
    sample_size: Side | Annotated[tuple[Side, ...], Length(2, 2)] = 32
    scaling_factor: Factor = 0.18215
    shift_factor: float | None = None
    latents_mean: Annotated[tuple[float, ...], Length(1, 1024)] | None = None
    latents_std: Annotated[tuple[float, ...], Length(1, 1024)] | None = None
    force_upcast: bool = True
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True


@dataclass(frozen=True)
class TextConfig:
    """transformers' CLIPTextConfig."""

    model_type: Literal["clip_text_model"] = "clip_text_model"
    vocab_size: Annotated[int, Within(3, 10**6)] = 49408
    hidden_size: Width = 512
    intermediate_size: Annotated[int, Within(1, 65536)] = 2048
    projection_dim: Width = 512
    num_hidden_layers: Annotated[int, Within(1, 128)] = 12
    num_attention_heads: Annotated[int, Within(1, 1024)] = 8
    max_position_embeddings: Annotated[int, Within(4, 4096)] = 77
    hidden_act: Literal["quick_gelu", "gelu", "gelu_new", "relu", "silu"] = "quick_gelu"
    layer_norm_eps: Annotated[float, Within(1e-12, 1)] = 1e-5
    attention_dropout: Small = 0.0
    initializer_range: Annotated[float, Within(0, 100)] = 0.02
    initializer_factor: Annotated[float, Within(0, 100)] = 1.0
    pad_token_id: Annotated[int, Within(0, 10**6)] | None = 1
    bos_token_id: Annotated[int, Within(0, 10**6)] | None = 49406
    eos_token_id: Annotated[int, Within(0, 10**6)] | None = 49407


@dataclass(frozen=True)
class VisionConfig:
    """transformers' CLIPVisionConfig."""

    hidden_size: Width = 768
    intermediate_size: Annotated[int, Within(1, 65536)] = 3072
    projection_dim: Width = 512
    num_hidden_layers: Annotated[int, Within(1, 128)] = 12
    num_attention_heads: Heads = 12
    num_channels: Annotated[int, Within(3, 3)] = 3
    image_size: Annotated[int, Within(1, 4096)] = 224
    patch_size: Annotated[int, Within(1, 1024)] = 32
    hidden_act: Literal["quick_gelu", "gelu", "gelu_new", "relu", "silu"] = "quick_gelu"
    layer_norm_eps: Annotated[float, Within(1e-12, 1)] = 1e-5
    attention_dropout: Small = 0.0


@dataclass(frozen=True)
class ClipConfig:
    """transformers' CLIPConfig: both encoders of CLIP."""

    text_config: TextConfig
    vision_config: VisionConfig
    projection_dim: Width = 512


@dataclass(frozen=True)
class SchedulerConfig:
    """The noise levels that a model was trained on; of whichever scheduler class, only these count here."""

    _class_name: Name = ""
    num_train_timesteps: Annotated[int, Within(10, 10000)] = 1000
    beta_start: Annotated[float, Within(1e-9, 0.999)] = 0.0001
    beta_end: Annotated[float, Within(1e-9, 0.999)] = 0.02
    beta_schedule: Name = "linear"
    trained_betas: Annotated[tuple[Annotated[float, Within(1e-9, 0.999999)], ...], Length(10, 10000)] | None = None
    prediction_type: Name = "epsilon"
    rescale_betas_zero_snr: bool = False
    set_alpha_to_one: bool = False
    steps_offset: Annotated[int, Within(0, 1000)] = 1
    # Read to be refused (`checks.check_scheduler`).
    shift: float | None = None
    sigma_data: float | None = None


@dataclass(frozen=True)
class AddedToken:
    content: Name
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    single_word: bool = False
    special: bool = True


Token = Name | AddedToken | None


@dataclass(frozen=True)
class TokenizerConfig:
    """CLIP's tokenizer: tokenizer_config.json, and special_tokens_map.json, which has the tokens alone."""

    model_max_length: Annotated[int, Within(4, 10**6)] = 77
    bos_token: Token = "<|startoftext|>"
    eos_token: Token = "<|endoftext|>"
    unk_token: Token = "<|endoftext|>"
    pad_token: Token = "<|endoftext|>"
    add_prefix_space: bool = False
    do_lower_case: bool = True
    errors: Literal["replace", "strict", "ignore"] = "replace"
    clean_up_tokenization_spaces: bool | None = None
    added_tokens_decoder: dict[str, AddedToken] = field(default_factory=dict)


Entry = Annotated[tuple[Name | None, ...], Length(2, 2)] | None


@dataclass(frozen=True)
class Index:
    """model_index.json: the pipeline's class, and library and class of each part."""

    _class_name: Name = ""
    force_zeros_for_empty_prompt: bool = True
    shares: Name | None = None
    """A model's folder beside this one that has the VAE, the text encoder and the tokenizer as well."""
    is_distilled: bool = False
    """Flux.2 Klein's: without guidance of two rows."""
    unet: Entry = None
    transformer: Entry = None
    vae: Entry = None
    text_encoder: Entry = None
    text_encoder_2: Entry = None
    text_encoder_3: Entry = None
    tokenizer: Entry = None
    tokenizer_2: Entry = None


def read_config(path: Path, record: type, required: Sequence[str] = ()) -> dict[str, Any]:
    """What a config file says about the fields of `record`, checked; nothing else of it. Raises SowError, in one line
    that names file and key, also where a `required` key is missing."""
    values = json_object(path)
    for key in required:
        if key not in values:
            raise SowError(f"{one_line(path)}: {key} is missing; fetch the model again.")
    return checked_config(values, path, record)


def checked_config(values: dict[str, Any], path: Path, record: type) -> dict[str, Any]:
    """What `values`, read from `path`, say about the fields of `record`. Raises SowError."""
    made: Any = read_record(record, values, one_line(path))
    kinds = field_types(record)
    # A library may insist on a float where JSON has 1.
    return {f.name: float(value) if kinds[f.name][0] is float and value is not None else value
            for f in fields(record) if f.name in values for value in (getattr(made, f.name),)}  # fmt: skip


def json_object(path: Path, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """A JSON file's object. Raises SowError if there is none."""
    if not path.exists():
        raise SowError(f"{one_line(path)} is missing; fetch the model again.")
    made = read_json_file(path, "the config", most_bytes=most_bytes)
    if not isinstance(made, dict):
        raise SowError(f"Cannot read {one_line(path)}: expected a JSON object.")
    return made
