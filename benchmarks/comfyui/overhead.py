"""What running inside ComfyUI costs over the bare engine on the same model.

Demo model: the native run (guider, prompts, hooks, previews, progress) and the engine on diffusers' UNet, in
turn. SD 1.5 size: the share of one native run that is not spent inside UNet and VAE.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from common import ROOT, keep, random_sd15, random_vae, scene, start

pack = start("--preview-method", "latent2rgb")

import torch  # noqa: E402

from benchmarks.timing import alternate  # noqa: E402

ROUNDS = 7


class Inside:
    """CPU seconds spent in a module's forward, or in a VAE's methods."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def wrap(self, function: Any) -> Any:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.process_time() - began

        return timed


def outside_share(run: Any, model: Any, vae: Any) -> float:
    """The share of a run's CPU time outside UNet and VAE."""
    inside, unet, first = Inside(), model.model.diffusion_model, vae.first_stage_model
    kept = unet.forward, first.encode, first.decode
    unet.forward, first.encode, first.decode = (inside.wrap(f) for f in kept)
    try:
        began = time.process_time()
        run()
        return 1.0 - inside.seconds / (time.process_time() - began)
    finally:
        unet.forward, first.encode, first.decode = kept


@torch.inference_mode()
def demo() -> dict[str, Any]:
    native, folder = pack("nodes.native"), pack("nodes.folder")
    plan, presets = pack("sow_core.method.plan"), pack("sow_core.method.presets")
    painting = pack("sow_core.backends.painting")
    model, clip, vae = folder.load_folder(ROOT / "models" / "demo")
    texts = {"positive": "a photo of a smiling man wearing a suit on a beach", "negative": "bad quality"}
    rows = {name: clip.encode_from_tokens_scheduled(clip.tokenize(text)) for name, text in texts.items()}
    bare = pack("sow_core.backends.diffusers").DiffusersBackend.load(ROOT / "models" / "demo")
    bare.set_prompts(texts)
    layout = scene(pack, 128, 64)
    out: dict[str, Any] = {}
    for name, config in {
        "modulated": presets.preset("normal"),
        "plain": replace(presets.preset("normal"), modulation=None),
    }.items():

        def ours(config: Any = config) -> None:
            native.sample_layout(model, rows["positive"], rows["negative"], vae, layout, config, [7])

        def theirs(config: Any = config) -> None:
            painting.paint(plan.build_plan(config, 1), bare, layout, [7])

        durations = alternate({"engine": theirs, "native": ours}, ROUNDS, reference="engine")
        out[name] = {**durations.as_dict(), "outside_model_share": round(outside_share(ours, model, vae), 4)}
    return out


@torch.inference_mode()
def sd15() -> dict[str, Any]:
    native, plan, presets = (pack(n) for n in ("nodes.native", "sow_core.method.plan", "sow_core.method.presets"))
    model, vae = random_sd15(), random_vae()
    generator = torch.Generator().manual_seed(1)
    rows = [[[torch.randn(1, 77, 768, generator=generator), {}]] for _ in range(2)]
    config = replace(presets.preset("normal"), cycles=1)
    layout = scene(pack, 256, 128)

    def run() -> None:
        native.sample_layout(model, rows[0], rows[1], vae, layout, config, [7])

    return {
        "calls": plan.build_plan(config, 1).cost.calls,
        "outside_model_share": round(outside_share(run, model, vae), 4),
    }


if __name__ == "__main__":
    keep("overhead", {"demo_128px": demo(), "random_sd15_256px": sd15()})
