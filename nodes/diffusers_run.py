"""Running diffusers models inside ComfyUI: which there are, loading one, sampling with its progress shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from ..sow_core.assets import EMBEDDED
from ..sow_core.errors import SowError
from ..sow_core.method.condition import Layout
from ..sow_core.method.config import SowConfig
from ..sow_core.method.plan import build_plan
from ..sow_core.method.trace import Event, Result, Trace

FOLDER_PREFIX, FILE_PREFIX = "folder: ", "file: "
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class Pipeline(NamedTuple):
    """A loaded model on the CPU (`sow_core.backends.loading.Components`), and whether it stays on the GPU."""

    parts: Any
    keep_on_gpu: bool


def available() -> list[str]:
    """The names that the loader offers: the embedded models, folders under models/diffusers, checkpoint files.

    Only names that ComfyUI itself lists: a workflow cannot name a path.
    """
    import folder_paths

    return [*EMBEDDED, *folders(), *(FILE_PREFIX + name for name in folder_paths.get_filename_list("checkpoints")
                                if name.endswith(".safetensors"))]


def folders() -> list[str]:
    """diffusers folders (those with a model_index.json) under the host's models/diffusers."""
    return sorted(FOLDER_PREFIX + name for name in _folder_paths())


def _folder_paths() -> dict[str, str]:
    import os

    import folder_paths

    found: dict[str, str] = {}
    for root in folder_paths.get_folder_paths("diffusers"):
        for parent, children, files in os.walk(root, followlinks=True):
            if "model_index.json" in files:
                found.setdefault(os.path.relpath(parent, root).replace(os.sep, "/"), parent)
                children.clear()  # a pipeline's parts are no pipelines
    return found


def resolve(name: str) -> str:
    """The path behind a name of `available`. Raises SowError if it is not there (any more)."""
    import folder_paths

    if name in EMBEDDED:
        return name
    if name.startswith(FOLDER_PREFIX):
        path = _folder_paths().get(name.removeprefix(FOLDER_PREFIX))
        where = "models/diffusers"
    else:
        path = folder_paths.get_full_path("checkpoints", name.removeprefix(FILE_PREFIX))
        where = "models/checkpoints"
    if path is None:
        raise SowError(f"No model {name!r}: put it into {where} and refresh, or choose demo.")
    return path


def load_pipeline(name: str, dtype: str, config: str, keep_on_gpu: bool) -> Pipeline:
    """Load a model. dtype "auto": float16 where the host runs on CUDA, else float32.

    config: for a checkpoint file, the folder that gives its family's layout and tokenizer, or "none".
    Raises SowError for a missing package, a missing or damaged model, and other families.
    """
    try:
        from ..sow_core.backends.loading import load
    except ImportError as error:
        raise SowError(f"SOW Load Pipeline needs the package {error.name}: pip install diffusers transformers "
                       "accelerate. The other SOW nodes work without it.") from error
    kind = DTYPES.get(dtype) or (torch.float16 if _device().type == "cuda" else torch.float32)
    folder = None if config == "none" else resolve(config)
    try:
        return Pipeline(load(resolve(name), dtype=kind, config=folder), keep_on_gpu)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("diffusers", "transformers", "accelerate", "safetensors"):
            raise
        raise SowError(f"SOW Load Pipeline needs the package {error.name}: pip install diffusers transformers "
                       "accelerate. The other SOW nodes work without it.") from error


def _device() -> torch.device:
    import comfy.model_management

    return comfy.model_management.get_torch_device()


class Generated(NamedTuple):
    """images [N, H, W, 3]; the run's trace; decode: latents -> [N, H, W, 3]."""

    images: Tensor
    trace: Trace
    decode: Callable[[Tensor], Tensor]


