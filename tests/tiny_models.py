"""Small random Stable Diffusion folders of each family, made on the spot: right shapes, wrong pictures.

`build("sd2", folder)` writes a diffusers-format pipeline of one or two million random parameters with the
layout that the family's released checkpoints have (blocks, heads, scheduler class, tokenizer padding), so that
loading and sampling code is exercised without a download. The same family and seed give the same weights.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FAMILIES = ("sd1", "sd2", "sd2_v", "sdxl")
FLOW_FAMILIES = ("sd3demo", "sd3", "flux", "schnell", "chroma", "lumina2", "z_image", "qwen", "klein")
START, END = "<|startoftext|>", "<|endoftext|>"
_SIZES = {"sd1": 64, "sd2": 64, "sd2_v": 96, "sdxl": 128}  # latent cells per side: 512, 512, 768, 1024 px
_BETAS = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}


def build(family: str, folder: str | Path, seed: int = 0) -> Path:
    """Write a tiny random pipeline of `family` to `folder` (made if missing) and return the folder.

    The caller's random state is left alone. Raises ValueError for an unknown family.
    """
    import torch

    if family in FLOW_FAMILIES:
        return _build_flow(family, Path(folder), seed)
    if family not in FAMILIES:
        raise ValueError(f"Unknown family {family!r}: expected one of {', '.join((*FAMILIES, *FLOW_FAMILIES))}.")
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet(family).save_pretrained(root / "unet")
        vae(family).save_pretrained(root / "vae")
        for suffix in ("", "_2") if family == "sdxl" else ("",):
            text_encoder(family, projected=suffix == "_2").save_pretrained(root / f"text_encoder{suffix}")
            # The released SD2 and second SDXL encoders pad with "!" (id 0), the older ones with the end token.
            write_tokenizer(root / f"tokenizer{suffix}", pad="!" if family.startswith("sd2") or suffix else END)
    write_scheduler(family, root / "scheduler")
    _write_json(root / "model_index.json", _index(family))
    return root


_PIPELINES = {
    "sd3demo": "SowFlow",
    "sd3": "StableDiffusion3Pipeline",
    "flux": "FluxPipeline",
    "schnell": "FluxPipeline",
    "chroma": "ChromaPipeline",
    "lumina2": "Lumina2Pipeline",
    "z_image": "ZImagePipeline",
    "qwen": "QwenImagePipeline",
    "klein": "Flux2KleinPipeline",
}
"""Flow families that are built as folders, and their pipelines' classes."""


def missing_class(family: str) -> str | None:
    """The class that a flow family is made of and the installed diffusers is too old for; None if it has them all."""
    import diffusers

    names = (_TRANSFORMERS[family][0], _PIPELINES[family]) if family in FLOW_FAMILIES else ()
    return next((name for name in names if name != "SowFlow" and not hasattr(diffusers, name)), None)


def needs_class(family: str) -> None:
    """Skip the running test if the installed diffusers does not know the family yet."""
    import diffusers
    import pytest

    name = missing_class(family)
    if name is not None:
        pytest.skip(f"diffusers {diffusers.__version__} does not know {name}")


def _build_flow(family: str, root: Path, seed: int) -> Path:
    """A flow transformer's folder; "sd3demo" shares VAE and text encoder with a tiny "sd1" beside it, which is made."""
    import torch

    net_name = _TRANSFORMERS[family][0]
    scheduler = "FlowMatchEulerDiscreteScheduler"
    index: dict[str, Any] = {
        "_class_name": _PIPELINES[family],
        "scheduler": ["diffusers", scheduler],
        "transformer": ["diffusers", net_name],
    }
    root.mkdir(parents=True, exist_ok=True)
    if family == "sd3demo":
        index["shares"] = "sd1"
        if not (root.parent / "sd1").is_dir():
            build("sd1", root.parent / "sd1")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer(family).save_pretrained(root / "transformer")
        if family != "sd3demo":
            coder = {"qwen": _qwen_vae, "klein": _flux2_vae}.get(family, lambda: vae("flow"))()
            coder.save_pretrained(root / "vae")
            index["vae"] = ["diffusers", type(coder).__name__]
            for suffix, encoder in _flow_encoders(family).items():
                encoder.save_pretrained(root / f"text_encoder{suffix}")
                index[f"text_encoder{suffix}"] = ["transformers", type(encoder).__name__]
                clip = type(encoder).__name__.startswith("CLIP")
                writers = {"qwen": write_byte_tokenizer}
                write = write_tokenizer if clip else writers.get(family, write_text_tokenizer)
                write(root / f"tokenizer{suffix}")
                index[f"tokenizer{suffix}"] = ["transformers", "CLIPTokenizer" if clip else "PreTrainedTokenizerFast"]
    (root / "scheduler").mkdir(exist_ok=True)
    _write_json(root / "scheduler" / "scheduler_config.json", {"_class_name": scheduler, "shift": 3.0})
    _write_json(root / "model_index.json", index)
    return root


