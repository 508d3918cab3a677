"""SOW Load Demo Model: an embedded model as ordinary MODEL, CLIP and VAE."""

from __future__ import annotations

from pathlib import Path

from comfy_api.latest import io

from ..sow_core.assets import EMBEDDED, embedded
from .settings import ATTACHED

MODELS = Path(__file__).parent.parent / "models"


class SOWLoadDemoModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SOW_LoadDemoModel",
            display_name="SOW Load Demo Model",
            category="SOW/loaders",
            description="A small model that comes with the pack (cartoon portraits and cubes at 128 x 128 px), as "
                        "native MODEL, CLIP and VAE. Nothing is downloaded; it is there to try the nodes, not to make "
                        "pictures with. Every sampler and LoRA loader takes it.",
            search_aliases=["demo checkpoint", "example model", "load checkpoint", "no download"],
            inputs=[
                io.Combo.Input("model", options=list(EMBEDDED), default=EMBEDDED[0], optional=True,
                               tooltip="demo: a UNet, as Stable Diffusion 1.5 is. demo_flow: a flow transformer, as "
                                       "Stable Diffusion 3 is, for the same pictures and prompts."),
            ],
            outputs=[
                io.Model.Output("demo_model", display_name="MODEL",
                                tooltip="The demo model. Use it at 128 x 128 px: it has seen no other size."),
                io.Clip.Output("demo_clip", display_name="CLIP",
                               tooltip="Its text encoder. It knows the words of its small world only, such as: a photo "
                                       "of a smiling man wearing a suit on a beach."),
                io.Vae.Output("demo_vae", display_name="VAE", tooltip="Its autoencoder, 8 pixels per latent cell."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, model: str = EMBEDDED[0]) -> str:
        """Load again when the folder's weights have been replaced; else the host keeps what it has."""
        parts = {MODELS / EMBEDDED[0], MODELS / model}  # the first lends the others its VAE and text encoder
        files = sorted(file for part in parts for file in [*part.rglob("*.safetensors"), part / "sow.json"])
        return " ".join(f"{file.parent.name}:{file.stat().st_mtime_ns}:{file.stat().st_size}" for file in files)

    @classmethod
    def execute(cls, model: str = EMBEDDED[0]) -> io.NodeOutput:
        from ..sow_core.method.advice import Advice
        from ..sow_core.outside.reading import read_json_file
        from .folder import load_folder

        folder = embedded(model)
        loaded, clip, vae = load_folder(folder)
        advice = Advice.from_dict(read_json_file(folder / "sow.json", "the demo model's settings"))
        loaded.set_attachments(ATTACHED, advice)
        return io.NodeOutput(loaded, clip, vae)


NODES = [SOWLoadDemoModel]
