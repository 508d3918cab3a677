"""SOW Gemini Planner, SOW Offline Planner, SOW Planner Prompt, SOW Plan From JSON."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..sow_core.errors import SowError
from ..sow_core.method.box import CELL, SIDES
from ..sow_core.planning.instructions import as_text
from ..sow_core.planning.language import MODES
from ..sow_core.planning.planner import DEFAULT_MODEL, FAILURES, PlannerOptions, plan_layout
from ..sow_core.planning.reading import Target, read_plan
from ..sow_core.planning.request import KINDS, PlanRequest
from ..sow_core.planning.schema import Frame, SizeRule
from . import planning as P
from . import remarks
from .sockets import SowPlan, invert_mask_input, mask_shows_input

SERVICES = ("auto", "google-genai", "google-generativeai", "openai-compatible")
SENT = "the picture (only what the mask keeps, at most 512 px, without metadata) and the prompt"


def scene_inputs() -> list[io.Input]:
    return [
        io.String.Input("prompt", default="", multiline=True,
                        tooltip="The scene. Places in it are followed: on the left, in the lower right corner."),
        io.Image.Input("condition", tooltip="The picture to place. Further ones go to condition_2 to condition_4, in "
                                            "the order in which their SOW Layouts are chained."),
        *size_inputs(),
    ]


def size_inputs() -> list[io.Input]:
    return [
        io.Int.Input("width", default=512, min=SIDES[0], max=SIDES[1], step=CELL,
                     tooltip="Width of the finished picture in pixels, as in SOW Layout."),
        io.Int.Input("height", default=512, min=SIDES[0], max=SIDES[1], step=CELL,
                     tooltip="Height of the finished picture in pixels, as in SOW Layout."),
    ]


def part_inputs() -> list[io.Input]:
    return [
        io.Boolean.Input("use_position", default=True,
                         tooltip="Plan where the picture goes. Off: the middle, at the largest size."),
        io.Boolean.Input("use_context", default=True,
                         tooltip="Plan the related regions, where the picture continues. Off: none."),
        io.Int.Input("min_size", default=180, min=8, max=512, advanced=True,
                     tooltip="Smallest longer side of the picture, in pixels on a 512-pixel canvas; other canvases "
                             "scale it. 180 is the paper's."),
        io.Int.Input("max_size", default=256, min=8, max=512, advanced=True,
                     tooltip="Largest longer side of the picture, in pixels on a 512-pixel canvas; other canvases "
                             "scale it. 256 is the paper's."),
        invert_mask_input(),
        io.Boolean.Input("crop_to_mask", default=False,
                         tooltip="As in SOW Layout: cut the picture to the mask's bounds first. Set both nodes alike."),
        io.String.Input("names", default="",
                        tooltip="What the prompt calls the pictures, separated by commas: man, cat. With several "
                                "pictures it tells whose place a place in the prompt is."),
        io.String.Input("descriptions", default="", multiline=True,
                        tooltip="What the pictures show, one line each: red-haired man with glasses. It is added to "
                                "the prompt and, for a language model, sent along."),
    ]


def picture_inputs() -> list[io.Input]:
    made: list[io.Input] = [
        io.Mask.Input("mask", optional=True,
                      tooltip="What of the picture is kept, white = keep. Where it touches the picture's edge, the "
                              "subject was cut off and has to continue."),
    ]
    for number in (2, 3, 4):
        made += [
            io.Image.Input(f"condition_{number}", optional=True, tooltip="Another picture to place."),
            io.Mask.Input(f"mask_{number}", optional=True,
                          tooltip=f"What of condition_{number} is kept, white = keep."),
        ]
    made.append(io.Clip.Input("clip", optional=True,
                              tooltip="The text encoder that will read the prompt. With it a longer prompt is cut "
                                      "where the encoder would cut it; without it its length is estimated."))
    return made


def plan_outputs() -> list[io.Output]:
    return [
        io.String.Output("planned_prompt", display_name="prompt", tooltip="The prompt to encode."),
        SowPlan.Output("plan", tooltip="The whole plan, for SOW Layout."),
        io.BoundingBox.Output("boxes", tooltip="The place of the first picture, then its related regions, as bboxes "
                                               "of SOW Layout takes them."),
        io.String.Output("plan_json", tooltip="The plan as text. Saved with a workflow it lets anybody repeat the "
                                              "picture, without a key: SOW Plan From JSON."),
        io.String.Output("report", tooltip="Who planned, every box, everything that was changed and why."),
        io.Image.Output("preview", tooltip="A drawing of the plan with labelled boxes."),
    ]


def gives(cls: type[io.ComfyNode], plan, conditions=()) -> io.NodeOutput:
    """The plan's outputs; its drawing and its report are shown on the node."""
    made = P.results(plan, conditions)
    *_, report, preview = made
    remarks.show(report.split("\n"))
    return io.NodeOutput(*made, ui={**ui.PreviewImage(preview, cls=cls).as_dict(), "text": (report,)})