def _flow_encoders(family: str) -> dict[str, Any]:
    """The text encoders of a flow family by the suffix of their folder, random."""
    from transformers import Gemma2Config, Gemma2Model, Qwen3Config, Qwen3Model, T5Config, T5EncoderModel

    def t5(width: int) -> Any:
        config = T5Config(vocab_size=300, d_model=width, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
                          feed_forward_proj="gated-gelu")  # fmt: skip
        return T5EncoderModel(config).eval()

    small: dict[str, Any] = {
        "vocab_size": 300, "hidden_size": 40, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.5,
        "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2,
    }  # fmt: skip
    if family == "sd3":
        return {"": text_encoder("sd1", projected=True), "_2": _projected(32), "_3": t5(72)}
    if family in ("flux", "schnell"):
        return {"": text_encoder("sd1"), "_2": t5(40)}
    if family == "chroma":
        return {"": t5(40)}
    if family == "lumina2":
        return {"": Gemma2Model(Gemma2Config(**small, query_pre_attn_scalar=8)).eval()}
    if family == "qwen":
        return {"": _qwen_eyes(small)}
    if family == "klein":
        small["num_hidden_layers"] = 28  # it reads layers 9, 18 and 27
    return {"": Qwen3Model(Qwen3Config(**small)).eval()}


def _qwen_eyes(small: dict[str, Any]) -> Any:
    """Qwen2.5-VL whole, as the released folder has it: only its language model is used."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text = {k: v for k, v in small.items() if k != "head_dim"} | {"rope_theta": 1e6}
    text["rope_scaling"] = {"rope_type": "default", "type": "default", "mrope_section": [1, 2, 2]}
    eyes = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 40}
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=eyes)).eval()


def _flux2_vae() -> Any:
    import torch
    from diffusers import AutoencoderKLFlux2

    model = AutoencoderKLFlux2(
        block_out_channels=(8, 16, 16, 16), layers_per_block=1, norm_num_groups=4, latent_channels=32
    )
    with torch.no_grad():
        model.bn.running_mean.normal_()
        model.bn.running_var.uniform_(0.5, 2.0)
    return model.eval()


def _qwen_vae() -> Any:
    from diffusers import AutoencoderKLQwenImage

    return AutoencoderKLQwenImage(base_dim=8, dim_mult=[1, 1, 1, 1], num_res_blocks=1).eval()


def _projected(width: int) -> Any:
    """SD3's second CLIP: another width than the first's."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    config = text_encoder("sd1").config.to_dict() | {"hidden_size": width, "intermediate_size": 48}
    return CLIPTextModelWithProjection(CLIPTextConfig(**config)).eval()


def write_text_tokenizer(folder: Path) -> None:
    """A tokenizer.json as language models have it: bytes, an end mark behind them, and something to pad with."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    words = ["<pad>", "</s>", "<s>", "<unk>", "<|im_start|>", "<|im_end|>", *_byte_units()]
    made = Tokenizer(models.BPE(vocab={w: n for n, w in enumerate(words)}, merges=[], unk_token="<unk>"))
    made.add_special_tokens(words[:6])
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    roles = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "model_max_length": 10**30}
    _write_json(folder / "tokenizer_config.json", {"tokenizer_class": "T5TokenizerFast", **roles})


def write_byte_tokenizer(folder: Path) -> None:
    """Qwen's tokenizer as its released folder has it: words, merges (none here) and added tokens, no tokenizer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    units = _byte_units()
    _write_json(folder / "vocab.json", {unit: number for number, unit in enumerate(units)})
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    added = {str(len(units) + n): {"content": token, "special": True} for n, token in enumerate(special)}
    _write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": added, "pad_token": special[0],
        "eos_token": special[2], "bos_token": None, "unk_token": None, "model_max_length": 131072,
    })  # fmt: skip


def transformer(family: str) -> Any:
    """The family's transformer with two or three blocks of each kind; every weight counts."""
    import diffusers
    import torch

    name, config = _TRANSFORMERS[family]
    model = getattr(diffusers, name)(**config)
    with torch.no_grad():
        # Modulation starts at zero in training; here every block is to count, and the output to be seen.
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 1.2 / parameter[0].numel() ** 0.5)
    return model.eval()


