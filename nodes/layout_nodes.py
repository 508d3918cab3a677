"""SOW Layout and SOW Composite."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui

from ..sow_core.errors import SowError
from ..sow_core.method.box import CELL, SIDES, check_size
from . import layout as L
from . import remarks
from .boxes import check_placement, choose, placement_of
from .composite import paste_back
from .draw import draw_layout, from_picture
from .sockets import SowLayout, SowPlan, invert_mask_input, layout_input, mask_shows_input

NO_BOX = ("No box: type x,y,width,height into bboxes, or draw one. The drawing field needs Nodes 2.0, a switch in the "
          "menu under ComfyUI's logo. A connected plan gives boxes too.")
EXAMPLE = "0.25,0.2,0.5,0.5 face\n0.2,0,0.6,0.25 related: hair"
"""The field's placeholder: it shows what a line looks like and which description makes a box related."""
ONLY_RELATED = "No place: every box is described as related; the picture goes to the first one that is not."


class SOWLayout(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SOW_Layout",
            display_name="SOW Layout",
            category="SOW",
            description="Says which picture is kept and where it goes. Draw its place on the canvas, and boxes where "
                        "it must continue (hair, neck, the rest of a car). The preview shows the layout before any "
                        "sampling step is spent.",
            search_aliases=["selective one-way diffusion", "place image", "keep identity", "condition layout",
                            "regional", "outpaint", "bounding box"],
            is_output_node=True,  # can be run alone, and first: the preview comes before any step is spent
            has_intermediate_output=True,
            essentials_category="Image Generation",
            inputs=[
                io.Image.Input("condition", tooltip="The picture to keep: a face, part of an animal, the front of a "
                                                    "car. One picture; chain another SOW Layout for a second one."),
                io.Int.Input("width", default=512, min=SIDES[0], max=SIDES[1], step=CELL,
                             tooltip="Width of the finished picture in pixels, a multiple of 8. Stay near the size "
                                     "that the checkpoint was trained at (SD 1.5: 512, SDXL: 1024). Flow transformers "
                                     "(Flux, SD3 ...) need a multiple of 16."),
                io.Int.Input("height", default=512, min=SIDES[0], max=SIDES[1], step=CELL,
                             tooltip="Height of the finished picture in pixels, a multiple of 8."),
                io.Combo.Input("fit", options=list(L.FITS), default="fit",
                               tooltip="How the picture meets its box. fit: the box shrinks to the picture's "
                                       "proportions. crop: the picture is cut to the box's. stretch: it is distorted."),
                invert_mask_input(),
                io.Boolean.Input("crop_to_mask", default=False,
                                 tooltip="Cut the picture to the mask's bounds first, so that the box is the place "
                                         "of the masked part and not of the whole picture."),
                io.Mask.Input("mask", optional=True,
                              tooltip="What of the picture is kept, of the picture's size. The MASK of Load Image is "
                                      "right both for a painted mask and for a cut-out. Soft edges are cut at half "
                                      "gray: SOW Composite has a feather of its own. Without a mask the whole picture "
                                      "is kept, edges included."),
                io.BoundingBoxes.Input("boxes", optional=True, socketless=False,
                                       tooltip="Draw the place of the condition first; further boxes are regions "
                                               "where it must continue, and so is every box whose description begins "
                                               "with 'related'. The drawing field needs Nodes 2.0 (a switch in the "
                                               "menu under ComfyUI's logo); otherwise type boxes into bboxes."),
                io.MultiType.Input(
                    io.String.Input("bboxes", default="", optional=True, multiline=True, placeholder=EXAMPLE,
                                    tooltip="Boxes as text or from another node: x,y,width,height in pixels or as "
                                            "shares of the canvas (0.25,0.2,0.5,0.5), one box a line. The first is "
                                            "the place, the others are related regions. They win over drawn boxes, "
                                            "unless those were drawn from this text and changed since."),
                    types=[io.BoundingBox, io.BoundingBoxes, io.Array]),
                SowPlan.Input("plan", optional=True,
                              tooltip="A plan from a SOW planner. Its boxes are used where none are drawn or "
                                      "connected."),
                SowLayout.Input("layout", optional=True,
                                tooltip="Another SOW Layout of the same size. This node adds its condition on top, "
                                        "so that several pictures are kept in one scene."),
                io.Image.Input("background", optional=True,
                               tooltip="Shown behind the drawn boxes, and the start of the scene instead of gray. "
                                       "It is stretched to the canvas and fades within a few cycles."),
                mask_shows_input(),
            ],
            outputs=[
                SowLayout.Output("sow_layout", display_name="layout",
                                 tooltip="The canvas with its conditions, for the SOW samplers."),
                io.Image.Output("preview", tooltip="The canvas with labelled boxes: what is kept in colour, the rest "
                                                   "of the picture pale and gray."),
                io.Image.Output("canvas", tooltip="The canvas as the sampler gets it, without marks."),
                io.Mask.Output("masks", tooltip="The kept pixels on the canvas, one mask per condition."),
                io.BoundingBox.Output("placed", display_name="boxes",
                                      tooltip="The condition's box on the 8-pixel grid, then its related regions."),
                io.String.Output("report", tooltip="What is kept and where, and everything worth knowing about mask "
                                                   "and boxes. It is shown on the node too."),
            ],
        )

    @classmethod
    def execute(cls, condition, width, height, fit, invert_mask, crop_to_mask, mask=None, boxes=None, bboxes="",
                plan=None, layout=None, background=None, mask_shows="auto") -> io.NodeOutput:
        # Checked here and not before the run: the host repeats a refusal for every input that it names.
        check_size(width, height)
        chosen = choose(bboxes, boxes, width, height)
        placement = placement_of(chosen.boxes)
        if placement is None and plan is not None:
            placement = L.planned(plan, len(layout.conditions) if layout else 0, width, height)
        if placement is None:
            raise SowError(ONLY_RELATED if chosen.boxes else NO_BOX)
        beyond = check_placement(placement, width, height)
        picture = L.picture_of(condition, "condition", "chain one SOW Layout per picture, or pick one of the batch")
        kept = L.mask_of(mask, picture, invert_mask, mask_shows)
        made = L.make_condition(picture, kept.mask, placement, fit, crop_to_mask)
        spec = L.extend(layout, made, width, height, L.background_of(background, width, height))
        built = spec.build()
        preview = from_picture(draw_layout(built, [c.related for c in spec.conditions]))
        placed: list[dict[str, Any]] = [built.conditions[-1].box.as_dict()]
        placed += [box.as_dict() for box in made.related]
        lines = [L.describe_kept(kept.mask, built.conditions[-1].box), kept.remark, chosen.remark, *beyond,
                 *L.covered(built)]
        remarks.show(lines)
        report = "\n".join(line for line in lines if line)
        return io.NodeOutput(spec, preview, L.to_image(built.canvas), L.condition_masks(built), placed, report,
                             ui={**ui.PreviewImage(preview, cls=cls).as_dict(), "text": (report,)})


