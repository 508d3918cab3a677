"""SOW Turn and SOW Turns Sheet: a picture changed by one instruction after another."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..sow_core.turns.rounds import MOST_CANDIDATES, MOST_RETRIES
from . import remarks
from . import sockets as S
from . import turns as T
from .settings import advice_of, seeds_from

SowHistory = io.Custom("SOW_HISTORY")
"""A `turns.History`."""
SowTurn = io.Custom("SOW_TURN")
"""A `turns.Planned`."""


def picture_input() -> io.Input:
    return io.Image.Input("image", tooltip="The picture before this turn, one picture, sides a multiple of 8.")


def wish_inputs() -> list[io.Input]:
    return [
        io.String.Input("instruction", default="", multiline=True,
                        tooltip="One change: add, remove, move, replace, make ..., change the background. Say "
                                "where with left of, right of, in front of, behind, above, below, on, next to, "
                                "between, or at the top left and so on."),
        io.String.Input("prompt", default="", multiline=True,
                        tooltip="All that the picture shows before this turn. Needed in the first turn, then "
                                "it comes from the history. A new thing appears only if the prompt describes "
                                "the whole picture, so the node keeps editing this text."),
    ]


def place_inputs() -> list[io.Input]:
    return [
        io.String.Input("regions", default="", multiline=True,
                        tooltip="What may change: x,y,width,height in pixels, one box a line. Empty: worked "
                                "out from the instruction and the history."),
        io.String.Input("things", default="", multiline=True,
                        tooltip="Where things are, one a line: blue sphere=24,40,36,36. What nobody has told or "
                                "painted is looked for by the model's attention, which can be wrong."),
    ]


def reader_inputs() -> list[io.Input]:
    return [
        io.Combo.Input("planner", options=["offline", "gemini", "profile"], default="offline",
                       tooltip="Who reads the instruction. offline: rules, nothing is sent. gemini: the "
                               "picture, at most 512 px, and the texts go to Google. profile: to the service "
                               "that the config file names."),
        io.String.Input("profile", default="", tooltip="The name in the planners' config file, where planner "
                                                       "is profile."),
        io.Mask.Input("mask", optional=True, tooltip="What may change, white, of the picture's size, instead "
                                                     "of regions."),
        io.String.Input("new_prompt", default="", optional=True, multiline=True,
                        tooltip="The whole picture after this turn, instead of the text that is worked out. "
                                "With it and a region any instruction will do."),
        SowHistory.Input("history", optional=True, tooltip="From the SOW Turn before: it knows what is where."),
    ]


class SOWTurn(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SOW_Turn",
            display_name="SOW Turn",
            category="SOW/turns",
            description="Changes one place of a picture by an instruction: add a red cube left of the blue sphere, "
                        "remove the hat, make the hair blond, change the background to a forest. Everything else stays "
                        "as it is, to the last pixel. Chain one node per turn.",
            search_aliases=["edit by instruction", "instruct pix2pix", "inpaint", "add object", "remove object",
                            "change background", "multi-turn", "kontext"],
            inputs=[
                io.Model.Input("model", tooltip="A Stable Diffusion checkpoint or a flow transformer (Flux and its "
                                                "like), LoRAs included. It is not changed."),
                io.Clip.Input("clip", tooltip="Its CLIP: the node encodes the prompt of the whole picture itself."),
                io.Vae.Input("vae", tooltip="The VAE of the same checkpoint."),
                picture_input(),
                *wish_inputs(),
                S.seed_input(),
                S.cfg_input(),
                *place_inputs(),
                io.Int.Input("candidates", default=1, min=1, max=MOST_CANDIDATES,
                             tooltip="Pictures to choose from. They share the inversion, so that each further one "
                                     "costs less."),
                io.Int.Input("pick", default=0, min=-1, max=15,
                             tooltip="Which candidate the history goes on from; it comes first in the batch. -1: match "
                                     "chooses, and the others are not shown."),
                io.Int.Input("feather", default=8, min=0, max=64,
                             tooltip="Pixels inside the region over which old and new blend. The demo model's small "
                                     "pictures want 4."),
                *reader_inputs(),
                SowTurn.Input("plan", optional=True,
                              tooltip="From SOW Turn Plan: its instruction, prompt, regions and history are taken, and "
                                      "what stands here of those is not."),
                io.Combo.Input("match", options=T.matches(), default=T.OWN, optional=True,
                               tooltip="Who chooses where pick is -1. own: the model itself, by whether it sees in a "
                                       "candidate what was asked. demo: a small network that knows the demo "
                                       "model's pictures only. Others: a CLIP model, by how well a candidate fits "
                                       "the prompt; its folder of transformers lies in models/clip_vision."),
                io.Int.Input("retries", default=0, min=0, max=MOST_RETRIES, optional=True,
                             tooltip="How often to paint again where the model itself does not see in its picture what "
                                     "was asked: with other seeds, and at another place where the place was not "
                                     "given. The best of all is taken, and pick is not used."),
                io.Combo.Input("crop", options=list(T.CROPS), default=T.CROPS[0], optional=True,
                               tooltip="What of a large picture is painted. auto: a window around the region, at about "
                                       "the size that the model was trained at. off: all of the picture, as it is. A "
                                       "number: always a window that many times the region's sides, enlarged or shrunk "
                                       "to that size, for small details."),
            ],
            outputs=[
                io.Image.Output("edited", display_name="image",
                                tooltip="The picture after the turn; with several candidates the picked one comes "
                                        "first."),
                SowHistory.Output("after", display_name="history",
                                  tooltip="For the next SOW Turn and SOW Turns Sheet."),
                io.Mask.Output("region", tooltip="What could change; outside it no pixel differs."),
                io.String.Output("told", display_name="prompt", tooltip="The whole picture after the turn in words."),
                io.String.Output("report", tooltip="What was understood, where, and every note."),
            ],
        )

    @classmethod
    def execute(cls, model, clip, vae, image, instruction, prompt, seed, cfg, regions, things, candidates, pick,
                feather, planner, profile, mask=None, new_prompt="", history=None, plan=None,
                match=T.OWN, retries=0, crop=T.AUTO) -> io.NodeOutput:
        if plan is None:
            plan = planned(image, instruction, prompt, regions, things, planner, profile, mask, new_prompt, history,
                           (model, clip, vae))
        else:
            plan = T.on_picture(plan, image)
        made = T.take_turn(model, clip, vae, plan, advice_of(model), seeds_from(seed, candidates), cfg, feather, pick,
                           match, retries, crop)
        remarks.show(made.report.split("\n"))
        return io.NodeOutput(*made)


def planned(image, instruction, prompt, regions, things, planner, profile, mask, new_prompt, history,
            parts) -> T.Planned:
    """What both nodes understand. parts: MODEL, CLIP and VAE, or None: nothing is looked for then. Raises SowError."""
    with T.words_of_widgets():
        past = T.begin(image, prompt, T.read_things(things), history)
        free = T.free_of(mask, past.scene.frame)
        turn = T.plan(past, instruction, T.read_regions(regions) if free is None else (), new_prompt, planner, profile,
                      free is not None, T.looking(*parts, past))
    return T.Planned(past, turn, free)


class SOWTurnPlan(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SOW_TurnPlan",
            display_name="SOW Turn Plan",
            category="SOW/turns",
            description="Reads an instruction and shows what it would change, without painting: the region, the prompt "
                        "of the whole picture afterwards, the known things. Connect plan to SOW Turn; then a new seed "
                        "there asks no language model again. Its region serves other inpainting nodes too.",
            search_aliases=["instruction planner", "edit plan", "region from text", "grounding", "text to mask",
                            "gemini edit", "preview turn"],
            has_intermediate_output=True,
            inputs=[
                picture_input(),
                *wish_inputs(),
                *place_inputs(),
                *reader_inputs(),
                io.Model.Input("model", optional=True, tooltip="With clip and vae: looks for things by its attention, "
                                                               "one or two model calls each. Without: all places come "
                                                               "from things, regions, the mask or the history."),
                io.Clip.Input("clip", optional=True, tooltip="The model's CLIP, for looking."),
                io.Vae.Input("vae", optional=True, tooltip="The model's VAE, for looking."),
            ],
            outputs=[
                SowTurn.Output("plan", tooltip="For the plan of SOW Turn."),
                io.Mask.Output("region", tooltip="What may change, white."),
                io.String.Output("told", display_name="prompt", tooltip="The whole picture after the turn in words."),
                io.String.Output("report", tooltip="What was understood, where, and every note."),
                io.Image.Output("preview", tooltip="What may change in colour, the rest pale, the known things boxed."),
            ],
        )

    @classmethod
    def execute(cls, image, instruction, prompt, regions, things, planner, profile, mask=None, new_prompt="",
                history=None, model=None, clip=None, vae=None) -> io.NodeOutput:
        plan = planned(image, instruction, prompt, regions, things, planner, profile, mask, new_prompt, history,
                       (model, clip, vae))
        shown, report = T.preview(plan), T.told(plan)
        remarks.show(report.split("\n"))
        return io.NodeOutput(plan, T.region(plan)[None], plan.turn.prompt, report, shown,
                             ui={**ui.PreviewImage(shown, cls=cls).as_dict(), "text": (report,)})


class SOWTurnsSheet(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SOW_TurnsSheet",
            display_name="SOW Turns Sheet",
            category="SOW/turns",
            description="Every picture of a history on one sheet, each with its instruction.",
            search_aliases=["contact sheet", "history", "multi-turn"],
            inputs=[SowHistory.Input("history", tooltip="From the last SOW Turn.")],
            outputs=[io.Image.Output("sheet", tooltip="The sheet, for Preview Image or Save Image.")],
        )

    @classmethod
    def execute(cls, history) -> io.NodeOutput:
        return io.NodeOutput(T.sheet(history))


NODES = [SOWTurn, SOWTurnsSheet, SOWTurnPlan]
