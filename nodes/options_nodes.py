"""SOW Cycle Options and SOW Attention Options: every knob of the method, for those who want them."""

from __future__ import annotations

from comfy_api.latest import io

from ..sow_core.method.config import SowConfig
from ..sow_core.method.modulation import Modulation
from .settings import parse_levels
from .sockets import SowAttention, SowCycle

NORMAL, USUAL = SowConfig(), Modulation()
"""The defaults of both nodes."""
LEVELS = ",".join(map(str, NORMAL.preserve))
SAME = -1.0
"""guidance_inside: as outside."""


class SOWCycleOptions(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        normal = NORMAL
        return io.Schema(
            node_id="SOW_CycleOptions",
            display_name="SOW Cycle Options",
            category="SOW/sampling",
            description="The details of the cyclic one-way diffusion. They replace those of the preset. Levels count "
                        "steps of a 10-step run; other step counts move them along.",
            search_aliases=["cyclic diffusion", "levels", "ddim inversion", "preserve levels", "eta", "adaptive stop"],
            inputs=[
                io.Int.Input("hi", display_name="noise up to level",
                             default=normal.hi, min=1, max=10,
                             tooltip="Level up to which the surroundings are noised in every cycle (7: about t = 700). "
                                     "Higher lets the scene change more and holds the condition's structure less."),
                io.Int.Input("lo", display_name="denoise down to level",
                             default=normal.lo, min=0, max=9,
                             tooltip="Level down to which a cycle denoises, below hi (5: about t = 500). Lower "
                                     "makes a cycle longer and each one count more."),
                io.String.Input("preserve", display_name="write back at levels",
                                default=LEVELS,
                                tooltip="Levels below lo at which the condition is written back while refining. "
                                        "More and lower ones keep it more exactly; 0 keeps it with a hard seam; empty "
                                        "lets it change freely."),
                io.Float.Input("cycle_eta", display_name="fresh noise in the cycle", advanced=True,
                               default=normal.cycle_eta, min=0.0, max=1.0, step=0.05, round=0.001,
                               tooltip="Fresh noise in each denoising step of the cycle. 1 mixes old and new best; 0 "
                                       "is deterministic."),
                io.Float.Input("refine_eta", display_name="fresh noise while refining",
                               default=normal.refine_eta, min=0.0, max=1.0, step=0.05, round=0.001,
                               tooltip="Fresh noise while refining. 0 keeps the condition, 0.1 lets attributes change, "
                                       "1 lets it take the scene's style."),
                io.Float.Input("guidance_inside", display_name="guidance on the condition (-1: cfg)",
                               default=SAME, min=SAME, max=30.0, step=0.1, round=0.01,
                               tooltip="Guidance on the condition itself while refining. 1 keeps it nearly exactly; -1 "
                                       "uses the cfg of the sampler."),
                io.Int.Input("unguided_tail", display_name="last steps without guidance", advanced=True,
                             default=normal.unguided_tail, min=0, max=10,
                             tooltip="How many of the last refining steps run without guidance. They cost half, and "
                                     "keep the condition's tones; 0 guides to the end."),
                io.Float.Input("inversion_guidance", display_name="guidance of the inversion", advanced=True,
                               default=normal.inversion_guidance, min=1.0, max=30.0, step=0.1,
                               round=0.01, tooltip="Guidance of the inversion. 1 inverts best; more doubles its cost."),
                io.Combo.Input("trajectory", display_name="noisy states of the condition", advanced=True,
                               options=["invert", "noise", "noise_fresh"], default=normal.trajectory,
                               tooltip="Where the condition's noisy states come from. invert: DDIM inversion, keeps "
                                       "it best. noise: one fixed noise, no extra calls. noise_fresh: new noise each "
                                       "time."),
                io.Combo.Input("invert_on", display_name="what is inverted", advanced=True,
                               options=["crop", "canvas"], default=normal.invert_on,
                               tooltip="Invert the condition alone (crop, as the predecessor does) or the whole canvas "
                                       "once, which suits models that know no small pictures."),
                io.Combo.Input("init", display_name="the canvas starts from", advanced=True,
                               options=["invert", "noise", "none"], default=normal.init,
                               tooltip="What the canvas starts from: its inversion, its noised picture (cheaper), or "
                                       "pure noise. It is forgotten within a few cycles."),
                io.Combo.Input("fill", display_name="around the kept pixels", advanced=True,
                               options=["gray", "keep", "extend"], default=normal.fill,
                               tooltip="What surrounds the kept pixels before encoding: gray, the picture's own pixels "
                                       "within its box (keep), or the colours of the kept edge carried outward "
                                       "(extend). The last two avoid a gray halo at the edge."),
                io.Float.Input("coverage", display_name="cell kept from this coverage", advanced=True,
                               default=normal.coverage, min=0.01, max=1.0, step=0.05, round=0.001,
                               tooltip="How much of an 8-pixel cell the mask must cover for the cell to be kept. 1 "
                                       "keeps whole cells only and leaves no halo; low values keep the rim too."),
                io.Combo.Input("grid", display_name="timestep of level 7", advanced=True,
                               options=["t 601", "t 701"], default="t 601",
                               tooltip="Which timestep level 7 means. t 601: as the predecessor evaluates it. t 701: "
                                       "as the text says, one more step."),
                io.Boolean.Input("adaptive", display_name="stop when settled",
                                 default=False,
                                 tooltip="Stop a picture's cycles when they no longer change it more than the one "
                                         "before. Saves time; the number of cycles is then the upper limit."),
                io.Int.Input("min_cycles", display_name="fewest cycles", advanced=True,
                             default=normal.min_cycles, min=1, max=100,
                             tooltip="The fewest cycles when adaptive is on."),
                io.Float.Input("tolerance", display_name="settled below this change", advanced=True,
                               default=normal.tolerance, min=0.0, max=1.0, step=0.01, round=0.001,
                               tooltip="The relative change between two cycles that counts as settled when adaptive "
                                       "is on. Higher stops earlier."),
                io.Int.Input("inversion_stride", display_name="levels per inversion call", advanced=True,
                             default=normal.inversion_stride, min=1, max=10,
                             tooltip="How many levels each call of the inversion spans. 1 asks the model at every "
                                     "level; 2 or 3 take half or a third of the calls and keep the condition less "
                                     "exactly."),
                io.Float.Input("picture_guidance", display_name="guidance towards the picture", advanced=True,
                               default=normal.picture_guidance, min=0.0, max=10.0, step=0.1,
                               round=0.01, tooltip="Guidance of the surroundings towards the condition in the cycle, "
                                                   "not in the paper. 0 is off; above it every call of the cycle "
                                                   "needs one more of a single row."),
                io.Float.Input("level_shift", display_name="level shift (flow models)", advanced=True,
                               default=normal.level_shift, min=0.1, max=10.0, step=0.1, round=0.01,
                               tooltip="For flow models (SD3, Flux and the like) only: how much noisier all levels are "
                                       "than Stable Diffusion's. 1: alike. 2 is the first thing to try at 1024 px."),
            ],
            outputs=[SowCycle.Output("cycle_options", tooltip="For the cycle_options of the SOW samplers.")],
        )

    @classmethod
    def execute(cls, hi, lo, preserve, cycle_eta, refine_eta, guidance_inside, unguided_tail, inversion_guidance,
                trajectory, invert_on, init, fill, coverage, grid, adaptive, min_cycles, tolerance,
                inversion_stride=NORMAL.inversion_stride,
                picture_guidance=NORMAL.picture_guidance, level_shift=NORMAL.level_shift) -> io.NodeOutput:
        values = {
            "hi": hi, "lo": lo, "preserve": parse_levels(preserve), "cycle_eta": cycle_eta, "refine_eta": refine_eta,
            "guidance_inside": None if guidance_inside < 0 else guidance_inside, "unguided_tail": unguided_tail,
            "inversion_guidance": inversion_guidance, "trajectory": trajectory, "invert_on": invert_on, "init": init,
            "fill": fill, "coverage": coverage, "grid_shift": int(grid == "t 701"), "adaptive": adaptive,
            "min_cycles": min_cycles, "tolerance": tolerance, "inversion_stride": inversion_stride,
            "picture_guidance": picture_guidance, "level_shift": level_shift,
        }
        NORMAL.changed(**values)  # a value that was linked is checked here
        return io.NodeOutput(values)


class SOWAttentionOptions(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        usual = USUAL

        def rate(name: str, what: str) -> io.Input:
            return io.Float.Input(name, default=getattr(usual, name), min=0.0, max=10.0, step=0.05, round=0.001,
                                  advanced=True,
                                  tooltip=f"How fast {what} fades. 0 does not fade; 0.3 fades by half in two steps.")

        def floor(name: str, what: str) -> io.Input:
            return io.Float.Input(name, default=getattr(usual, name), min=0.0, max=1.0, step=0.05, round=0.001,
                                  advanced=True,
                                  tooltip=f"The share of {what} that never fades.")

        return io.Schema(
            node_id="SOW_AttentionOptions",
            display_name="SOW Attention Options",
            category="SOW/sampling",
            description="The details of the dynamic attention modulation. The paper prints no numbers for them: all "
                        "defaults are this project's own.",
            search_aliases=["dynamic attention modulation", "attention bias", "suppress", "enhance", "densediffusion"],
            inputs=[
                io.Float.Input("suppress", default=usual.suppress, min=0.0, max=20.0, step=0.1, round=0.001,
                               tooltip="How strongly the condition is kept from looking at its surroundings. High "
                                       "values isolate it; 0 is off."),
                io.Float.Input("enhance", default=usual.enhance, min=0.0, max=20.0, step=0.1, round=0.001,
                               tooltip="How strongly related regions look at the condition. High values continue its "
                                       "outline and may grow hair or limbs out of it; 0 is off."),
                rate("suppress_rate", "the suppression over cycles"),
                floor("suppress_floor", "the suppression"),
                rate("enhance_rate", "the enhancement over cycles"),
                floor("enhance_floor", "the enhancement"),
                rate("distance_rate", "the enhancement with the distance from the condition"),
                floor("distance_floor", "the enhancement far from the condition"),
                io.Float.Input("threshold", default=usual.threshold, min=0.0, max=1.0, step=0.01, round=0.001,
                               tooltip="The gate: no enhancement where the share of attention near the condition "
                                       "is above this. What is usual differs from model to model; 0 leaves the gate "
                                       "open."),
                io.Combo.Input("form", advanced=True, options=["bias", "minmax"], default=usual.form,
                               tooltip="bias: a term added to the attention, costs almost nothing. minmax: the "
                                       "equations to the letter, strengths 0 to 1, slow and hungry for memory."),
                io.Combo.Input("rows", advanced=True, options=["cond", "all"], default=usual.rows,
                               tooltip="Modulate the positive prompt's pass only, which the guidance amplifies, or all "
                                       "passes alike."),
                io.Float.Input("width", advanced=True, default=usual.width, min=0.001, max=1.0, step=0.01, round=0.001,
                               tooltip="How far below the threshold the gate is fully open; between, it opens "
                                       "gradually."),
                io.Float.Input("suppress_refine", advanced=True, default=usual.suppress_refine, min=0.0, max=20.0,
                               step=0.1, round=0.001,
                               tooltip="Suppression also while refining, after the last preserve level, where nothing "
                                       "is written over the condition any more. 0 is off."),
            ],
            outputs=[SowAttention.Output("attention_options", tooltip="For the attention_options of the samplers.")],
        )

    @classmethod
    def execute(cls, suppress, enhance, suppress_rate, suppress_floor, enhance_rate, enhance_floor, distance_rate,
                distance_floor, threshold, form, rows, width=USUAL.width,
                suppress_refine=USUAL.suppress_refine) -> io.NodeOutput:
        return io.NodeOutput(Modulation(suppress, enhance, suppress_rate, suppress_floor, enhance_rate, enhance_floor,
                                        distance_rate, distance_floor, threshold, form, rows, width, suppress_refine))


NODES = [SOWCycleOptions, SOWAttentionOptions]