def build_clip(folder: Path, side: int = 32) -> Path:
    """A random CLIP model with the demo model's tokenizer, for pictures of `side` px, embedding width 12."""
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizerFast

    tokenizer = CLIPTokenizerFast.from_pretrained(Path(__file__).parents[1] / "models" / "demo" / "tokenizer")
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id}  # fmt: skip
    small = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**small, **ends, "vocab_size": len(tokenizer)},
        vision_config={**small, "image_size": side, "patch_size": 8}, projection_dim=12,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


_SD3: dict[str, Any] = {
    "sample_size": 16,
    "num_layers": 3,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "caption_projection_dim": 32,
    "pos_embed_max_size": 32,
    "qk_norm": "rms_norm",
}
_FLUX: dict[str, Any] = {
    "in_channels": 64,
    "num_layers": 2,
    "num_single_layers": 2,
    "attention_head_dim": 32,
    "num_attention_heads": 2,
    "joint_attention_dim": 40,
    "axes_dims_rope": (8, 12, 12),
}
_TRANSFORMERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sd3demo": (
        "SD3Transformer2DModel",
        {**_SD3, "in_channels": 4, "out_channels": 4, "joint_attention_dim": 32, "pooled_projection_dim": 32},
    ),
    # two blocks with an attention of the image alone, as SD3.5 medium has
    "sd3": (
        "SD3Transformer2DModel",
        {**_SD3, "joint_attention_dim": 72, "pooled_projection_dim": 64, "dual_attention_layers": (0, 1)},
    ),
    "flux": ("FluxTransformer2DModel", {**_FLUX, "pooled_projection_dim": 32, "guidance_embeds": True}),
    "schnell": ("FluxTransformer2DModel", {**_FLUX, "pooled_projection_dim": 32}),
    "chroma": (
        "ChromaTransformer2DModel",
        {**_FLUX, "approximator_num_channels": 64, "approximator_hidden_dim": 64, "approximator_layers": 2},
    ),
    "lumina2": (
        "Lumina2Transformer2DModel",
        {
            "sample_size": 16,
            "hidden_size": 72,
            "num_layers": 3,
            "num_refiner_layers": 1,
            "num_attention_heads": 3,
            "num_kv_heads": 1,
            "multiple_of": 8,
            "axes_dim_rope": (8, 8, 8),
            "cap_feat_dim": 40,
        },
    ),
    "z_image": (
        "ZImageTransformer2DModel",
        {
            "dim": 256,
            "n_layers": 3,
            "n_refiner_layers": 1,
            "n_heads": 8,
            "n_kv_heads": 8,
            "cap_feat_dim": 40,
            "axes_dims": [8, 12, 12],
        },
    ),
    "klein": (
        "Flux2Transformer2DModel",
        {
            "num_layers": 2,
            "num_single_layers": 2,
            "attention_head_dim": 32,
            "num_attention_heads": 2,
            "joint_attention_dim": 120,
            "axes_dims_rope": (8, 8, 8, 8),
            "timestep_guidance_channels": 32,
            "guidance_embeds": False,
        },
    ),
    "qwen": (
        "QwenImageTransformer2DModel",
        {
            "num_layers": 3,
            "attention_head_dim": 32,
            "num_attention_heads": 2,
            "joint_attention_dim": 40,
            "axes_dims_rope": (8, 12, 12),
        },
    ),
}


def unet(family: str) -> Any:
    """A UNet2DConditionModel with the family's blocks; its output has about unit variance, as noise has."""
    import torch
    from diffusers import UNet2DConditionModel

    cross = "CrossAttnDownBlock2D"
    common: dict[str, Any] = {
        "sample_size": _SIZES[family],
        "norm_num_groups": 8,
        "use_linear_projection": family != "sd1",
        "layers_per_block": 1,
    }
    if family == "sdxl":
        model = UNet2DConditionModel(
            block_out_channels=(32, 64, 64),
            down_block_types=("DownBlock2D", cross, cross),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=(2, 4, 4),
            transformer_layers_per_block=(1, 1, 2),
            cross_attention_dim=72,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=32 + 6 * 8,
            **common,
        )
    else:
        model = UNet2DConditionModel(
            block_out_channels=(32, 64, 64, 64),
            down_block_types=(cross, cross, cross, "DownBlock2D"),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
            # diffusers' misnomer: a number of heads; one for all blocks in SD1, one per block in SD2
            attention_head_dim=4 if family == "sd1" else (2, 4, 4, 4),
            cross_attention_dim=32,
            **common,
        )
    with torch.no_grad():
        model.conv_out.weight.mul_(3.0)  # PyTorch's initialisation leaves it far below the unit variance of noise
    return model.eval()


