"""A small CLIP text encoder and its own tokenizer as ComfyUI's CLIP."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ...sow_core.backends.components import readable
from ...sow_core.backends.hub import hub_off
from ...sow_core.backends.tokens import copy_tokenizer


def load_clip(root: Path, config: dict[str, Any], state: dict[str, Any]) -> Any:
    """ComfyUI's CLIP of `root`/text_encoder and `root`/tokenizer; the last hidden state is the conditioning.

    `state` holds transformers' keys (with or without the "text_model." prefix of older versions).
    Raises SowError if the tokenizer is damaged, or weights and config disagree.
    """
    with tempfile.TemporaryDirectory(prefix="sow-") as copy, hub_off():
        copy_tokenizer(root / "tokenizer", Path(copy))  # checked and written anew: the libraries read only that
        return _load_clip(Path(copy), config, state)


def _load_clip(tokenizer: Path, config: dict[str, Any], state: dict[str, Any]) -> Any:
    import comfy.clip_model
    import comfy.model_patcher
    import comfy.sd
    import comfy.sd1_clip
    import comfy.supported_models_base
    import torch
    from transformers import CLIPTokenizer

    from . import check_loaded

    length = int(config["max_position_embeddings"])
    # The tokenizer decides what pads a prompt; the encoder's own entry is often a leftover (SD 2.x pads with "!").
    with readable("the tokenizer"):
        words = CLIPTokenizer.from_pretrained(tokenizer)
    special = {"start": words.bos_token_id, "end": words.eos_token_id, "pad": words.pad_token_id}

    class TextModel(comfy.clip_model.CLIPTextModel):
        """ComfyUI's text model always has 49 408 words; this one has as many as the config says."""

        def __init__(self, config_dict: dict[str, Any], dtype: Any, device: Any, operations: Any) -> None:
            super().__init__(config_dict, dtype, device, operations)
            self.text_model.embeddings.token_embedding = operations.Embedding(
                config_dict["vocab_size"], config_dict["hidden_size"], dtype=dtype, device=device
            )

    class ClipModel(comfy.sd1_clip.SDClipModel):
        def __init__(
            self, device: Any = "cpu", dtype: Any = None, model_options: dict[str, Any] | None = None
        ) -> None:
            super().__init__(
                device=device,
                dtype=dtype,
                max_length=length,
                textmodel_json_config=dict(config),
                special_tokens=special,
                model_class=TextModel,
                return_projected_pooled=False,
                model_options=model_options or {},
            )

    class Model(comfy.sd1_clip.SD1ClipModel):
        def __init__(
            self, device: Any = "cpu", dtype: Any = None, model_options: dict[str, Any] | None = None
        ) -> None:
            super().__init__(
                device=device, dtype=dtype, model_options=model_options or {}, clip_model=ClipModel
            )

    class Words(comfy.sd1_clip.SDTokenizer):
        def __init__(
            self, embedding_directory: Any = None, tokenizer_data: dict[str, Any] | None = None
        ) -> None:
            super().__init__(
                tokenizer_path=str(tokenizer),
                max_length=length,
                embedding_directory=embedding_directory,
                embedding_size=config["hidden_size"],
                pad_token=special["pad"],
                start_token=special["start"],
                end_token=special["end"],
                tokenizer_data=tokenizer_data or {},
            )

    class Tokenizer(comfy.sd1_clip.SD1Tokenizer):
        def __init__(
            self, embedding_directory: Any = None, tokenizer_data: dict[str, Any] | None = None
        ) -> None:
            super().__init__(embedding_directory, tokenizer_data or {}, tokenizer=Words)

    target = comfy.supported_models_base.ClipTarget(Tokenizer, Model)
    clip = comfy.sd.CLIP(target, model_options={"dtype": torch.float32})
    prefix = "text_model."
    named = {key if key.startswith(prefix) else prefix + key: value for key, value in state.items()}
    named = {key: value for key, value in named.items() if not key.endswith("position_ids")}
    missing, unexpected = clip.cond_stage_model.clip_l.transformer.load_state_dict(named, strict=False)
    # The projection is for comparing texts with pictures; a diffusion model never uses it.
    check_loaded("text encoder", [key for key in missing if "text_projection" not in key], list(unexpected))
    torch.nn.init.eye_(clip.cond_stage_model.clip_l.transformer.text_projection.weight)
    return clip