class SOWComposite(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SOW_Composite",
            display_name="SOW Composite",
            category="SOW",
            description="Pastes the condition's own pixels back over the finished picture with a soft edge. Undoes "
                        "the small losses of the VAE; keep it off where the condition should take the scene's style.",
            search_aliases=["paste back", "feather", "blend", "restore pixels", "composite"],
            inputs=[
                io.Image.Input("image", tooltip="The finished pictures, of the layout's size or enlarged in its "
                                                "proportions. A batch is fine."),
                layout_input(),
                io.Int.Input("feather", default=16, min=0, max=256, step=1,
                             tooltip="Width of the soft edge in pixels, inside the mask. 0 cuts hard; more hides "
                                     "the seam and gives up more of the condition's rim."),
                io.Float.Input("strength", default=1.0, min=0.0, max=1.0, step=0.05, round=0.001,
                               tooltip="How much of the original pixels comes back. 0 changes nothing."),
            ],
            outputs=[
                io.Image.Output("composited", display_name="image", tooltip="The pictures with the original pixels."),
                io.Mask.Output("alpha", tooltip="The soft mask that was used, 1 = original pixels."),
            ],
        )

    @classmethod
    def execute(cls, image, layout, feather, strength) -> io.NodeOutput:
        return io.NodeOutput(*paste_back(image, layout, feather, strength))


NODES = [SOWLayout, SOWComposite]