def vae(family: str) -> Any:
    """An AutoencoderKL with f = 8 and 4 latent channels; "flow": 16 channels, scaled and shifted."""
    import torch
    from diffusers import AutoencoderKL

    channels = 16 if family == "flow" else 4
    model = AutoencoderKL(
        block_out_channels=(8, 16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=8 * _SIZES.get(family, 128),
        scaling_factor={"sdxl": 0.13025, "flow": 0.3611}.get(family, 0.18215),
        shift_factor=0.1159 if family == "flow" else None,
        force_upcast=family == "sdxl",
    )
    with torch.no_grad():
        # Posterior: a mean of about 1 / scaling_factor and a small, constant variance, as trained ones have.
        model.quant_conv.weight[:channels].mul_(25.0)
        model.quant_conv.weight[channels:].zero_()
        model.quant_conv.bias[channels:].fill_(-12.0)
    return model.eval()


def text_encoder(family: str, projected: bool = False) -> Any:
    """A CLIPTextModel of 2 layers over the byte vocabulary; with a projection head where SDXL has one."""
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(_vocabulary()),
        hidden_size=40 if projected else 32,  # SDXL's two encoders differ in width, and loaders tell them apart by it
        intermediate_size=64,
        num_hidden_layers=3 if family == "sdxl" else 2,
        num_attention_heads=2,
        max_position_embeddings=77,
        projection_dim=32,
        hidden_act="gelu" if projected or family.startswith("sd2") else "quick_gelu",
        bos_token_id=_vocabulary()[START],
        eos_token_id=_vocabulary()[END],
        pad_token_id=_vocabulary()[END],
    )
    model = (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)
    with torch.no_grad():
        # Drawn here, by name: transformers 4 and 5 draw others. Wide enough for prompts to differ visibly.
        rng = torch.Generator().manual_seed(torch.initial_seed())
        for name, values in sorted(model.named_parameters()):
            if values.ndim > 1:
                values.normal_(std=0.1 if "embedding" in name else 3 * values.shape[1] ** -0.5, generator=rng)
    return model.eval()


def write_tokenizer(folder: Path, pad: str = END) -> None:
    """CLIP's byte-level tokenizer without merges: every byte is a token, so any text has one reading."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "vocab.json", _vocabulary())
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": pad}
    _write_json(folder / "special_tokens_map.json", special)
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True, "errors": "replace"}
    _write_json(folder / "tokenizer_config.json", {**settings, "add_prefix_space": False, **special})


def write_scheduler(family: str, folder: Path) -> None:
    """The scheduler that the family's released folder names: PNDM, DDIM (v prediction) or Euler."""
    folder.mkdir(parents=True, exist_ok=True)
    name = {"sd2_v": "DDIMScheduler", "sdxl": "EulerDiscreteScheduler"}.get(family, "PNDMScheduler")
    config: dict[str, Any] = {"_class_name": name, "_diffusers_version": "0.8.0", "clip_sample": False, **_BETAS}
    config["prediction_type"] = "v_prediction" if family == "sd2_v" else "epsilon"
    if family != "sdxl":
        config |= {"set_alpha_to_one": False, "trained_betas": None}
    if name == "PNDMScheduler":
        config["skip_prk_steps"] = True
    _write_json(folder / "scheduler_config.json", config)


def _index(family: str) -> dict[str, Any]:
    scheduler = {"sd2_v": "DDIMScheduler", "sdxl": "EulerDiscreteScheduler"}.get(family, "PNDMScheduler")
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionXLPipeline" if family == "sdxl" else "StableDiffusionPipeline",
        "_diffusers_version": "0.8.0",
        "scheduler": ["diffusers", scheduler],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "feature_extractor": [None, None],
    }
    if family == "sdxl":
        index["text_encoder_2"] = ["transformers", "CLIPTextModelWithProjection"]
        index["tokenizer_2"] = ["transformers", "CLIPTokenizer"]
        index["image_encoder"] = [None, None]
        index["force_zeros_for_empty_prompt"] = True
    else:
        index["safety_checker"] = [None, None]
        index["requires_safety_checker"] = False
    return index


def _vocabulary() -> dict[str, int]:
    """Every byte inside a word and at its end, then the two special tokens: 514 entries, "!" is 0."""
    units = _byte_units()
    tokens = [*units, *(f"{unit}</w>" for unit in units), START, END]
    return {token: number for number, token in enumerate(tokens)}


def _byte_units() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes, in CLIP's order (visible characters first)."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [b for b in range(256) if b not in visible]
    return [chr(b) for b in visible] + [chr(256 + i) for i in range(len(hidden))]


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