def generate_pictures(pipeline: Pipeline, layout: Layout, config: SowConfig, seeds: Sequence[int],
                      prompts: dict[str, str]) -> Generated:
    """Run the engine on a diffusers model with the host's progress bar, latent previews and cancel.

    prompts: row names to texts. The model goes back to the CPU afterwards unless it is to stay.
    """
    import comfy.model_management

    from ..sow_core.backends.painting import paint

    device = _device()
    if device.type != "cpu":
        # The host does not know this model: make room for it before it comes.
        size = sum(p.numel() * p.element_size() for module in pipeline.parts.modules for p in module.parameters())
        comfy.model_management.free_memory(int(size * 1.3), device)
    plan = build_plan(config, len(layout.conditions))
    with torch.inference_mode(False), torch.no_grad():
        try:
            backend = _backend(pipeline.parts, device)
            backend.set_prompts(prompts)
            made = paint(plan, backend, layout, seeds, _progress(backend, plan.cost.calls))
        finally:
            if not pipeline.keep_on_gpu:
                _to_cpu(pipeline.parts)
    off_device(made)

    def decode(latents: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            try:
                return _backend(pipeline.parts, _device()).decode(latents.clone().to(_device())).movedim(1, -1).cpu()
            finally:
                if not pipeline.keep_on_gpu:
                    _to_cpu(pipeline.parts)

    return Generated(made.images.movedim(1, -1).contiguous().cpu(), made.trace, decode)


def _backend(parts: Any, device: torch.device) -> Any:
    from ..sow_core.backends.opening import backend_of

    return backend_of(parts, device)


def _to_cpu(parts: Any) -> None:
    for module in parts.modules:
        module.to("cpu")


def off_device(result: Result) -> None:
    """Move what the trace keeps to the CPU: it outlives the run in the host's cache."""
    trace = result.trace
    trace.previews = [x.cpu() for x in trace.previews]
    trace.masses = [(cycle, mass.cpu()) for cycle, mass in trace.masses]
    trace.calls = [call.on_cpu() for call in trace.calls]


def _progress(backend: Any, total: int) -> Callable[[Event], None]:
    """A report to the host after every model call; the host raises in it when the user has cancelled."""
    import comfy.model_management
    import comfy.utils
    from comfy.cli_args import LatentPreviewMethod, args

    bar = comfy.utils.ProgressBar(total)
    shown = args.preview_method != LatentPreviewMethod.NoPreviews
    factors: list[Tensor] = []

    def report(event: Event) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        if event.kind == "done":
            bar.update_absolute(total, total)
        if event.kind != "call" or event.x0 is None:
            return
        preview = None
        if shown:
            if not factors:
                factors.append(preview_factors(lambda z: backend.decode(z.to(backend.device)), event.x0.shape[1]))
            preview = ("JPEG", linear_preview(event.x0[0], factors[0]), args.preview_size)
        bar.update_absolute(event.call, total, preview)

    return report


def preview_factors(decode: Callable[[Tensor], Tensor], channels: int) -> Tensor:
    """A linear latent -> RGB map [channels + 1, 3] of this very VAE, fitted to a few smooth random latents.

    The well-known matrices belong to the released models' latents; this one costs one small decoding.
    """
    coarse = torch.randn(2, channels, 4, 4, generator=torch.Generator().manual_seed(0))
    latents = torch.nn.functional.interpolate(coarse, size=(16, 16), mode="bicubic")
    pictures = decode(latents).cpu()
    colours = torch.nn.functional.avg_pool2d(pictures, pictures.shape[-1] // 16)
    x = latents.movedim(1, -1).reshape(-1, channels)
    x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
    return torch.linalg.lstsq(x, colours.movedim(1, -1).reshape(-1, 3)).solution


def linear_preview(latent: Tensor, factors: Tensor) -> Image.Image:
    """A rough picture of a latent [C, h, w], one pixel per cell."""
    x = latent.detach().float().cpu().movedim(0, -1)
    colours = x @ factors[:-1] + factors[-1]
    return Image.fromarray((colours.clamp(0, 1) * 255).round().to(torch.uint8).numpy())