class SOWGeminiPlanner(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SOW_GeminiPlanner",
            display_name="SOW Gemini Planner",
            category="SOW/planning",
            description="Lets a language model that sees pictures decide where the picture goes, where it continues, "
                        f"and write a fuller prompt. Sends {SENT} to Google, or to the server of your profile. "
                        "Without a key or a package it plans offline and sends nothing. The key comes from "
                        "GEMINI_API_KEY or a file on the server, never from a workflow.",
            search_aliases=["gemini", "mllm", "vlm layout", "adaptive position", "prompt enhancement", "llm planner",
                            "ollama", "prompt intensification"],
            has_intermediate_output=True,
            inputs=[
                *scene_inputs(),
                io.Combo.Input("service", options=list(SERVICES), default="auto",
                               tooltip="auto: Gemini through whichever Google package is installed, or the offline "
                                       "rules if there is no package or no key. openai-compatible: the server of a "
                                       "profile, such as Ollama or LM Studio on this machine."),
                io.String.Input("model", default="", placeholder=DEFAULT_MODEL,
                                tooltip=f"The language model. Empty: the one in the server's config file, else "
                                        f"{DEFAULT_MODEL}. Model names retire; the error then lists current ones."),
                io.String.Input("profile", default="",
                                tooltip="For openai-compatible: the name of a profile in the server's config file. "
                                        "Address and key stay there. Empty: the only one."),
                io.Combo.Input("mode", options=list(MODES), default="combined",
                               tooltip="combined: one call. staged: three calls as in the paper, the last of which "
                                       "sees the final box; slower, and three times the quota."),
                io.Boolean.Input("use_prompt", default=True,
                                 tooltip="Let the model extend the prompt by what it sees. Off: the prompt stays."),
                *part_inputs(),
                io.Combo.Input("on_failure", options=list(FAILURES), default="offline",
                               tooltip="If the service cannot be asked. offline: plan by rules and say so in the "
                                       "report. stop: end with the error."),
                io.Int.Input("refresh", default=0, min=0, max=0x7FFFFFFF,
                             control_after_generate=io.ControlAfterGenerate.fixed,
                             tooltip="The same inputs give the cached plan at no cost. Another number asks again."),
                *picture_inputs(),
                mask_shows_input(),
            ],
            outputs=plan_outputs(),
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs) -> str:
        # The host adds this to the inputs' own signature: stable, so that a paid answer is kept.
        return P.readiness()

    @classmethod
    def execute(cls, prompt, condition, width, height, service, model, profile, mode, use_prompt, use_position,
                use_context, min_size, max_size, invert_mask, crop_to_mask, names, descriptions, on_failure, refresh,
                mask=None, condition_2=None, mask_2=None, condition_3=None, mask_3=None, condition_4=None, mask_4=None,
                clip=None, mask_shows="auto") -> io.NodeOutput:
        conditions = P.pictures((condition, condition_2, condition_3, condition_4), (mask, mask_2, mask_3, mask_4),
                                invert_mask, crop_to_mask, mask_shows, names, descriptions)
        request = PlanRequest(prompt, conditions, Frame(width, height, SizeRule(min_size, max_size)),
                              use_prompt=use_prompt, use_position=use_position, use_context=use_context,
                              count_tokens=P.token_counter(clip))
        options = PlannerOptions(service, model, profile, mode, refresh, refresh, on_failure)
        return gives(cls, P.plan_in_host(request, options), conditions)


