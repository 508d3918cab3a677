"""Makes a host take small files for released models: it has the sizes of text encoders and of Z-Image in its code.

For tests alone. Everything else of its loaders is as it is: they find the family of a file by its keys.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from shapes import QWEN3, T5, Z_IMAGE_FILE


def shrink() -> None:
    """Patch the running host."""
    import comfy.model_detection
    import comfy.sd
    import comfy.text_encoders.llama
    import comfy.text_encoders.sd3_clip

    t5, qwen = comfy.text_encoders.sd3_clip.T5XXLModel, comfy.text_encoders.llama.Qwen3_4BConfig
    built, detect_te, detect_net = t5.__init__, comfy.sd.detect_te_model, comfy.model_detection.detect_unet_config

    def small_t5(self: Any, *args: Any, model_options: Any = None, **kwargs: Any) -> None:
        built(self, *args, model_options={**(model_options or {}), "t5xxl_model_config": T5}, **kwargs)

    def small_qwen(**values: Any) -> Any:
        return dataclasses.replace(qwen(**values), **QWEN3)

    def te_of(state: Any) -> Any:
        if "encoder.block.1.layer.1.DenseReluDense.wi_1.weight" in state:
            return comfy.sd.TEModel.T5_XXL
        if "model.layers.0.self_attn.q_norm.weight" in state:
            return comfy.sd.TEModel.QWEN3_4B
        return detect_te(state)

    def net_of(state: Any, prefix: str, *args: Any, **kwargs: Any) -> Any:
        found = detect_net(state, prefix, *args, **kwargs)
        if found is not None and found.get("image_model") == "lumina2":
            return {**Z_IMAGE_FILE, **found}
        return found

    t5.__init__ = small_t5
    comfy.text_encoders.llama.Qwen3_4BConfig = small_qwen
    comfy.sd.detect_te_model = te_of
    comfy.model_detection.detect_unet_config = net_of
