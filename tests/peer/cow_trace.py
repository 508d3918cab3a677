"""Runs the predecessor's official code, unmodified and from its own folder, and records what it does.

Nothing of that code is here: it has no licence. `COW_PEER` names a checkout of it (pipeline_COW.py inside). Two
shims let it run on today's libraries: `randn_tensor` where diffusers 0.20 still exported it, and a
`torchvision.transforms.ToTensor` where torchvision is not installed.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor


@dataclass
class CowTrace:
    """One official run.

    latents: input of every UNet call, one row of it [1, 4, h, w]; rows, timesteps: of every call.
    noises: every normal tensor drawn for re-noising or a DDIM(eta) step, in order; encoded: the latents of the
    crop and of the canvas; pixels: what was encoded, -1..1; result: the final latents; text_calls: how often
    the text encoder ran.
    """

    latents: list[Tensor] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    timesteps: list[int] = field(default_factory=list)
    noises: list[Tensor] = field(default_factory=list)
    encoded: list[Tensor] = field(default_factory=list)
    pixels: list[Tensor] = field(default_factory=list)
    result: Tensor | None = None
    text_calls: int = 0


@contextmanager
def shims() -> Iterator[None]:
    """The two names that the official code imports and current libraries lack; gone afterwards."""
    import diffusers.utils
    from diffusers.utils.torch_utils import randn_tensor

    added = not hasattr(diffusers.utils, "randn_tensor")
    if added:
        diffusers.utils.randn_tensor = randn_tensor  # type: ignore[attr-defined]
    names: list[str] = []
    if importlib.util.find_spec("torchvision") is None:
        vision, transforms = ModuleType("torchvision"), ModuleType("torchvision.transforms")
        transforms.ToTensor = ToTensor  # type: ignore[attr-defined]
        vision.transforms = transforms  # type: ignore[attr-defined]
        names = ["torchvision", "torchvision.transforms"]
        sys.modules.update(zip(names, (vision, transforms), strict=True))
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        if added:
            del diffusers.utils.randn_tensor


class ToTensor:
    """PIL -> [c, h, w] in 0..1, for the two modes that are used."""

    def __call__(self, picture: Image.Image) -> Tensor:
        array = np.array(picture.convert("L") if picture.mode == "1" else picture)
        tensor = torch.from_numpy(array).float().div(255)
        return tensor[None] if tensor.ndim == 2 else tensor.permute(2, 0, 1)


def load_pipeline(peer: Path, model: Path) -> Any:
    """The official pipeline over a diffusers folder, set up as its own script does, on the CPU."""
    # All that looks for torchvision is imported first, so that it finds what there is and not the shim.
    from diffusers import DDIMInverseScheduler, DDIMScheduler, StableDiffusionPipeline  # noqa: F401
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker  # noqa: F401
    from transformers import CLIPImageProcessor  # noqa: F401

    with shims():
        spec = importlib.util.spec_from_file_location("pipeline_COW", peer / "pipeline_COW.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        pipe = module.COWPipeline.from_pretrained(
            model, local_files_only=True, inverse_scheduler=None, feature_extractor=None
        )
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.inverse_scheduler = DDIMInverseScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@contextmanager
def recording(pipe: Any, trace: CowTrace) -> Iterator[None]:
    """Record the pipeline's model calls, encodings and noises while the block runs."""
    import diffusers.schedulers.scheduling_ddim as ddim

    unet, text = pipe.unet.forward, pipe.text_encoder.forward
    prepare, decode = pipe.prepare_image_latents, pipe.vae.decode
    step_noise, jump_noise = ddim.randn_tensor, torch.randn_like

    def unet_seen(sample: Tensor, timestep: Any, *args: Any, **kwargs: Any) -> Any:
        trace.latents.append(sample[:1].clone())
        trace.rows.append(sample.shape[0])
        trace.timesteps.append(int(timestep))
        return unet(sample, timestep, *args, **kwargs)

    def text_seen(*args: Any, **kwargs: Any) -> Any:
        trace.text_calls += 1
        return text(*args, **kwargs)

    def prepared(image: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        latents = prepare(image, *args, **kwargs)
        trace.pixels.append(image.clone())
        trace.encoded.append(latents.clone())
        return latents

    def decoded(latents: Tensor, *args: Any, **kwargs: Any) -> Any:
        trace.result = latents.clone() * pipe.vae.config.scaling_factor
        return decode(latents, *args, **kwargs)

    def drawn(draw: Any) -> Any:
        def draw_and_keep(*args: Any, **kwargs: Any) -> Tensor:
            trace.noises.append(draw(*args, **kwargs))
            return trace.noises[-1].clone()

        return draw_and_keep

    pipe.unet.forward, pipe.text_encoder.forward = unet_seen, text_seen
    pipe.prepare_image_latents, pipe.vae.decode = prepared, decoded
    ddim.randn_tensor, torch.randn_like = drawn(step_noise), drawn(jump_noise)
    try:
        yield
    finally:
        ddim.randn_tensor, torch.randn_like = step_noise, jump_noise
        del pipe.unet.forward, pipe.text_encoder.forward, pipe.prepare_image_latents, pipe.vae.decode


def run_official(
    peer: Path, model: Path, picture: Image.Image, keep: Image.Image, prompt: str, offset: tuple[int, int], seed: int
) -> CowTrace:
    """One official run of a square `picture` pasted at `offset` px on its 512-px gray canvas.

    keep: mode "1" or "L", as large, white = keep (the official masks mean the reverse; it is inverted here).
    The global random state is restored afterwards.
    """
    trace = CowTrace()
    pipe = load_pipeline(peer, model)
    with torch.random.fork_rng(devices=[]), recording(pipe, trace):
        torch.manual_seed(seed)  # re-noising draws from the global generator, whatever seed is passed
        pipe(
            prompt,
            generator=torch.Generator().manual_seed(seed),
            image=picture,
            mask_image=keep.convert("L").point(lambda v: 255 - v).convert("RGB"),
            num_inference_steps=10,
            seed_size=picture.width,
            x_offset=offset[0],
            y_offset=offset[1],
        )
    return trace