class SOWOfflinePlanner(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SOW_OfflinePlanner",
            display_name="SOW Offline Planner",
            category="SOW/planning",
            description="Decides where the picture goes and where it continues, by rules: from the mask's contact with "
                        "the picture's edges, the places and sizes named in the prompt, and the proportions. No key, "
                        "no network, the same plan every time. The prompt stays yours.",
            search_aliases=["automatic layout", "auto place", "layout rules", "no api key", "adaptive position"],
            has_intermediate_output=True,
            inputs=[
                *scene_inputs(),
                io.Combo.Input("kind", options=list(KINDS), default="auto",
                               tooltip="What the pictures show. auto: told from mask and prompt. face: a head, with "
                                       "room for its body below. figure: stands on the ground. part: continues beyond "
                                       "the edges that cut it. object: stands for itself."),
                *part_inputs(),
                *picture_inputs(),
                mask_shows_input(),
            ],
            outputs=plan_outputs(),
        )

    @classmethod
    def execute(cls, prompt, condition, width, height, kind, use_position, use_context, min_size, max_size,
                invert_mask, crop_to_mask, names, descriptions, mask=None, condition_2=None, mask_2=None,
                condition_3=None, mask_3=None, condition_4=None, mask_4=None, clip=None,
                mask_shows="auto") -> io.NodeOutput:
        conditions = P.pictures((condition, condition_2, condition_3, condition_4), (mask, mask_2, mask_3, mask_4),
                                invert_mask, crop_to_mask, mask_shows, names, descriptions, kind)
        request = PlanRequest(prompt, conditions, Frame(width, height, SizeRule(min_size, max_size)),
                              use_position=use_position, use_context=use_context, count_tokens=P.token_counter(clip))
        return gives(cls, plan_layout(request), conditions)


class SOWPlannerPrompt(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SOW_PlannerPrompt",
            display_name="SOW Planner Prompt",
            category="SOW/planning",
            description="The planner's question as text, and the pictures that belong to it, for any other node that "
                        "asks a language model. Connect that node's answer to SOW Plan From JSON. Sends nothing.",
            search_aliases=["llm prompt", "ollama", "qwen vl", "vision language model", "chatgpt", "claude"],
            inputs=[
                *scene_inputs(),
                io.Boolean.Input("use_prompt", default=True, tooltip="Ask for a fuller prompt."),
                *part_inputs(),
                *picture_inputs()[:-1],
                mask_shows_input(),
            ],
            outputs=[
                io.String.Output("question", tooltip="The whole question: task, scene and the form of the answer."),
                io.Image.Output("pictures", tooltip="What to show to the model: what the masks keep, at most 512 px, "
                                                    "gray around it; one picture per condition."),
            ],
        )

    @classmethod
    def execute(cls, prompt, condition, width, height, use_prompt, use_position, use_context, min_size, max_size,
                invert_mask, crop_to_mask, names, descriptions, mask=None, condition_2=None, mask_2=None,
                condition_3=None, mask_3=None, condition_4=None, mask_4=None, mask_shows="auto") -> io.NodeOutput:
        conditions = P.pictures((condition, condition_2, condition_3, condition_4), (mask, mask_2, mask_3, mask_4),
                                invert_mask, crop_to_mask, mask_shows, names, descriptions)
        request = PlanRequest(prompt, conditions, Frame(width, height, SizeRule(min_size, max_size)),
                              use_prompt=use_prompt, use_position=use_position, use_context=use_context)
        return io.NodeOutput(as_text(request), P.shareable_batch(conditions))


class SOWPlanFromJSON(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SOW_PlanFromJSON",
            display_name="SOW Plan From JSON",
            category="SOW/planning",
            description="Reads a saved plan, or any language model's answer to SOW Planner Prompt, with or without "
                        "prose around it. Checks every number, fits it to the canvas and reports what it changed. No "
                        "key, no network.",
            search_aliases=["load plan", "parse llm answer", "json layout", "bounding boxes from json"],
            has_intermediate_output=True,
            inputs=[
                io.String.Input("answer", default="", multiline=True,
                                tooltip="The plan or the answer: {\"prompt\": \"...\", \"box\": {\"x\": 128, \"y\": 0, "
                                        "\"width\": 256, \"height\": 256}, \"related\": [...]}. Numbers in pixels."),
                *size_inputs(),
                io.String.Input("prompt", default="", multiline=True,
                                tooltip="Used where the plan has no prompt of its own."),
                io.Image.Input("condition", optional=True,
                               tooltip="The picture to place: its proportions are kept, and the preview shows it."),
            ],
            outputs=plan_outputs(),
        )

    @classmethod
    def execute(cls, answer, width, height, prompt, condition=None) -> io.NodeOutput:
        conditions = P.pictures((condition,), (None,), False, False)
        if not answer.strip():
            raise SowError("No plan: connect the answer of a language model or paste a plan's JSON.")
        targets = [Target(c.aspect) for c in conditions]
        plan = read_plan(answer, width=width, height=height, prompt=prompt, targets=targets)
        return gives(cls, plan, conditions)


NODES = [SOWGeminiPlanner, SOWOfflinePlanner, SOWPlannerPrompt, SOWPlanFromJSON]
