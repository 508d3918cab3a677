"""Each flow family that both worlds have: the same random weights, prompts and noise, whole runs."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import comfy.model_detection
import comfy.ops
import comfy.supported_models
import torch
from comfy.ldm.modules.diffusionmodules.mmdit import TimestepEmbedder
from shapes import CONFIGS

from native_cases.common import PROMPTS, SHORT, WORK, case, core, native, pack, rms
from native_cases.flow import FlowVae, flow_layout
from native_cases.tiny_flow import build

CHANGES: dict[str, dict[str, Any]] = {
    "flux": {"vec_in_dim": 32, "depth": 2, "depth_single_blocks": 2},
    "schnell": {"vec_in_dim": 32, "depth": 2, "depth_single_blocks": 2},
    "chroma": {"depth": 2, "depth_single_blocks": 2},
    "lumina2": {"n_layers": 3, "n_refiner_layers": 1, "rope_theta": 10000.0, "multiple_of": 8},
    "z_image": {"n_layers": 3, "n_refiner_layers": 1, "multiple_of": 2},
    "qwen": {"num_layers": 3},
    "klein": {"context_in_dim": 120},
}
"""What the tests' small diffusers models have otherwise than the host's."""
SHAPES = {"klein": "flux2"}
"""The host's shape of a family, where it goes by another name."""
LUMINA = (
    (r"^time_caption_embed\.timestep_embedder\.linear_1", "t_embedder.mlp.0"),
    (r"^time_caption_embed\.timestep_embedder\.linear_2", "t_embedder.mlp.2"),
    (r"^time_caption_embed\.caption_embedder", "cap_embedder"),
    (r"^norm_out\.linear_1", "final_layer.adaLN_modulation.1"),
    (r"^norm_out\.linear_2", "final_layer.linear"),
    (r"\.attn\.norm_([qk])", r".attention.\1_norm"),
    (r"\.attn\.to_out\.0", ".attention.out"),
    (r"\.norm1\.linear", ".adaLN_modulation.1"),
    (r"\.norm1\.norm", ".attention_norm1"),
    (r"\.norm1\.weight", ".attention_norm1.weight"),
    (r"\.norm2\.", ".attention_norm2."),
    (r"\.feed_forward\.linear_", ".feed_forward.w"),
)
"""diffusers' names and ComfyUI's; ComfyUI has no converter for this family."""
KLEIN = (
    (r"^x_embedder", "img_in"),
    (r"^context_embedder", "txt_in"),
    (r"^time_guidance_embed\.timestep_embedder\.linear_1", "time_in.in_layer"),
    (r"^time_guidance_embed\.timestep_embedder\.linear_2", "time_in.out_layer"),
    (r"^(\w+_stream_modulation\w*)\.linear", r"\1.lin"),
    (r"^norm_out\.linear", "final_layer.adaLN_modulation.1"),
    (r"^proj_out", "final_layer.linear"),
    (r"^single_transformer_blocks\.(\d+)\.attn\.to_qkv_mlp_proj", r"single_blocks.\1.linear1"),
    (r"^single_transformer_blocks\.(\d+)\.attn\.to_out", r"single_blocks.\1.linear2"),
    (r"^single_transformer_blocks\.(\d+)\.attn\.", r"single_blocks.\1.norm."),
    (r"^transformer_blocks", "double_blocks"),
    (r"\.ff\.", ".img_mlp."),
    (r"\.ff_context\.", ".txt_mlp."),
    (r"\.linear_in", ".0"),
    (r"\.linear_out", ".2"),
    (r"\.attn\.to_out\.0", ".img_attn.proj"),
    (r"\.attn\.to_add_out", ".txt_attn.proj"),
    (r"\.attn\.norm_added_", ".txt_attn.norm.norm_"),
    (r"\.attn\.norm_", ".img_attn.norm.norm_"),
    (r"\.attn\.to_([qkv])\.", r".img_attn.\1."),
    (r"\.attn\.add_([qkv])_proj\.", r".txt_attn.\1."),
    (r"\.norm_q\.", ".query_norm."),
    (r"\.norm_k\.", ".key_norm."),
)
"""The same of Flux.2: ComfyUI's converter for Flux asks for biases, which it has not."""


def renamed(names: Any, state: dict[str, Any]) -> dict[str, Any]:
    """Weights by other names; every pattern in turn."""
    made = {}
    for key, value in state.items():
        for old, new in names:
            key = re.sub(old, new, key)
        made[key] = value
    return made


