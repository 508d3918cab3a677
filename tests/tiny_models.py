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
FLOW_FAMILIES = ("sd3demo",)
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


def _build_flow(family: str, root: Path, seed: int) -> Path:
    """A flow transformer that shares VAE and text encoder with a tiny "sd1" beside it (made if missing)."""
    import torch

    root.mkdir(parents=True, exist_ok=True)
    if not (root.parent / "sd1").is_dir():
        build("sd1", root.parent / "sd1")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer(family).save_pretrained(root / "transformer")
    name = "FlowMatchEulerDiscreteScheduler"
    (root / "scheduler").mkdir(exist_ok=True)
    _write_json(root / "scheduler" / "scheduler_config.json", {"_class_name": name, "shift": 1.0})
    _write_json(root / "model_index.json", {
        "_class_name": "SowFlow",
        "shares": "sd1",
        "scheduler": ["diffusers", name],
        "transformer": ["diffusers", "SD3Transformer2DModel"],
    })  # fmt: skip
    return root


def transformer(family: str) -> Any:
    """The family's transformer, two or three joint blocks; its output has about unit variance."""
    import torch
    from diffusers import SD3Transformer2DModel

    if family != "sd3demo":
        raise ValueError(f"Unknown family {family!r}: expected one of {', '.join(FLOW_FAMILIES)}.")
    model = SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=3,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pooled_projection_dim=32,
        pos_embed_max_size=32,
        qk_norm="rms_norm",
    )
    with torch.no_grad():
        # Modulation starts at zero in training; here every block is to count, and the output to be seen.
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 1.5 / parameter[0].numel() ** 0.5)
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
    """An AutoencoderKL with f = 8 and 4 latent channels."""
    import torch
    from diffusers import AutoencoderKL

    model = AutoencoderKL(
        block_out_channels=(8, 16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=8 * _SIZES[family],
        scaling_factor=0.13025 if family == "sdxl" else 0.18215,
        force_upcast=family == "sdxl",
    )
    with torch.no_grad():
        # Posterior: a mean of about 1 / scaling_factor and a small, constant variance, as trained ones have.
        model.quant_conv.weight[:4].mul_(25.0)
        model.quant_conv.weight[4:].zero_()
        model.quant_conv.bias[4:].fill_(-12.0)
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
