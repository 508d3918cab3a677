"""SOW KSampler: the whole method on a checkpoint that the user has already loaded."""

from __future__ import annotations

from functools import partial

from comfy_api.latest import io

from . import sockets as S
from .settings import advice_of, make_config, seeds_from
from .trace import RunTrace


class SOWKSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SOW_KSampler",
            display_name="SOW KSampler",
            category="SOW",
            description="Grows a scene around a picture that is kept (Selective One-Way Diffusion, arXiv 2411.19182). "
                        "Works with Stable Diffusion checkpoints (1.x, 2.x, XL, 3.x), with Flux, Chroma, Lumina 2, "
                        "Z-Image, Qwen-Image and HiDream, and with their LoRAs; trains nothing and leaves "
                        "the model as it was.",
            search_aliases=["selective one-way diffusion", "cyclic one-way diffusion", "cow", "keep face",
                            "identity", "inpaint scene", "ksampler"],
            essentials_category="Image Generation",
            inputs=[
                io.Model.Input("model", tooltip="A Stable Diffusion checkpoint or a flow transformer (Flux, Z-Image "
                                                "...), with or without LoRA. It is not changed."),
                io.Conditioning.Input("positive", tooltip="The scene, including the kept part: a man in a suit on a "
                                                          "beach, not only a beach."),
                io.Conditioning.Input("negative", tooltip="What should not be there. The paper uses: a bad quality and "
                                                          "low-resolution image, extra fingers, deformed hands."),
                io.Vae.Input("vae", tooltip="The VAE of the same checkpoint. It encodes the condition and decodes the "
                                            "result."),
                S.layout_input(),
                *S.sampling_inputs(),
                io.Int.Input("batch_size", default=1, min=1, max=64,
                             tooltip="Pictures per run. They share encoding and inversion, so that each further one "
                                     "costs less; memory grows with their number."),
                *S.option_inputs(),
                *S.extra_prompt_inputs(),
            ],
            outputs=[
                io.Latent.Output("latent", tooltip="The finished latents, for upscaling or another sampler."),
                io.Image.Output("image", tooltip="The finished pictures."),
                S.SowTrace.Output("trace", tooltip="What happened, for SOW Cycle Sheet, SOW Attention Map and SOW "
                                                   "Metrics."),
            ],
        )

    @classmethod
    def execute(cls, model, positive, negative, vae, layout, seed, preset, steps, cfg, cycles, attention, batch_size,
                cycle_options=None, attention_options=None, empty=None, suppress=None, diverse=None) -> io.NodeOutput:
        from .layout import moved
        from .native import decoded, grid_of, sample_layout
        from .remarks import remark

        config = make_config(preset, steps, cfg, cycles, attention, cycle_options, attention_options,
                             advice_of(model))
        built = layout.build(config, grid_of(model))
        if line := moved(layout, built):
            remark(line)
        seeds = seeds_from(seed, batch_size)
        made = sample_layout(model, positive, negative, vae, built, config, seeds,
                             extra={"empty": empty, "suppress": suppress, "diverse": diverse})
        run = RunTrace(made.trace, config, built, tuple(seeds), made.images, partial(decoded, vae))
        return io.NodeOutput(made.latent, made.images, run)


NODES = [SOWKSampler]
