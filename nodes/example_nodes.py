"""SOW Load Example: the pictures that come with the pack, so that the first workflow needs no upload."""

from __future__ import annotations

from pathlib import Path

from comfy_api.latest import io

from ..sow_core.errors import SowError
from ..sow_core.method.condition import to_tensor
from ..sow_core.pictures.reading import load_mask, load_picture

EXAMPLES = Path(__file__).parent.parent / "pictures"
"""Not `examples`: that is one of the names under which ComfyUI serves workflow templates, and it would hide ours."""
MASK = "_mask"


def example_names() -> list[str]:
    """Names of the pictures that have a mask beside them. Only these can be asked for: never a path."""
    return sorted(p.stem.removesuffix(MASK) for p in EXAMPLES.glob(f"*{MASK}.png"))


class SOWLoadExample(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        names = example_names() or ["none"]
        return io.Schema(
            node_id="SOW_LoadExample",
            display_name="SOW Load Example",
            category="SOW/loaders",
            description="A picture to keep and its mask, from the examples of this pack: faces of the demo model's "
                        "world, and a cat for real checkpoints. Replace it with Load Image for your own picture.",
            search_aliases=["example image", "sample picture", "demo face", "test image"],
            inputs=[
                io.Combo.Input("example", options=names, default="tom" if "tom" in names else names[0],
                               tooltip="tom, mia, walt, rose, kai: faces that the demo model can continue. cat: part "
                                       "of a photograph, for Stable Diffusion checkpoints."),
            ],
            outputs=[
                io.Image.Output("image", tooltip="The picture, for the condition of SOW Layout."),
                io.Mask.Output("mask", tooltip="What of it is kept, white = keep."),
            ],
        )

    @classmethod
    def execute(cls, example) -> io.NodeOutput:
        if example not in example_names():
            raise SowError(f"No example {example!r}: expected one of {', '.join(example_names()) or 'none'}; "
                           "restore the pack's folder pictures.")
        picture, _ = load_picture(EXAMPLES / f"{example}.png")
        mask = load_mask(EXAMPLES / f"{example}{MASK}.png")
        return io.NodeOutput(to_tensor(picture).movedim(0, -1)[None].contiguous(), to_tensor(mask)[None])


NODES = [SOWLoadExample]