def klein(state: dict[str, Any]) -> dict[str, Any]:
    """Flux.2 under the host's names: q, k and v in one, scale and shift of the last norm swapped, and a time of 256
    channels, as the host's always is: a narrower one's frequencies are every so many of those."""
    made = renamed(KLEIN, state)
    for key in [k for k in made if k.endswith("_attn.q.weight")]:
        parts = [made.pop(key.replace(".q.", f".{x}.")) for x in "qkv"]
        made[key.replace(".q.", ".qkv.")] = torch.cat(parts)
    last = "final_layer.adaLN_modulation.1.weight"
    made[last] = torch.cat(made[last].chunk(2)[::-1])
    narrow = made["time_in.in_layer.weight"]
    wide = narrow.new_zeros(len(narrow), 256)
    wide[:, :: 256 // narrow.shape[1]] = narrow
    made["time_in.in_layer.weight"] = wide
    return made


def converted(name: str, state: dict[str, Any]) -> dict[str, Any]:
    """A diffusers transformer's weights under the host's names, by its own converter where it has one."""
    state = {key: value.clone() for key, value in state.items()}
    if name == "qwen":
        return state
    if name == "klein":
        return klein(state)
    if name == "lumina2":
        made = renamed(LUMINA, state)
        for key in [k for k in made if k.endswith(".attn.to_q.weight")]:
            parts = [made.pop(key.replace("to_q", f"to_{x}")) for x in "qkv"]
            made[key.replace("attn.to_q", "attention.qkv")] = torch.cat(parts)
        return made
    made = comfy.model_detection.convert_diffusers_mmdit(state) or {}
    for key, value in state.items():  # Chroma's own layers
        key = re.sub(r"(distilled_guidance_layer\.layers\.\d+)\.linear_1", r"\1.in_layer", key)
        made[re.sub(r"(distilled_guidance_layer\.layers\.\d+)\.linear_2", r"\1.out_layer", key)] = value
    return made


class Pair:
    """A small folder of a family in diffusers, and the same weights in the host's net."""

    def __init__(self, name: str) -> None:
        import tiny_models

        self.name, self.shape = name, SHAPES.get(name, name)
        self.backend = pack("sow_core.backends.opening").open_backend(tiny_models.build(name, WORK / "flows" / name))
        self.backend.set_prompts(PROMPTS)
        kind, config = CONFIGS[self.shape]
        self.model = build(getattr(comfy.supported_models, kind), {**config, **CHANGES[name]})
        net = self.model.model.diffusion_model
        if name == "chroma":  # the host counts modulations as in the released model: the last two are 342 and 343
            from diffusers.models.embeddings import get_timestep_embedding

            table = self.backend.parts.transformer.time_text_embed.mod_proj
            last = torch.arange(342, 344) * 1000
            table[-2:] = get_timestep_embedding(last, 32, flip_sin_to_cos=True, downscale_freq_shift=0)
        if name == "z_image":  # diffusers' is as wide as the released model's in a small one too
            net.t_embedder = TimestepEmbedder(1024, output_size=256, operations=comfy.ops.disable_weight_init)
        weights, known = converted(name, self.backend.parts.transformer.state_dict()), net.state_dict()
        net.load_state_dict({
            key if key in known else key.removesuffix("weight") + "scale": value for key, value in weights.items()
        })  # fmt: skip
        self.rows = {row: self.prompt(row) for row in ("positive", "negative")}

    def prompt(self, row: str) -> Any:
        text = self.backend._embedding(row)
        options = {} if text.pooled is None else {"pooled_output": text.pooled}
        if self.name in ("lumina2", "z_image"):
            options["attention_mask"] = torch.ones(1, text.states.shape[1])
        return [[text.states, options]]

    def parity(self, config: Any, seeds: Any = (7, 8)) -> dict[str, float]:
        engine, plans = pack("sow_core.method.engine"), core["plan"]
        made, vae = flow_layout(self.shape), FlowVae(self.shape)
        with torch.inference_mode():
            ours = native.sample_layout(self.model, self.rows["positive"], self.rows["negative"], vae, made, config,
                                        list(seeds), decode=False)  # fmt: skip
        scale = pack("nodes.native.sampler").scaled
        base, framed = self.model.model, vae.latent_dim == 3
        encoded = native.encode_layout(vae, made).mapped(lambda z: scale(base.process_latent_in, z, framed))
        theirs = engine.generate(plans.build_plan(config, 1), self.backend, encoded, list(seeds))
        samples = ours.latent["samples"][:, :, 0] if framed else ours.latent["samples"]
        mine = scale(base.process_latent_in, samples, framed)
        pairs = zip(ours.trace.calls, theirs.trace.calls, strict=True)
        gaps = [float((a.indicator - b.indicator).abs().max()) for a, b in pairs if a.indicator is not None]
        return {"rms": rms(mine, theirs.latents), "std": float(theirs.latents.std()), "indicators": len(gaps),
                "indicator_gap": max(gaps, default=0.0)}  # fmt: skip


@case
def flow_families() -> dict[str, Any]:
    strong = core["modulation"].Modulation(suppress=3, enhance=2, threshold=0)
    config = replace(SHORT, guidance=3.0, guidance_inside=None, modulation=strong)
    return {name: Pair(name).parity(config) for name in CHANGES}
