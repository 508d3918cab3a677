"""SOW Cycle Sheet, SOW Attention Map, SOW Metrics: pictures and numbers of what happened."""

from __future__ import annotations

import json

from comfy_api.latest import io, ui

from . import trace as T
from .draw import from_picture
from .sockets import SowTrace


def _trace_input() -> io.Input:
    return SowTrace.Input("trace", tooltip="From SOW KSampler or SOW Generate.")


def _image_input() -> io.Input:
    return io.Int.Input("image_index", default=0, min=0, max=63,
                        tooltip="Which picture of the batch, 0 is the first.")


class SOWCycleSheet(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SOW_CycleSheet",
            display_name="SOW Cycle Sheet",
            category="SOW/diagnostics",
            description="Shows how the scene grew: the canvas, the prediction at the end of every cycle, the result. "
                        "Each cell costs one VAE decoding, and only when this node is in the workflow.",
            search_aliases=["contact sheet", "debug", "steps grid", "progress"],
            inputs=[
                _trace_input(),
                _image_input(),
                io.Int.Input("columns", default=4, min=1, max=16, tooltip="Pictures per row of the sheet."),
            ],
            outputs=[io.Image.Output("sheet", tooltip="One picture with labelled cells.")],
        )

    @classmethod
    def execute(cls, trace, image_index, columns) -> io.NodeOutput:
        return io.NodeOutput(from_picture(T.cycle_sheet(trace, image_index, columns)))


class SOWAttentionMap(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SOW_AttentionMap",
            display_name="SOW Attention Map",
            category="SOW/diagnostics",
            description="Shows which parts of the picture looked at the condition in every cycle. Needs a run with "
                        "attention modulation, which measures it on the way.",
            search_aliases=["heat map", "attention", "debug", "visualize"],
            inputs=[
                _trace_input(),
                _image_input(),
                io.Float.Input("opacity", default=0.6, min=0.0, max=1.0, step=0.05, round=0.001,
                               tooltip="How much of the heat map covers the picture. 0 shows the picture only."),
            ],
            outputs=[
                io.Image.Output("map", tooltip="The heat maps over the finished picture, one per cycle, on one scale."),
                io.Mask.Output("mass", tooltip="The maps as masks, one per cycle; 1 is the strongest attention."),
            ],
        )

    @classmethod
    def execute(cls, trace, image_index, opacity) -> io.NodeOutput:
        page, masks = T.attention_sheet(trace, image_index, opacity)
        return io.NodeOutput(from_picture(page), masks)


class SOWMetrics(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SOW_Metrics",
            display_name="SOW Metrics",
            category="SOW/diagnostics",
            description="Numbers of a run: model calls and time, how well the condition was kept, how visible its "
                        "seam is, and the indicator that steers the attention modulation.",
            search_aliases=["statistics", "psnr", "seam", "timing", "debug", "report"],
            has_intermediate_output=True,
            inputs=[_trace_input(), _image_input()],
            outputs=[
                io.String.Output("report", tooltip="The numbers as text."),
                io.String.Output("data", display_name="json", tooltip="The numbers as JSON, for scripts."),
                io.Image.Output("curve", tooltip="The indicator over the run, with its threshold."),
            ],
        )

    @classmethod
    def execute(cls, trace, image_index) -> io.NodeOutput:
        values = T.metrics(trace, image_index)
        report = T.describe_metrics(values)
        page = from_picture(T.indicator_curve(trace, image_index))
        return io.NodeOutput(report, json.dumps(values), page, ui=ui.PreviewText(report))


NODES = [SOWCycleSheet, SOWAttentionMap, SOWMetrics]
