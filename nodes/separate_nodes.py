"""SOW Separate: things of one prompt that are to stay apart."""

from __future__ import annotations

from comfy_api.latest import io

from ..sow_core.method.separation import Separation, parse_concepts


class SOWSeparate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        usual = Separation()
        return io.Schema(
            node_id="SOW_Separate",
            display_name="SOW Separate",
            category="SOW/sampling",
            description="Keeps the named things of a prompt apart while the picture's layout is decided, so that two "
                        "do not melt into one. Works with KSampler and with SOW's samplers. Every separated step costs "
                        "about two and a half model calls more.",
            search_aliases=["separate and enhance", "attend and excite", "two subjects", "attribute binding",
                            "concept bleeding"],
            inputs=[
                io.Model.Input("model", tooltip="An SD 1.x, SD 2.x or SDXL checkpoint, LoRAs included."),
                io.Clip.Input("clip", tooltip="The CLIP that encodes the prompt."),
                io.String.Input("prompt", default="", multiline=True,
                                tooltip="The same text as in the positive prompt: from it the places of the words are "
                                        "known."),
                io.String.Input("words", default="",
                                tooltip="Two or more things of the prompt, separated by commas: cat, dog. A phrase as "
                                        "it stands there will do: red cube, blue sphere."),
                io.Float.Input("strength", default=usual.strength, min=0.0, max=10.0, step=0.05, round=0.001,
                               tooltip="How far each step pulls the things apart. 0 is off; high values spoil the "
                                       "picture."),
                io.Float.Input("end", default=0.5, min=0.0, max=1.0, step=0.05, round=0.001,
                               tooltip="The share of an ordinary sampler's run after which it is left alone. SOW's own "
                                       "samplers separate from the cycle's levels down to level 5."),
                io.Int.Input("depth", default=usual.depth, min=0, max=4, advanced=True,
                             tooltip="Where the attention is read: 2 is a quarter of the latent's sides (16 x 16 at "
                                     "512 px). The demo model needs 1."),
            ],
            outputs=[io.Model.Output("separated", display_name="model", tooltip="The model, for a sampler.")],
        )

    @classmethod
    def execute(cls, model, clip, prompt, words, strength, end, depth) -> io.NodeOutput:
        if strength == 0:
            return io.NodeOutput(model)
        from .native.concepts import Request, token_places
        from .native.separate import with_request

        named = parse_concepts(words)
        settings = Separation(strength=float(strength), depth=int(depth))
        request = Request(named, token_places(clip, prompt, named), settings, float(end))
        return io.NodeOutput(with_request(model, request))


NODES = [SOWSeparate]
