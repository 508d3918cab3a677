"""Where the files that are no code lie: the demo model and the planner's prompts."""

from __future__ import annotations

from pathlib import Path

from .errors import SowError

EMBEDDED = ("demo", "demo_flow")
"""Names of the models that come with the program: of Stable Diffusion's shape, and a flow transformer."""
PACKAGE = Path(__file__).resolve().parent


def asset_folder(name: str) -> Path:
    """The folder `name` ("models", "prompts"): inside the package where pip installed it, else beside it.

    In a clone and in a node pack it lies beside. The folder need not exist; who reads it says what is missing.
    """
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name


def embedded(name: str) -> Path:
    """The folder of an embedded model. Raises SowError where this copy has been made without its weights."""
    folder = asset_folder("models") / name
    if not any(folder.rglob("*.safetensors")):
        raise SowError(
            f"The model {name} is not in this copy: the archive of ComfyUI's registry leaves its weights out. Clone "
            f"the repository instead, or copy models/{name} from it."
        )
    return folder
