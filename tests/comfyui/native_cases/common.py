"""What every case shares: ComfyUI started, the pack loaded, one model in both worlds."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

WORK = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("out")

from bootstrap import ROOT, start  # noqa: E402

pack = start()

import torch  # noqa: E402

native, folder = pack("nodes.native"), pack("nodes.folder")
IMPORTED_DIFFUSERS = "diffusers" in sys.modules
core = {n: pack(f"sow_core.method.{n}") for n in ("condition", "plan", "presets", "box", "modulation")}
core |= {"errors": pack("sow_core.errors"), "painting": pack("sow_core.backends.painting")}
SowError = core["errors"].SowError
PROMPTS = {
    "positive": "a photo of a smiling man wearing a suit on a beach",
    "negative": "bad quality",
    "empty": "",
    "suppress": "face",
    "diverse": "a colourful picture",
}
NORMAL = core["presets"].preset("normal")
SHORT = replace(NORMAL, cycles=2, invert_on="crop", init="invert")
"""Crop inverted at its own latent size and canvas inverted too: all paths of a backend, few calls."""
CASES: dict[str, Any] = {}


def case(function: Any) -> Any:
    CASES[function.__name__] = function
    return function


def rms(a: Any, b: Any) -> float:
    return float((a.float() - b.float()).square().mean().sqrt())


def picture(size: int = 72) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return torch.nn.functional.avg_pool2d(torch.rand(1, 3, size + 8, size + 8), 9, 1)[0]


def layout(
    width: int = 128,
    height: int = 128,
    side: int = 64,
    conditions: int = 1,
    config: Any = NORMAL,
    snap: int = 8,
) -> Any:
    """Crops of another latent size than the canvas, off its centre, with a related region."""
    Box, Condition = core["box"].Box, core["condition"].Condition
    items = [
        Condition(picture(), torch.ones(72, 72), Box(32 if n == 0 else 0, 24 if n == 0 else height - 40, s, s),
                  (Box(16, 16, 88, 96),) if n == 0 else ())
        for n, s in enumerate([side, 40][:conditions])
    ]  # fmt: skip
    return core["condition"].make_layout(
        items, width, height, coverage=config.coverage, fill=config.fill, snap=snap
    )


def tiny(family: str) -> Path:
    """A tiny random folder; SDXL's with the 256 values per size that ComfyUI has built in."""
    import tiny_models

    where = WORK / family
    if not where.is_dir():
        tiny_models.build(family, where)
        if family == "sdxl":
            from diffusers import UNet2DConditionModel

            torch.manual_seed(0)
            config = dict(UNet2DConditionModel.load_config(where / "unet"))
            config |= {"addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 32 + 6 * 256}
            UNet2DConditionModel.from_config(config).save_pretrained(where / "unet")
    return where


class Both:
    """One folder in ComfyUI and in diffusers, with the same prompts."""

    def __init__(self, root: Path) -> None:
        DiffusersBackend = pack("sow_core.backends.diffusers").DiffusersBackend
        self.diffusers = DiffusersBackend.load(root)
        self.diffusers.set_prompts(PROMPTS)
        if "sdxl" in root.name:  # its two text encoders are diffusers' business here: the UNet is compared
            scheduler = json.loads((root / "scheduler" / "scheduler_config.json").read_text())
            vae_config = json.loads((root / "vae" / "config.json").read_text())
            self.vae = pack("nodes.folder.vae").load_vae(vae_config, folder.read_floats(root / "vae"))
            config = json.loads((root / "unet" / "config.json").read_text())
            state = folder.read_floats(root / "unet")
            scale = vae_config["scaling_factor"]
            self.model = pack("nodes.folder.unet").load_unet(
                config, scheduler, state, scale, ([[0.0] * 3] * 4, [0.0] * 3)
            )
            self.rows = {}
            for name in PROMPTS:
                text = self.diffusers._embedding(name)
                self.rows[name] = [[text.states, {"pooled_output": text.pooled}]]
        else:
            self.model, self.clip, self.vae = folder.load_folder(root)
            self.rows = {k: self.encode(v) for k, v in PROMPTS.items()}

    def encode(self, text: str) -> Any:
        return self.clip.encode_from_tokens_scheduled(self.clip.tokenize(text))

    def native(self, config: Any, seeds: Any = (7,), made: Any = None, model: Any = None, **rows: Any) -> Any:
        """Native final latents in the model's scale, and the trace."""
        prompts = {**self.rows, **rows}
        extra = {k: v for k, v in prompts.items() if k not in ("positive", "negative")}
        with torch.inference_mode():
            out = native.sample_layout(
                model or self.model, prompts["positive"], prompts["negative"], self.vae, made or layout(), config,
                list(seeds), extra=extra, decode=False,
            )  # fmt: skip
        return self.model.model.process_latent_in(out.latent["samples"]), out.trace

    def reference(self, config: Any, seeds: Any = (7,), made: Any = None) -> Any:
        made = made or layout()
        plan = core["plan"].build_plan(config, len(made.conditions))
        result = core["painting"].paint(plan, self.diffusers, made, list(seeds))
        return result.latents, result.trace

    def parity(self, config: Any, seeds: Any = (7, 8), made: Any = None) -> dict[str, float]:
        (ours, trace), (theirs, other) = self.native(config, seeds, made), self.reference(config, seeds, made)
        pairs = [(a.indicator, b.indicator) for a, b in zip(trace.calls, other.calls, strict=True)]
        gaps = [float((a - b).abs().nan_to_num().max()) for a, b in pairs if a is not None]
        return {
            "rms": rms(ours, theirs),
            "std": float(theirs.std()),
            "indicators": len(gaps),
            "indicator_gap": max(gaps, default=0.0),
            "calls": len(trace.calls),
            "masses": len(trace.masses),
        }


_both: dict[str, Both] = {}


def both(name: str = "demo") -> Both:
    if name not in _both:
        _both[name] = Both(ROOT / "models" / "demo" if name == "demo" else tiny(name))
    return _both[name]


def error_line(run: Any) -> str:
    """The line a user would read; anything but a SowError is a failure."""
    try:
        run()
    except SowError as error:
        return str(error)
    return "no error"
