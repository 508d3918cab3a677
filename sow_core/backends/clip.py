"""CLIP models of transformers from a local folder: pictures and texts in one space, for those who compare them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..outside.text import one_line
from .components import readable
from .configs import ClipConfig, TextConfig, VisionConfig, json_object, read_config
from .hub import hub_off
from .parts import assemble
from .tokens import load_tokenizer


def load_clip(folder: Path) -> tuple[Any, Any]:
    """(CLIPModel, tokenizer) in float32, for inference, from config.json, safetensors weights and a tokenizer.

    Only checked values and safetensors are read, and no hub is asked. Raises SowError.
    """
    import torch
    from transformers import CLIPConfig, CLIPModel

    found = read_config(folder / "config.json", ClipConfig, ("text_config", "vision_config"))
    text, vision = _plain(found["text_config"]), _plain(found["vision_config"])
    with hub_off():
        with readable(one_line(folder / "config.json")):
            config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=found.get("projection_dim", 512))
        model = assemble(lambda: CLIPModel(config), folder, torch.float32)
        return model.eval().requires_grad_(False), load_tokenizer(folder, text["vocab_size"])


def load_clip_text(folder: Path) -> tuple[Any, Any]:
    """(CLIPTextModel, tokenizer) as stored, from the folder of a text model or of a whole CLIP. Raises SowError."""
    from transformers import CLIPTextConfig, CLIPTextModel

    if json_object(folder / "config.json").get("model_type") == "clip":
        text = _plain(read_config(folder / "config.json", ClipConfig, ("text_config",))["text_config"])
    else:
        text = _plain(TextConfig(**read_config(folder / "config.json", TextConfig)))
    with hub_off():
        with readable(one_line(folder / "config.json")):
            config = CLIPTextConfig(**text)
        model = assemble(lambda: CLIPTextModel(config), folder, None)
        return model.eval().requires_grad_(False), load_tokenizer(folder, text["vocab_size"])


def _plain(config: TextConfig | VisionConfig) -> dict[str, Any]:
    """A record as transformers takes it."""
    return {key: value for key, value in vars(config).items() if key != "model_type"}
