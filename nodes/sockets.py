"""The pack's own socket types, and the inputs that several nodes share so that they read the same."""

from __future__ import annotations

from comfy_api.latest import io

from ..sow_core.method.presets import PRESETS
from .cutout import MEANINGS

SowLayout = io.Custom("SOW_LAYOUT")
"""A `layout.LayoutSpec`."""
SowPlan = io.Custom("SOW_PLAN")
"""A `sow_core.planning.schema.LayoutPlan`."""
SowTrace = io.Custom("SOW_TRACE")
"""A `trace.RunTrace`."""
SowCycle = io.Custom("SOW_CYCLE")
"""A dict of `SowConfig` fields, see `settings.CycleOptions`."""
SowAttention = io.Custom("SOW_ATTENTION")
"""A `sow_core.method.modulation.Modulation`."""
SowPipeline = io.Custom("SOW_PIPELINE")
"""A `diffusers_run.Pipeline`."""
SowEncoded = io.Custom("SOW_ENCODED")
"""A `sow_core.method.encoded.EncodedLayout` in the VAE's own scale."""

SEED_MAX = 0xFFFFFFFFFFFFFFFF


def layout_input() -> io.Input:
    return SowLayout.Input("layout", tooltip="What to keep and where it goes, from SOW Layout.")


def invert_mask_input() -> io.Input:
    return io.Boolean.Input("invert_mask", default=False, advanced=True,
                            tooltip="Turns the mask round where mask_shows is auto. Workflows that were saved before "
                                    "mask_shows existed use it for cut-outs.")


def mask_shows_input() -> io.Input:
    return io.Combo.Input("mask_shows", options=list(MEANINGS), default="auto", optional=True,
                          tooltip="What the white of the mask means. auto: what is kept, unless the mask covers the "
                                  "border and leaves out the middle, as Load Image gives it for a cut-out with a "
                                  "transparent background; the node then says that it was turned round.")


def seed_input() -> io.Input:
    return io.Int.Input("seed", default=0, min=0, max=SEED_MAX, control_after_generate=True,
                        tooltip="The random seed. The same seed and settings give the same picture, alone or in a "
                                "batch: picture i of a batch uses seed + i.")


def preset_input() -> io.Input:
    return io.Combo.Input(
        "preset", options=list(PRESETS), default="normal",
        tooltip="What the run is for. normal: keep the condition as it is. attribute: let small attributes change "
                "(a smile, a look). style: let it take the scene's style. fast: half the time, rougher joins. "
                "paper, paper_attribute, paper_style: the three in the paper's own settings, twice the time. "
                "cow_official: the settings of the method's predecessor; needs the extra prompts.")


def steps_input() -> io.Input:
    return io.Int.Input("steps", default=10, min=2, max=200,
                        tooltip="Denoising steps of the whole noise range. More steps are finer and slower; the "
                                "cycle's levels keep their share of the range.")


def cfg_input() -> io.Input:
    return io.Float.Input("cfg", default=7.5, min=1.0, max=30.0, step=0.1, round=0.01,
                          tooltip="How strongly the prompt is followed. Higher values follow it harder and give "
                                  "stronger contrast; 1 ignores the negative prompt and halves the cost: use 1 for "
                                  "Flux, Turbo, Lightning and other distilled models.")


def cycles_input() -> io.Input:
    return io.Int.Input("cycles", display_name="cycles (-1: preset)", default=-1, min=-1, max=100,
                        tooltip="How often the surroundings are noised and grown anew around the condition. More "
                                "cycles join it better and take longer; -1 takes the preset's number, 0 skips the "
                                "cycle.")


def attention_input() -> io.Input:
    return io.Float.Input("attention", default=1.0, min=0.0, max=5.0, step=0.05, round=0.001,
                          tooltip="Strength of the dynamic attention modulation that keeps outlines whole at the "
                                  "condition's edge. 0 switches it off; high values pull the condition's colours and "
                                  "shapes into its neighbourhood.")


def sampling_inputs() -> list[io.Input]:
    """The widgets of a whole run, in the order that saved workflows rely on."""
    return [seed_input(), preset_input(), steps_input(), cfg_input(), cycles_input(), attention_input()]


def option_inputs() -> list[io.Input]:
    return [
        SowCycle.Input("cycle_options", optional=True,
                       tooltip="Levels, preserve levels and other details of the cycle, from SOW Cycle Options. "
                               "They replace the preset's."),
        SowAttention.Input("attention_options", optional=True,
                           tooltip="Details of the attention modulation, from SOW Attention Options. The attention "
                                   "strength above still multiplies them."),
    ]


def extra_prompt_inputs() -> list[io.Input]:
    return [
        io.Conditioning.Input("empty", optional=True,
                              tooltip="An encoded empty prompt. Only the preset cow_official needs it."),
        io.Conditioning.Input("suppress", optional=True,
                              tooltip="What should not spread outside the condition, for example: human face. Only "
                                      "the preset cow_official needs it."),
        io.Conditioning.Input("diverse", optional=True,
                              tooltip="What the surroundings should be instead, for example: a high quality and "
                                      "colorful image. Only the preset cow_official needs it."),
    ]
