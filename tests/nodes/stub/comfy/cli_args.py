from enum import Enum
from types import SimpleNamespace


class LatentPreviewMethod(Enum):
    NoPreviews = "none"
    Latent2RGB = "latent2rgb"


args = SimpleNamespace(preview_method=LatentPreviewMethod.Latent2RGB, preview_size=512)
