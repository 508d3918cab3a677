"""SOW Load Pipeline (diffusers) and SOW Generate (diffusers)."""

from __future__ import annotations

import logging

from comfy_api.latest import io

from ..sow_core.assets import EMBEDDED
from ..sow_core.method.config import NEGATIVE_PROMPT
from ..sow_core.method.prompt_syntax import note
from . import diffusers_run as D
from . import sockets as S
from .layout import moved
from .remarks import remark
from .settings import make_config, seeds_from
from .trace import RunTrace

log = logging.getLogger("sow")

SUPPRESS, DIVERSE = "human face", "a high quality and colorful image"
"""The predecessor's extra prompts, which the preset cow_official uses."""


class SOWLoadPipeline(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SOW_LoadPipeline",
            display_name="SOW Load Pipeline (diffusers)",
            category="SOW/loaders",
            description="Loads a model with the diffusers library: the small demo that comes with this pack, a folder "
                        "under models/diffusers, or a checkpoint file. Nothing is downloaded.",
            search_aliases=["diffusers", "load model", "demo model", "from pretrained"],
            inputs=[
                io.Combo.Input("model_name", options=D.available(), default=EMBEDDED[0],
                               tooltip="demo: a 128-pixel model of cartoon portraits and cubes, to try everything at "
                                       "once; demo_flow: a flow transformer of the same. folder: a diffusers folder "
                                       "under models/diffusers. file: a .safetensors checkpoint."),
                io.Combo.Input("dtype", options=["auto", *D.DTYPES], default="auto",
                               tooltip="Precision. auto: float16 on a CUDA GPU, float32 elsewhere. float16 on a CPU is "
                                       "very slow."),
                io.Combo.Input("config", options=["none", *D.folders()], default="none",
                               tooltip="Only for a file: a diffusers folder of the same family that gives its layout "
                                       "and tokenizer. none works when the family's configuration was downloaded "
                                       "before."),
                io.Boolean.Input("keep_on_gpu", default=False,
                                 tooltip="Leave the model on the GPU after a run. Faster for many runs; other models "
                                         "then have less memory."),
            ],
            outputs=[S.SowPipeline.Output("pipeline", tooltip="The loaded model, for SOW Generate.")],
        )

    @classmethod
    def execute(cls, model_name, dtype, config, keep_on_gpu) -> io.NodeOutput:
        return io.NodeOutput(D.load_pipeline(model_name, dtype, config, keep_on_gpu))


class SOWGenerate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SOW_Generate",
            display_name="SOW Generate (diffusers)",
            category="SOW",
            description="The whole method in one node on a diffusers model: layout and prompt in, pictures out. Gives "
                        "the same pictures as SOW KSampler with the same weights and seed.",
            search_aliases=["diffusers", "text to image", "selective one-way diffusion", "generate", "demo"],
            inputs=[
                S.SowPipeline.Input("pipeline", tooltip="The model, from SOW Load Pipeline."),
                S.layout_input(),
                io.String.Input("prompt", default="a photo of a person on a beach", multiline=True,
                                tooltip="The scene, including the kept part: a man in a suit on a beach, not only a "
                                        "beach. 75 tokens count."),
                io.String.Input("negative_prompt", default=NEGATIVE_PROMPT, multiline=True,
                                tooltip="What should not be there. The default is the paper's."),
                *S.sampling_inputs(),
                io.Int.Input("batch_size", default=1, min=1, max=64,
                             tooltip="Pictures per run. They share encoding and inversion; memory grows with their "
                                     "number."),
                *S.option_inputs(),
            ],
            outputs=[
                io.Image.Output("image", tooltip="The finished pictures."),
                S.SowTrace.Output("trace", tooltip="What happened, for the SOW diagnostics nodes."),
            ],
        )

    @classmethod
    def execute(cls, pipeline, layout, prompt, negative_prompt, seed, preset, steps, cfg, cycles, attention,
                batch_size, cycle_options=None, attention_options=None) -> io.NodeOutput:
        config = make_config(preset, steps, cfg, cycles, attention, cycle_options, attention_options,
                             pipeline.parts.recommended)
        built = layout.build(config, (pipeline.parts.cell, pipeline.parts.snap))
        if line := moved(layout, built):
            remark(line)
        seeds = seeds_from(seed, batch_size)
        prompts = {"positive": prompt, "negative": negative_prompt, "suppress": SUPPRESS, "diverse": DIVERSE}
        if said := note({"prompt": prompt, "negative_prompt": negative_prompt}):
            log.warning(said)
        made = D.generate_pictures(pipeline, built, config, seeds, prompts)
        run = RunTrace(made.trace, config, built, tuple(seeds), made.images, made.decode)
        return io.NodeOutput(made.images, run)


NODES = [SOWLoadPipeline, SOWGenerate]
