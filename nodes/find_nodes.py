"""SOW Find Picture: the picture to keep, from a folder of the host, by a picture and words."""

from __future__ import annotations

from comfy_api.latest import io, ui

from . import find as F
from .sockets import SEED_MAX


class SOWFindPicture(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SOW_FindPicture",
            display_name="SOW Find Picture",
            category="SOW/loaders",
            description="Chooses the picture to keep from a folder: like this one, but as the words say. Give words, a "
                        "picture, or both. The folder is indexed on the first run; later only new pictures are read. "
                        "Only ComfyUI's input and output folders and the pack's gallery can be searched.",
            search_aliases=["composed retrieval", "image search", "find image", "clip search", "compodiff", "gallery"],
            has_intermediate_output=True,
            inputs=[
                io.Combo.Input("place", options=list(F.PLACES), default="input",
                               tooltip="Where to search. examples: a small gallery of the demo world. input, output: "
                                       "ComfyUI's own folders."),
                io.String.Input("folder", default="",
                                tooltip="A folder below that place, such as faces/family. Empty: all of it, with its "
                                        "subfolders."),
                io.String.Input("text", default="", multiline=True,
                                tooltip="What to find, or what shall be different from the picture: wearing a crown."),
                io.String.Input("without", default="", tooltip="What shall not be there: glasses."),
                io.Combo.Input("method", options=["fusion", "compodiff"], default="fusion",
                               tooltip="fusion: picture and words are added as directions; any encoder, a moment. "
                                       "compodiff: a small diffusion model composes them; demo encoder only."),
                io.Combo.Input("encoder", options=F.encoders(), default=F.DEMO,
                               tooltip="demo: knows drawn portraits and cubes only. Others: folders with a CLIP model "
                                       "of transformers under models/clip_vision, for photographs."),
                io.Float.Input("image_weight", default=-1.0, min=-1.0, max=20.0, step=0.1, round=0.01,
                               tooltip="How much the picture counts. -1: the method's own (1 for fusion)."),
                io.Float.Input("text_weight", default=-1.0, min=-1.0, max=20.0, step=0.1, round=0.01,
                               tooltip="How much the words count. -1: the method's own (1 for fusion). Higher values "
                                       "change more and keep less of the picture."),
                io.Int.Input("rank", default=1, min=1, max=100,
                             tooltip="Which of the found pictures to give out; 1 is the best."),
                io.Int.Input("top", default=8, min=1, max=F.SHEET, tooltip="How many to show on the sheet."),
                io.Int.Input("seed", default=0, min=0, max=SEED_MAX,
                             control_after_generate=io.ControlAfterGenerate.fixed,
                             tooltip="For compodiff: another seed may find others. fusion has no chance in it."),
                io.Int.Input("steps", default=-1, min=-1, max=100, advanced=True,
                             tooltip="For compodiff: network passes. -1: the prior's own number."),
                io.Float.Input("source_weight", default=-1.0, min=-1.0, max=1.0, step=0.05, round=0.01, advanced=True,
                               tooltip="For compodiff: share of the picture laid over the result. -1: 0.1, with a mask "
                                       "0.05."),
                io.Image.Input("image", optional=True, tooltip="Like this one. One picture."),
                io.Mask.Input("ignore", optional=True,
                              tooltip="The part of the picture that does not count, white = ignore: paint it in Load "
                                      "Image's mask editor."),
            ],
            outputs=[
                io.Image.Output("found", tooltip="The found picture, for the condition of SOW Layout."),
                io.Mask.Output("mask", tooltip="What of it to keep: the mask NAME_mask.png beside it, else its alpha, "
                                               "else all of it."),
                io.String.Output("name", tooltip="Its name below the folder."),
                io.Float.Output("score", tooltip="How well it fits, the cosine: 1 is perfect."),
                io.Image.Output("sheet", tooltip="The best ones with names and scores on one page."),
                io.String.Output("report", tooltip="What was indexed, and which files could not be read."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, place="input", folder="", **others) -> str:
        """Search again when a picture of the folder has changed."""
        return F.state_of(place, folder)

    @classmethod
    def execute(cls, place, folder, text, without, method, encoder, image_weight, text_weight, rank, top, seed, steps,
                source_weight, image=None, ignore=None) -> io.NodeOutput:
        query = F.query_of(image, ignore, text, without)
        wish = F.Wish(method, image_weight, text_weight, source_weight, steps, seed)
        made = F.find(F.folder_of(place, folder), encoder, query, wish, rank, top)
        return io.NodeOutput(made.image, made.mask, made.name, made.score, made.sheet, made.report,
                             ui=ui.PreviewImage(made.sheet, cls=cls))


NODES = [SOWFindPicture]
"""Appended to the pack's list."""
