"""The parts of SOW KSampler for SamplerCustomAdvanced: SOW Encode Layout, SOW Sampler, SOW Guider."""

from __future__ import annotations

from functools import partial

from comfy_api.latest import io

from . import sockets as S
from .settings import make_config


class SOWEncodeLayout(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SOW_EncodeLayout",
            display_name="SOW Encode Layout",
            category="SOW/sampling",
            description="Encodes a layout's pictures with a VAE, for SOW Sampler. The latent output sets the size and "
                        "the batch for SamplerCustomAdvanced.",
            search_aliases=["vae encode", "encode condition", "custom sampling"],
            inputs=[
                S.layout_input(),
                io.Vae.Input("vae", tooltip="The VAE of the checkpoint that will sample."),
                io.Int.Input("batch_size", default=1, min=1, max=64,
                             tooltip="Pictures per run; picture i uses the noise seed + i."),
                S.SowCycle.Input("cycle_options", optional=True,
                                 tooltip="The options that the SOW Sampler uses too. Here their fill and coverage "
                                         "count."),
            ],
            outputs=[
                S.SowEncoded.Output("encoded", tooltip="The encoded layout, for SOW Sampler."),
                io.Latent.Output("latent", tooltip="An empty latent of the layout's size, for SamplerCustomAdvanced."),
            ],
        )

    @classmethod
    def execute(cls, layout, vae, batch_size, cycle_options=None) -> io.NodeOutput:
        import torch

        from .layout import moved
        from .native import encode_layout, grid_of_vae, latent_shape
        from .remarks import remark

        config = make_config("normal", 10, 7.5, cycle_options=cycle_options)
        built = layout.build(config, grid_of_vae(vae))
        if line := moved(layout, built):
            remark(line)
        encoded = encode_layout(vae, built)  # all of it: the sampler's preset is not known here
        empty = torch.zeros(batch_size, *latent_shape(encoded, frames=getattr(vae, "latent_dim", 2) == 3))
        return io.NodeOutput(encoded, {"samples": empty})


class SOWSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SOW_Sampler",
            display_name="SOW Sampler",
            category="SOW/sampling",
            description="The method as a SAMPLER for SamplerCustomAdvanced. Prompts and cfg come from the guider, the "
                        "seed from the noise. The sigmas are not used: the steps here decide.",
            search_aliases=["custom sampler", "samplercustomadvanced", "cyclic one-way diffusion"],
            inputs=[
                S.SowEncoded.Input("encoded", tooltip="The layout, from SOW Encode Layout."),
                S.preset_input(),
                S.steps_input(),
                S.cycles_input(),
                S.attention_input(),
                *S.option_inputs(),
            ],
            outputs=[io.Sampler.Output("sampler", tooltip="For SamplerCustomAdvanced.")],
        )

    @classmethod
    def execute(cls, encoded, preset, steps, cycles, attention, cycle_options=None,
                attention_options=None) -> io.NodeOutput:
        from .native import make_sampler

        config = partial(make_config, preset, steps, 7.5, cycles, attention, cycle_options, attention_options)
        config(None)  # what is wrong is said here; the model, and what it advises, is known to the guider alone
        return io.NodeOutput(make_sampler(encoded, config))


class SOWGuider(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SOW_Guider",
            display_name="SOW Guider",
            category="SOW/sampling",
            description="A GUIDER for SamplerCustomAdvanced that can carry the predecessor's extra prompts. For the "
                        "other presets the core's CFGGuider works as well.",
            search_aliases=["cfg guider", "four prompts", "samplercustomadvanced"],
            inputs=[
                io.Model.Input("model", tooltip="A Stable Diffusion checkpoint or a flow transformer (Flux, Z-Image "
                                                "...), with or without LoRA."),
                io.Conditioning.Input("positive", tooltip="The scene, including the kept part."),
                io.Conditioning.Input("negative", tooltip="What should not be there."),
                S.cfg_input(),
                *S.extra_prompt_inputs(),
            ],
            outputs=[io.Guider.Output("guider", tooltip="For SamplerCustomAdvanced.")],
        )

    @classmethod
    def execute(cls, model, positive, negative, cfg, empty=None, suppress=None, diverse=None) -> io.NodeOutput:
        from .native import make_guider

        extra = {"empty": empty, "suppress": suppress, "diverse": diverse}
        return io.NodeOutput(make_guider(model, positive, negative, cfg, extra))


NODES = [SOWEncodeLayout, SOWSampler, SOWGuider]
